"""Where GPUs are lent: a made-up `spaces` module, which pickles all that goes there and
comes back."""

import pickle
import sys
from fractions import Fraction
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest

from regrain import masks
from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.pipeline.estimate import frame_passes
from regrain.editing.recipe.events import (
    EditResult,
    Finished,
    OtherEdit,
    Preview,
    Ready,
)
from regrain.ui.page import zero_gpu
from regrain.ui.page.layout import Tools


class Spaces:
    """As the package has it: a decorator with a duration, a number or a function of the
    arguments."""

    def __init__(self):
        self.durations = []

    def GPU(self, duration):  # noqa: N802
        def decorate(work):
            def call(*arguments, **named):
                self.durations.append(
                    duration(*arguments, **named) if callable(duration) else duration
                )
                arguments, named = pickle.loads(pickle.dumps((arguments, named)))
                made = work(*arguments, **named)
                if not hasattr(made, "__next__"):
                    return pickle.loads(pickle.dumps(made))
                return (pickle.loads(pickle.dumps(item)) for item in made)

            return call

        return decorate


def lazy(array):
    """Frames that only this process can read."""
    return LazyFrames(array.shape, array.dtype, lambda start, stop: array[start:stop])


def request(frames=4, **asked):
    pictures = np.arange(frames * 64 * 64 * 3, dtype=np.uint8).reshape(
        frames, 64, 64, 3
    )
    labels = np.zeros((frames, 64, 64), np.uint8)
    labels[:, 8:40, 8:40] = 1
    clip = ArrayClip(lazy(pictures), Fraction(8))
    regions = (Region("cat", 1, prompt="a fox"),)
    return EditRequest(clip, Labels(lazy(labels)), regions, "a cat", **asked)


def edit(asked):
    frames = 255 - np.asarray(frames_of(asked.clip))
    yield Preview(frames[:1], (0,), {"cat": np.zeros((1, 4, 4), np.float32)})
    yield Ready(lazy(frames[:2]))
    mask = lazy(asked.edited_mask[:])
    others = (OtherEdit("a dog", lazy(frames), frames),)
    yield Finished(
        EditResult(lazy(frames), frames, lazy(frames), mask, {}, others=others),
        {"version": 1},
    )


def lent(spaces):
    tools = Tools(
        edit, masks.segment, masks.propagate, lambda asked: iter([len(asked.clip)])
    )
    return zero_gpu.lent(tools, spaces)


def test_a_run_goes_there_and_back():
    spaces, asked = Spaces(), request()
    preview, ready, finished = lent(spaces).edit(asked)
    expected = 255 - np.asarray(frames_of(asked.clip))
    assert preview.frames.shape == (1, 64, 64, 3)
    for frames in (finished.result.frames, finished.result.others[0].frames):
        np.testing.assert_array_equal(np.asarray(frames), expected)
    np.testing.assert_array_equal(np.asarray(ready.frames), expected[:2])
    np.testing.assert_array_equal(
        np.asarray(finished.result.edited_mask), asked.edited_mask
    )
    assert spaces.durations == [zero_gpu.run_seconds(asked)]


def test_masks_go_there_and_back():
    spaces, clip = Spaces(), request().clip
    tools = lent(spaces)
    key = np.zeros((64, 64), bool)
    key[8:40, 8:40] = True
    tracked = [*tools.propagate(clip, {0: {1: key}}, start=0, stop=4)]
    assert [frame for frame, *_ in tracked] == [0, 1, 2, 3]
    assert tracked[0][2].regions == {1: 1.0}
    found = tools.segment(clip.read(0, 1)[0], [(20, 20)], [1], method="sam")
    assert found.shape == (64, 64)
    assert next(iter(tools.discover(request()))) == 4
    assert spaces.durations[:2] == [21, 15]


def test_seconds_follow_the_cost():
    short, long = request(params={"steps": 10}), request(params={"steps": 20})
    assert frame_passes(long) == 2 * frame_passes(short) == 20 * 4 * 4
    assert (
        frame_passes(request(params={"steps": 10, "redraw": 0.5}))
        == (10 * 4 + 5 * 3) * 4
    )
    assert (
        frame_passes(request(method="sdedit", params={"steps": 10, "strength": 0.5}))
        == 5 * 2 * 4
    )
    seen = request(params={"steps": 10, "control": "canny=storybook/canny"})
    assert frame_passes(seen) == 1.5 * frame_passes(short)
    tuned = request(method="tune_a_video", params={"steps": 10, "tune_steps": 100})
    assert frame_passes(tuned) > 100 * 4 * 3
    assert (
        zero_gpu.run_seconds(short)
        <= zero_gpu.run_seconds(long)
        < zero_gpu.run_seconds(tuned)
    )
    huge = request(frames=40, method="tune_a_video", params={"tune_steps": 1000})
    assert zero_gpu.run_seconds(huge) <= 300


@pytest.mark.parametrize(
    ("said", "on"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_it_is_used_only_where_gpus_are_lent(monkeypatch, said, on):
    made = ModuleType("spaces")
    made.__spec__ = ModuleSpec("spaces", None)
    # a Space with a plain CPU may have it, too
    monkeypatch.setitem(sys.modules, "spaces", made)
    monkeypatch.setenv("SPACES_ZERO_GPU", said)
    assert zero_gpu.package() is (made if on else None)
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert zero_gpu.package() is None
