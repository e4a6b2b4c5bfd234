"""A hub of one repository, served from a folder: enough for the hub's own client to fetch it."""

import hashlib
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
        elif self.path.startswith(f"/api/models/{REPOSITORY}"):
            self.send(200, json.dumps(listing(hub.folder)).encode(), body)
        elif (path := hub.folder / self.path.partition(f"/resolve/{SHA}/")[2]).is_file():
            data = path.read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            self.send(200, data, body, ETag=f'"{tag}"', **{"X-Repo-Commit": SHA})
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


def listing(folder):
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    sizes |= {"more/more.json": 9, "sam2.1_hiera_tiny.pt": 9}
    files = [{"rfilename": name, "size": size} for name, size in sizes.items()]
    return {"id": REPOSITORY, "modelId": REPOSITORY, "sha": SHA, "siblings": files, "tags": []}


class Hub(ThreadingHTTPServer):
    """What is asked is noted; `hold` keeps the weights back half way; `status` refuses everything."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked, self.status, self.hold = folder, [], 200, threading.Event()
        self.hold.set()


@contextmanager
def serve_hub(folder: Path):
    """Serve the files of a folder as that repository; yields the hub and its address."""
    with Hub(folder) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        try:
            yield hub, f"http://127.0.0.1:{hub.server_address[1]}"
        finally:
            hub.hold.set()
            hub.shutdown()
