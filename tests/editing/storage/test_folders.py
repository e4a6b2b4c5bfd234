"""Results are put together beside their place; what a killed process left there goes, what lives stays."""

import os
import signal
from pathlib import Path

import pytest

from regrain.editing.errors import ResourceError
from regrain.editing.storage import folders
from regrain.editing.storage.folders import remove_stale, replacing, staged


def begin(target: Path, kill: bool) -> int:
    """Another process that writes to a place, and is killed or goes on until it is told."""
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        with staged(target) as folder:
            (folder / "a.txt").write_text("half")
            os.write(tell, b".")
            signal.pause()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(tell)
    if kill:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return child


def test_what_a_killed_process_left_goes_with_the_next_run(tmp_path):
    begin(tmp_path / "out", kill=True)
    assert len([*tmp_path.iterdir()]) == 1
    with staged(tmp_path / "out") as folder:
        (folder / "b.txt").write_text("whole")
    assert [*tmp_path.rglob("*")] == [tmp_path / "out", tmp_path / "out" / "b.txt"]


def test_a_living_process_keeps_its_folder(tmp_path):
    child = begin(tmp_path / "out", kill=False)
    try:
        remove_stale(tmp_path / "out")
        with staged(tmp_path / "out") as folder:
            (folder / "b.txt").write_text("whole")
        (left,) = (entry for entry in tmp_path.iterdir() if entry.name != "out")
        assert (left / "a.txt").read_text() == "half"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    remove_stale(tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "name", [".out.12345678", ".out.1234567.partial", ".other.12345678.partial", "out.partial"]
)
def test_folders_of_others_stay(tmp_path, name):
    (tmp_path / name).mkdir()
    remove_stale(tmp_path / "out")
    assert (tmp_path / name).is_dir()


def test_what_cannot_be_locked_stays(tmp_path, monkeypatch):
    begin(tmp_path / "out", kill=True)
    monkeypatch.setattr(folders, "lock_descriptor", lambda *_, **__: os.listdir("/nowhere"))
    with staged(tmp_path / "out") as folder:
        (folder / "b.txt").write_text("whole")
    assert len([*tmp_path.iterdir()]) == 2


def test_a_link_to_another_disk_is_written_there(tmp_path):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    real = shared / f"regrain-{os.getpid()}"
    real.mkdir()
    try:
        (tmp_path / "out").symlink_to(real)
        with staged(tmp_path / "out") as folder:
            (folder / "b.txt").write_text("whole")
        assert [entry.name for entry in real.iterdir()] == ["b.txt"]
        assert (tmp_path / "out").is_symlink()
    finally:
        (real / "b.txt").unlink()
        real.rmdir()


def test_a_disk_of_its_own_is_written_from_within(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(folders, "_same_disk", lambda target: target)
    with staged(tmp_path / "out") as folder:
        assert folder.parent == tmp_path / "out"
        (folder / "b.txt").write_text("whole")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["b.txt"]


def test_a_failure_keeps_the_old_file(tmp_path):
    (tmp_path / "a").write_text("old")

    def fail():
        with replacing(tmp_path / "a") as part:
            part.write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("a", "old")]
    with pytest.raises(ResourceError), staged(tmp_path / "a" / "b"):
        pass
