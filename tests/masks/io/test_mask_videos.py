"""Masks as videos."""

from fractions import Fraction

import numpy as np
import pytest

from regrain.editing.errors import MaskError
from regrain.editing.media.labels import read_labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_pictures import palette
from regrain.editing.media.reading import open_clip
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


def test_mkv_comes_back_and_mp4_is_for_viewing(tmp_path, labels):
    write_mask_video(labels, tmp_path / "masks.mkv", Fraction(8), COLORS)
    back = read_labels(tmp_path / "masks.mkv", FRAMES, SIZE, colors=COLORS)
    assert np.array_equal(back, labels)
    write_mask_video(labels, tmp_path / "masks.mp4", Fraction(8), COLORS)
    shown = open_clip(tmp_path / "masks.mp4").read(0, FRAMES).astype(int)
    assert np.abs(shown - palette(COLORS)[labels]).mean() < 9
    with pytest.raises(MaskError, match="'masks.mp4' has #"):
        read_labels(tmp_path / "masks.mp4", FRAMES, SIZE, colors=COLORS)
    write_mask_video(labels * 0, tmp_path / "none.mp4", Fraction(8), COLORS)
    assert not read_labels(tmp_path / "none.mp4", FRAMES, SIZE).present


def test_labels_are_read_a_frame_at_a_time(tmp_path, labels):
    read = []

    def window(start, stop):
        read.append(stop - start)
        return labels[start:stop]

    lazy = LazyFrames(labels.shape, np.uint8, window)
    for name in ("masks.mkv", "masks.mp4"):
        write_mask_video(lazy, tmp_path / name, Fraction(8), COLORS)
        write_mask_video(labels, tmp_path / f"whole_{name}", Fraction(8), COLORS)
        assert (tmp_path / name).read_bytes() == (
            tmp_path / f"whole_{name}"
        ).read_bytes()
    assert set(read) == {1}
