"""The wheel: built from the tracked files, it works from any folder, without network and without a home."""

import os
import shutil
import site
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A virtual environment with the wheel, which sees the dependencies of this one."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("package")
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    named = subprocess.run(command, cwd=ROOT, capture_output=True)
    if named.returncode:
        pytest.skip("not a checkout")
    for name in filter(None, os.fsdecode(named.stdout).split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "node_modules")):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    without = ["--no-deps", "--no-index"]
    build = ["wheel", "--no-build-isolation", *without, "-w", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True)
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    (wheel,) = folder.glob("*.whl")
    target = ["--python", str(venv / "bin" / "python")]
    subprocess.run([*pip, *target, "install", *without, str(wheel)], check=True)
    (folder / "elsewhere").mkdir()
    return venv


def environment(**more: str) -> dict[str, str]:
    """No home that can be written, no network that answers, and nothing of this checkout."""
    names = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    nobody = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    local = {"NO_PROXY": "127.0.0.1,localhost", "HOME": "/proc/nowhere", "OMP_NUM_THREADS": "1"}
    return kept | nobody | local | more


def regrain(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command, folder = [installed / "bin" / "regrain", *arguments], installed.parent / "elsewhere"
    options = {"capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(command, cwd=folder, env=environment(), **options)


def test_the_command_edits_from_any_folder(installed):
    examples = next(installed.glob("lib/python*/site-packages/regrain/assets/examples"))
    ran = regrain(installed, "edit", "run", str(examples / "02_one_region"), "-o", "out", "--set", "steps=1")
    assert ran.returncode == 0, ran.stderr
    assert (installed.parent / "elsewhere" / "out" / "edited.mp4").stat().st_size > 1000
    clip = str(examples / "02_one_region" / "clip.mp4")
    options = ["-o", "found", "--click", "1:0,64,64", "--frames", "1"]
    track = regrain(installed, "masks", "track", clip, *options)
    assert track.returncode == 0, track.stderr


def test_one_name_with_every_file_and_the_versions_of_python(installed):
    """Site-packages have one new name, and below it all that the checkout has in these folders."""
    (packages,) = installed.glob("lib/python*/site-packages")
    names = {entry.name for entry in packages.iterdir() if not entry.name.endswith((".dist-info", ".pth"))}
    assert names == {"regrain"}
    source = installed.parent / "source"
    for folder in ("editing", "masks", "ui", "assets"):
        files = {file.relative_to(source) for file in (source / folder).rglob("*") if file.is_file()}
        there = {file for file in files if (packages / "regrain" / file).is_file()}
        missing = {str(file) for file in files - there if file.suffix != ".md"}
        assert missing <= {"assets/readme.webp"}  # the README's picture
    (info,) = installed.glob("lib/python*/site-packages/regrain-*.dist-info")
    metadata = PathDistribution(info).metadata
    versions = [line.split()[-1] for line in metadata.get_all("Classifier", []) if "Python :: 3." in line]
    assert versions == ["3.11", "3.12", "3.13"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert "ray" in metadata.get_all("Provides-Extra", [])


def test_wrong_commands_are_one_line(installed):
    ran = regrain(installed, "edti")
    assert (ran.returncode, ran.stderr) == (2, "error: COMMAND: Expected edit, masks or app, got 'edti'.\n")
    assert "usage: regrain edit" in regrain(installed).stdout
    assert regrain(installed, "--version").stdout == "regrain 0.2.0\n"


def test_the_page_starts_without_home_and_network(installed):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(GRADIO_SERVER_NAME="127.0.0.1", GRADIO_SERVER_PORT=str(port))
    log, folder = installed.parent / "page.log", installed.parent / "elsewhere"
    command = [installed / "bin" / "regrain", "app"]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=sink, stdout=sink)
    try:
        until = time.monotonic() + 180
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/gradio_api/info", timeout=20) as answer:
                    assert b"named_endpoints" in answer.read()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError(log.read_text()[-2000:])
    finally:
        process.terminate()
        process.wait(30)
