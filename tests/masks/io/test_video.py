from fractions import Fraction

import numpy as np
import pytest

from regrain.editing.errors import MaskError
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.masks.io.video import read_mask_video, write_mask_video

COLORS = {1: "#ff0000", 4: "#2080ff"}


@pytest.fixture
def labels():
    labels = np.zeros((4, 32, 48), np.uint8)
    for frame in range(4):
        labels[frame, 4:20, 4 + frame : 20 + frame] = 1
        labels[frame, 12:30, 30:44] = 4
    return labels


def test_without_loss(tmp_path, labels):
    write_mask_video(labels, tmp_path / "masks.mkv", Fraction(8), COLORS)
    assert (read_mask_video(tmp_path / "masks.mkv", 4, (48, 32), COLORS) == labels).all()


def test_mp4_loses_only_edges(tmp_path, labels):
    write_mask_video(labels, tmp_path / "masks.mp4", Fraction(8), COLORS)
    back = read_mask_video(tmp_path / "masks.mp4", 4, (48, 32), COLORS)
    assert (back == labels).mean() > 0.98


def test_other_size(tmp_path, labels):
    write_mask_video(labels, tmp_path / "masks.mkv", Fraction(8), COLORS)
    with pytest.raises(MaskError, match="4 frames of 48x32, but the clip uses 4 of 48x30"):
        read_mask_video(tmp_path / "masks.mkv", 4, (48, 30), COLORS)


def test_labels_are_read_a_frame_at_a_time(tmp_path, labels):
    read = []

    def window(start, stop):
        read.append(stop - start)
        return labels[start:stop]

    lazy = LazyFrames(labels.shape, np.uint8, window)
    for name in ("masks.mkv", "masks.mp4"):
        write_mask_video(lazy, tmp_path / name, Fraction(8), COLORS)
        write_mask_video(labels, tmp_path / f"whole_{name}", Fraction(8), COLORS)
        assert (tmp_path / name).read_bytes() == (tmp_path / f"whole_{name}").read_bytes()
    assert set(read) == {1}
