"""Masks as videos."""

from fractions import Fraction

import numpy as np
import pytest

from regrain.editing.errors import MaskError
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_files import read_labels
from regrain.editing.media.mask_pictures import palette
from regrain.editing.media.reading import open_clip
from regrain.masks.io.files import write_masks
from regrain.masks.io.video import write_mask_video

FRAMES, HEIGHT, WIDTH = 4, 32, 48
SIZE = (WIDTH, HEIGHT)
COLORS = {1: "#ff0000", 2: "#2080ff"}


@pytest.fixture
def labels():
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[:, 18:28, 30:42] = 2
    for frame in range(FRAMES):
        labels[frame, 4:14, 4 + frame : 16 + frame] = 1
    return labels


def test_mp4_is_for_viewing(tmp_path, labels):
    path = tmp_path / "masks.mp4"
    write_mask_video(labels, path, Fraction(8), COLORS)
    shown = open_clip(path).read(0, FRAMES).astype(int)
    assert np.abs(shown - palette(COLORS)[labels]).mean() < 9
    with pytest.raises(MaskError, match="'masks.mp4' has #"):
        read_labels(path, FRAMES, SIZE, colors=COLORS)
    write_mask_video(labels * 0, path, Fraction(8), COLORS)
    assert not read_labels(path, FRAMES, SIZE).present


@pytest.mark.parametrize("name", ["masks.mkv", "masks.mp4"])
def test_labels_are_read_a_frame_at_a_time(tmp_path, labels, name):
    read = set()

    def window(start, stop):
        read.add(stop - start)
        return labels[start:stop]

    lazy = LazyFrames(labels.shape, np.uint8, window)
    written = []
    for number, given in enumerate((lazy, labels)):
        path = tmp_path / f"{number}{name}"
        write_mask_video(given, path, Fraction(8), COLORS)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert read == {1}


def test_masks_of_a_video_are_read_one_at_a_time(tmp_path):
    together = []

    def read(start, stop):
        together.append(stop - start)
        return np.ones((stop - start, 32, 48), bool)

    masks = {1: LazyFrames((5, 32, 48), bool, read)}
    write_masks(masks, tmp_path / "masks.mkv", {1: "#ffffff"}, Fraction(8))
    assert set(together) == {1}
