"""One picture of masks, for a clip of many frames."""

import errno
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from regrain.editing.media.coco import write_rle
from regrain.ui.handlers.mask_files import MaskFileHandlers
from regrain.ui.session.mask_files import import_masks
from regrain.ui.work.catalogue import Catalogue

REQUEST = SimpleNamespace(session_hash="page")


@pytest.fixture
def handlers(open_clip, visits_of, tmp_path):
    visits = visits_of(open_clip(shape=(4, 32, 32)))
    return MaskFileHandlers(Catalogue({}, tmp_path), visits, visits.media, None)


def _run_lengths(file, inside):
    write_rle({1: inside[None]}, file)


def _picture(file, inside):
    Image.fromarray(np.where(inside, np.uint8(255), np.uint8(0))).save(file)


@pytest.mark.parametrize(
    "name", ["a.png", "a.JPG", "a.bmp", "a.tif", "a.gif", "a.json"]
)
def test_it_is_taken_for_the_frame_in_view_and_can_be_followed(
    handlers, tmp_path, name
):
    session = handlers.session(REQUEST)
    session.shown = 2
    picture = np.zeros((32, 32), bool)
    picture[8:24, 8:16] = True
    file = tmp_path / name
    write = _run_lengths if file.suffix == ".json" else _picture
    write(file, picture)
    note = import_masks(session, [str(file)], tmp_path)
    (label,) = session.state.regions
    for frame in range(4):
        expected = picture if frame == 2 else np.zeros((32, 32), bool)
        assert np.array_equal(session.state.mask(label, frame), expected)
    assert session.state.to_track(only_untracked=True) == [label]
    assert "on frame 3" in note
    session.undo()
    assert not session.state.regions


def test_a_full_disk_is_told_as_one(handlers, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    handlers = replace(handlers, parts=SimpleNamespace(canvas="canvas"))
    handlers.session(REQUEST)
    monkeypatch.setattr("regrain.ui.handlers.mask_files.import_masks", full)
    monkeypatch.setattr(MaskFileHandlers, "_save", full)
    event = SimpleNamespace(_data={"form": "png"})
    for shown in (handlers.load(REQUEST, []), handlers.save(event, REQUEST)):
        assert "disk of this machine is full" in shown["canvas"].note


def test_one_of_another_size_is_refused(handlers, tmp_path):
    file = tmp_path / "mask.png"
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(file)
    with pytest.raises(Exception, match="8x8"):
        import_masks(handlers.session(REQUEST), [str(file)], tmp_path)
