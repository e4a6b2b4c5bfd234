"""The page as a Space has it: of another user, from files that cannot be written, below
a prefix."""

import os
import re
import shutil
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import av
import pytest
from browser import ROOT, Server, as_program
from clicked_regions import CLICKED, LEFT
from gradio_client import handle_file
from proxy import Proxy

pytestmark = pytest.mark.full

PREFIX = "/spaces/regrain"
USER = 1000
# This interpreter may lie where the user cannot look; writing is not made easier.
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
AS_USER += [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]


@pytest.fixture(scope="module")
def space():
    """The server and what lies before it."""
    folder = Path(tempfile.mkdtemp())  # pytest's own are closed to other users
    checkout = folder / "checkout"
    home = folder / "home"
    for name in ("assets", "editing", "masks", "regrain", "ui"):
        shutil.copytree(
            ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (checkout / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "fake_app.py", checkout / "tests")
    (home / "tmp").mkdir(parents=True)
    parts = [checkout, *checkout.rglob("*")]
    for path in parts:
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o755)
    root = os.getuid() == 0
    for path in (home, home / "tmp") if root else ():
        os.chown(path, USER, USER)
    variables = {
        "HOME": str(home),
        "SPACE_ID": "owner/space",
        "GRADIO_ROOT_PATH": PREFIX,
    }
    command = [checkout / "tests" / "fake_app.py", home]
    server = Server(
        command,
        home,
        checkout,
        [*(AS_USER if root else ()), sys.executable],
        **variables,
    )
    proxy = Proxy(server.url, PREFIX)
    yield server, proxy
    proxy.close()
    server.stop()
    for path in parts:
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_space_takes_a_clip_and_clicks_and_gives_the_edit(space, tmp_path):
    server, proxy = space
    assert Path(f"/proc/{server.process.pid}").stat().st_uid == (os.getuid() or USER)
    clip = handle_file(server.folder / "examples" / "01_two_discs" / "clip.mkv")
    client = as_program(proxy.url, download_files=str(tmp_path))
    assert client.predict(clip, [LEFT], api_name="/segment")[1]["share"] > 0.05
    video, report = client.predict(clip, CLICKED, api_name="/edit_video")
    assert Path(video).is_relative_to(tmp_path)
    with av.open(video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    assert report["metrics"]["outside_psnr"] == 100


def test_everything_that_the_page_names_lies_below_the_prefix(space):
    _, proxy = space
    with urllib.request.urlopen(f"{proxy.url}/") as answer:
        page = answer.read().decode()
    named = re.findall(r'(?:src|href|content)="(\./[^"]+|http://127[^"]+)"', page)
    assert f"{proxy.url}/regrain/share.png" in named
    for address in {urljoin(f"{proxy.url}/", one) for one in named}:
        with urllib.request.urlopen(address) as answer:
            assert answer.status == 200, address
