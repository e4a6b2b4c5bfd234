"""Results are put together beside their place; what a killed process left there goes,
what lives stays."""

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from running import hanging, kill

from regrain.editing.errors import RequestError, ResourceError
from regrain.editing.storage import folders
from regrain.editing.storage.folders import (
    check_writable,
    is_of_disk,
    remove_stale,
    replacing,
    staged,
    writable,
)


def write(target):
    with staged(target) as folder:
        (folder / "b.txt").write_text("whole")
    return folder


def begin(target: Path) -> int:
    """Another process that writes to a place, and goes on until it is killed."""

    def write_half(hang):
        with staged(target) as folder:
            (folder / "a.txt").write_text("half")
            hang()

    return hanging(write_half)


def test_a_living_process_keeps_its_folder_and_what_a_killed_one_left_goes_with_the_next_run(
    tmp_path,
):
    child = begin(tmp_path / "out")
    try:
        remove_stale(tmp_path / "out")
        write(tmp_path / "out")
        (left,) = (entry for entry in tmp_path.iterdir() if entry.name != "out")
        assert (left / "a.txt").read_text() == "half"
    finally:
        kill(child)
    write(tmp_path / "out")
    assert [*tmp_path.rglob("*")] == [tmp_path / "out", tmp_path / "out" / "b.txt"]


def test_folders_of_others_stay(tmp_path):
    others = [
        ".other.12345678.partial",
        ".out.1234567.partial",
        ".out.12345678",
        "out.partial",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    remove_stale(tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == others


def test_what_cannot_be_locked_stays(tmp_path, monkeypatch):
    kill(begin(tmp_path / "out"))
    monkeypatch.setattr(
        folders, "lock_descriptor", lambda *_, **__: os.listdir("/nowhere")
    )
    write(tmp_path / "out")
    assert len([*tmp_path.iterdir()]) == 2


def test_a_link_to_another_disk_is_written_there(tmp_path):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    with TemporaryDirectory(dir=shared) as real:
        (tmp_path / "out").symlink_to(real)
        write(tmp_path / "out")
        assert os.listdir(real) == ["b.txt"]
        assert (tmp_path / "out").is_symlink()


def test_a_disk_of_its_own_is_written_from_within(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(folders, "_same_disk", lambda target: target)
    assert write(tmp_path / "out").parent == tmp_path / "out"
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["b.txt"]


def test_a_failure_keeps_the_old_file(tmp_path):
    old = tmp_path / "a"
    old.write_text("old")

    def fail():
        with replacing(old) as part:
            part.write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert [*tmp_path.iterdir()] == [old]
    assert old.read_text() == "old"
    with pytest.raises(ResourceError), staged(old / "b"):
        pass


def test_what_a_disk_answers_is_said_without_names_of_files():
    full = OSError(errno.ENOSPC, "No space left on device", "/secret/place")
    for error, why in ((full, "No space left on device"), (OSError("odd"), "odd")):
        with pytest.raises(ResourceError) as refused, writable():
            raise error
        assert refused.value.message.startswith(f"It cannot be written ({why}). ")


def test_a_full_disk_is_told_from_other_failures():
    assert is_of_disk(OSError(errno.ENOSPC, "full"))
    for other in (OSError(errno.ENOENT, "gone"), KeyError("x")):
        assert not is_of_disk(other)


def test_a_report_comes_last(tmp_path, monkeypatch):
    placed = []
    monkeypatch.setattr(folders, "_put", lambda entry, *_: placed.append(entry.name))
    with staged(tmp_path / "out") as folder:
        for name in ("a.json", "b.mp4", "c"):
            (folder / name).touch()
    assert placed[-1] == "a.json"


def test_a_link_that_leads_to_itself_is_no_place_for_results(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    check_writable(tmp_path / "new" / "out")
    with pytest.raises(RequestError, match="^--out: .* cannot be written"):
        check_writable(tmp_path / "loop" / "out")


def test_a_folder_that_another_process_puts_in_place_meanwhile_leaves(
    tmp_path, monkeypatch
):
    target = tmp_path / "out"
    replace = os.replace
    calls = []

    def late(entry, place):
        if place == target / "maps" and not calls:
            calls.append(place)
            place.mkdir()
            (place / "other").touch()
        replace(entry, place)

    monkeypatch.setattr(os, "replace", late)
    with folders.staged(target) as staging:
        (staging / "maps").mkdir()
        (staging / "maps" / "own").touch()
    assert [path.name for path in target.rglob("*")] == ["maps", "own"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
