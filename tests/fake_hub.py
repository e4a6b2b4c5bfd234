"""A hub of one repository, served from a folder: enough for the hub's own client to
fetch it."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from huggingface_hub import constants

SHA = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "facebook/sam2.1-hiera-tiny"


class Handler(BaseHTTPRequestHandler):
    """Answers what the hub's client asks of the repository."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        hub = self.server
        hub.asked.append(self.path)
        if hub.status != 200:
            self.send(hub.status, b"{}", body)
        elif self.path.startswith(f"/api/models/{hub.repository}/tree/"):
            self.send(200, json.dumps(tree(hub)).encode(), body)
        elif self.path.startswith(f"/api/models/{hub.repository}"):
            self.send(200, json.dumps(listing(hub)).encode(), body)
        elif (
            path := hub.folder / re.sub("^.*/resolve/[^/]+/", "", self.path)
        ).is_file():
            data = path.read_bytes()
            about = {
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Repo-Commit": SHA,
            }
            self.send(200, data, body, **about)
        else:
            self.send(404, b"", body)

    def send(self, status, data, body, **headers):
        self.send_response(status)
        sizes = {"Content-Length": str(len(data)), "Content-Type": "application/json"}
        for key, value in (headers | sizes).items():
            self.send_header(key, value)
        self.end_headers()
        half = len(data) // 2 if len(data) > 10**6 else 0
        with suppress(OSError):  # whoever asked has gone
            if body and half:
                self.wfile.write(data[:half])
                self.wfile.flush()
                self.server.hold.wait()
            if body:
                self.wfile.write(data[half:])

    def log_message(self, *_):
        pass


def sizes_of(hub):
    files = [file for file in sorted(hub.folder.rglob("*")) if file.is_file()]
    sizes = {
        file.relative_to(hub.folder).as_posix(): file.stat().st_size for file in files
    }
    if hub.repository == REPOSITORY:  # what is not to be fetched
        sizes |= {"more/more.json": 9, "sam2.1_hiera_tiny.pt": 9}
    return sizes


def tree(hub):
    sizes = sizes_of(hub).items()
    return [
        {"type": "file", "path": name, "size": size, "oid": "0"} for name, size in sizes
    ]


def listing(hub):
    siblings = [
        {"rfilename": name, "size": size} for name, size in sizes_of(hub).items()
    ]
    about = {"sha": SHA, "siblings": siblings, "tags": []}
    return {"id": hub.repository, "modelId": hub.repository} | about


class Hub(ThreadingHTTPServer):
    """What is asked is noted; `hold` keeps weights back half way; `status` refuses
    everything."""

    daemon_threads = True

    def __init__(self, folder: Path, repository: str):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.repository = repository
        self.asked, self.status, self.hold = [], 200, threading.Event()
        self.hold.set()


@contextmanager
def serve_hub(folder: Path, repository: str = REPOSITORY):
    """Serve the files of a folder as that repository; yields the hub and its
    address."""
    with Hub(folder, repository) as hub:
        threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield hub, f"http://127.0.0.1:{hub.server_address[1]}"
        finally:
            hub.hold.set()
            hub.shutdown()


def reach(monkeypatch, address: str) -> None:
    """Let the hub's client of this process ask there."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", address, raising=False)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
