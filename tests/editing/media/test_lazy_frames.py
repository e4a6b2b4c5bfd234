import gc
import os

import numpy as np
import pytest
from made_clips import noise

from regrain.editing.errors import ResourceError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.lazy_frames import (
    DiskFrames,
    LazyFrames,
    few,
    frames_of,
    windows,
)

FRAMES = noise(7, 5, 6, 3)


def spooled(*lengths):
    frames = DiskFrames(5, 6)
    for length in lengths or (7,):
        frames.append(FRAMES[len(frames) : len(frames) + length])
    return frames


@pytest.mark.parametrize("lengths", [(7,), (3, 0, 4), (1,) * 7])
def test_what_is_spooled_comes_back(lengths):
    frames = spooled(*lengths)
    for fact in ("shape", "dtype", "ndim"):
        assert getattr(frames, fact) == getattr(FRAMES, fact)
    assert len(frames) == 7
    for found in (frames, np.stack(list(frames))):
        assert np.array_equal(found, FRAMES)
    assert np.array_equal(frames.read(2, 5), FRAMES[2:5])


def test_it_can_be_read_while_it_grows_if_the_disk_has_room(monkeypatch, tmp_path):
    frames = spooled(3)
    assert np.array_equal(frames[2], FRAMES[2])
    frames.append(FRAMES[3:])
    assert np.array_equal(frames, FRAMES)
    frames._file.truncate(6 * 5 * 6 * 3)
    with pytest.raises(EOFError, match="shorter"):
        frames[6]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ResourceError, match="TMPDIR"):
        DiskFrames(5, 6)


KEYS = [
    *(0, -1, np.int64(3), slice(2, 5), slice(None, None, 3), slice(None, None, -2)),
    *(slice(5, 2), slice(9, None), (2, 1), (-2, slice(1, 3), 0)),
    *((slice(1, 4), ..., 0), (slice(None), 2), (..., None), (2, ..., None)),
    *((), (0, slice(None), [2, 0]), [0, 6, 3], np.array([1, 1]), FRAMES[..., 0] > 99),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_an_index_means_what_it_means_of_an_array(key):
    assert np.array_equal(spooled()[key], FRAMES[key])


@pytest.mark.parametrize(
    ("key", "read"),
    [
        (3, [(3, 4)]),
        (slice(2, 4), [(2, 4)]),
        ((5, 1, 1), [(5, 6)]),
        ((2, ..., None), [(2, 3)]),
        (slice(None, None, 3), [(0, 1), (3, 4), (6, 7)]),
    ],
    ids=str,
)
def test_an_index_reads_only_the_frames_it_names(key, read):
    seen = []
    frames = LazyFrames(
        FRAMES.shape, np.uint8, lambda *part: seen.append(part) or FRAMES[slice(*part)]
    )
    frames[key]
    assert seen == read
    for beyond in (lambda: frames[7], lambda: frames.read(3, 8)):
        with pytest.raises(IndexError):
            beyond()


@pytest.mark.parametrize(
    "act",
    [
        lambda frames: frames.astype(int) - FRAMES,
        lambda frames: FRAMES.astype(int) - frames,
        lambda frames: frames.__array__(np.float32),
    ],
)
def test_arithmetic_and_methods_are_those_of_an_array(act):
    found, expected = act(spooled()), act(FRAMES)
    assert np.array_equal(found, expected)
    assert found.dtype == expected.dtype


def test_frames_lack_what_arrays_lack_and_are_read_only():
    frames = spooled()
    assert not hasattr(frames, "no_such_method")
    with pytest.raises(ValueError, match="read-only"):
        frames[0] = 0


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no list of open files")
def test_the_file_vanishes_with_the_frames():
    gc.collect()
    gc.disable()  # reference counting alone must do
    try:
        before = len(os.listdir("/proc/self/fd"))
        frames = spooled()
        assert len(os.listdir("/proc/self/fd")) == before + 1
        del frames
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        gc.enable()


def test_frames_of_a_clip_are_no_copy_and_windows_cover_every_frame_once():
    frames = frames_of(ArrayClip(FRAMES))
    assert np.shares_memory(frames[2:4], FRAMES)
    assert np.array_equal(frames, FRAMES)
    assert list(windows(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(windows(0)) == []


def test_of_large_frames_few_are_held_together():
    assert few(16, (3, 720, 1280)) == 9
    assert few(4, (720, 1280)) == 4
    assert few(16, (4320, 7680)) == few(4, (2160, 4096)) == 1
