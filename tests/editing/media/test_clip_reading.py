"""Frames read in any order are those read one after the other."""

import gc
import random
from pathlib import Path

import av
import numpy as np
import pytest
from json_files import read_json
from made_clips import moving, write_clip

from regrain.editing.media import index, reading
from regrain.editing.media.reading import VideoClip, open_clip

FRAMES = 40
ENTERED, COUNTED = read_json(Path(__file__).with_name("orders.json")).values()
"""Files that can be entered at their key frames, and those that are counted from the
first frame: how they are written."""


@pytest.fixture
def decoded(monkeypatch):
    """Counts decoded frames."""
    count = [0]

    def counted(*given):
        for frame in index.decode(*given):
            count[0] += 1
            yield frame

    monkeypatch.setattr(reading, "decode", counted)
    return count


@pytest.mark.full(but="b_frames.mp4")
@pytest.mark.parametrize("name", [*ENTERED, *COUNTED])
def test_any_order_gives_the_same_frames(tmp_path, decoded, name):
    path = write_clip(tmp_path / name, moving(FRAMES), **(ENTERED | COUNTED)[name])
    expected = open_clip(path).read(0, FRAMES)
    assert len({frame.tobytes() for frame in expected}) == FRAMES
    clip, draw = open_clip(path), random.Random(0)
    assert len(clip) == FRAMES
    for _ in range(30):
        start = draw.randrange(FRAMES)
        part = start, min(FRAMES, start + draw.randrange(1, 5))
        assert np.array_equal(clip.read(*part), expected[slice(*part)]), part
    assert clip.warnings == []
    clip, decoded[0] = open_clip(path), 0
    for start in range(FRAMES - 1, -1, -1):
        assert np.array_equal(clip.read(start, start + 1)[0], expected[start]), start
    # some of a group of at most 12 each, not all frames before
    assert decoded[0] >= FRAMES
    assert name in COUNTED or decoded[0] < FRAMES * 14


def test_reading_on_or_the_last_again_decodes_no_frame_twice(tmp_path, decoded):
    clip = open_clip(write_clip(tmp_path / "a.mp4", moving(FRAMES), g="8", bf="2"))
    decoded[0] = 0
    for start in range(0, FRAMES, 4):
        last = clip.read(start, start + 4)[3:]
        assert np.array_equal(clip.read(start + 3, start + 4), last)
    assert decoded[0] == FRAMES


def test_key_frames_are_distrusted(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", moving(FRAMES), g="8", bf="2")
    expected = open_clip(path).read(0, FRAMES)
    clip = open_clip(path)

    def wrong(file, key=None):
        frames = index.decode(file, key)
        if key:
            next(frames)
        return frames

    monkeypatch.setattr(reading, "decode", wrong)
    for frame in (30, 5, 17):
        assert np.array_equal(clip.read(frame, frame + 1)[0], expected[frame])


def test_frames_that_were_read_are_freed_at_once(tmp_path):
    """Not when Python looks for what holds itself: until then a plate fills memory."""
    write_clip(tmp_path / "a.mp4", moving(12))
    clip = VideoClip(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        before = sum(type(one) is av.VideoFrame for one in gc.get_objects())
        for number in range(12):
            clip.read(number, number + 1)
        after = sum(type(one) is av.VideoFrame for one in gc.get_objects())
    finally:
        gc.enable()
    assert after - before < 6
