"""Where GPUs are lent: a made-up `spaces` module, which pickles all that goes there and
comes back."""

import pickle
import sys
import time
from fractions import Fraction
from importlib.machinery import ModuleSpec
from types import ModuleType

import gradio as gr
import numpy as np
import pytest

from regrain import masks
from regrain.editing import ArrayClip, EditRequest, Region, ResourceError
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
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
    """As the package has it: a decorator with a duration."""

    def __init__(self):
        self.durations = []

    def GPU(self, duration):  # noqa: N802
        def decorate(work):
            def call(*arguments, **named):
                self.durations.append(duration)
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
        edit,
        masks.segment,
        masks.propagate,
        load_ahead=pytest.fail,
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
    assert spaces.durations == [60]


def test_a_clip_keeps_its_clock():
    times = tuple(Fraction(at, 24) for at in (0, 1, 4, 5))
    clip = ArrayClip(request().clip.read(0, 4), times=times, duration=Fraction(1, 3))
    there = zero_gpu.held_clip(clip)
    assert (there.times, there.duration) == (clip.times, clip.duration)


def test_masks_go_there_and_back():
    spaces, clip = Spaces(), request().clip
    tools = lent(spaces)
    assert tools.load_ahead is None
    key = np.zeros((64, 64), bool)
    key[8:40, 8:40] = True
    tracked = [*tools.propagate(clip, {0: {1: key}}, start=0, stop=4)]
    assert [frame for frame, *_ in tracked] == [0, 1, 2, 3]
    assert tracked[0][2].regions == {1: 1.0}
    assert spaces.durations == [60]


def test_small_mask_models_use_no_ones_seconds():
    spaces, clip = Spaces(), request().clip
    asked = []
    made = np.zeros((64, 64), bool)

    def segment(*given, doubt=None, **how):
        asked.append((how.get("method"), doubt))
        return made

    tools = zero_gpu.lent(Tools(edit, segment, masks.propagate), spaces)
    picture = clip.read(0, 1)[0]
    for how in ({}, {"method": "sam"}, {"method": "cuts"}):
        tools.segment(picture, [(20, 20)], [1], doubt=print, **how)
    assert spaces.durations == []
    assert asked == [(method, print) for method in (None, "sam", "cuts")]
    published = {"method": "sam", "model": "sam_vit_b_01ec64.pth"}
    for how in ({"method": "sam2.1-hiera-tiny"}, published):
        tools.segment(picture, [(20, 20)], [1], doubt=print, **how)
        assert spaces.durations.pop() == 60
        assert asked.pop()[1] is None  # a function cannot travel


@pytest.mark.parametrize("late", [False, True])
def test_a_refusal_of_a_gpu_is_explained(late):
    said = (
        "You have exceeded your GPU quota (110s requested vs. 5s left). "
        '<a href="https://huggingface.co/join">Create a free account</a> &amp; more.'
    )

    class Refusing:
        def GPU(self, duration):  # noqa: N802
            def refuse(*given, **how):
                raise gr.Error(said, title="ZeroGPU quota exceeded")

            def refuse_late(*given, **how):
                yield 1
                raise gr.Error(said)

            return lambda work: refuse_late if late else refuse

    with pytest.raises(ResourceError) as refused:
        list(lent(Refusing()).edit(request()))
    assert refused.value.message.startswith(
        "No GPU was lent: You have exceeded your GPU quota (110s requested vs. 5s "
        "left). Create a free account & more. Log in to Hugging Face"
    )


def test_a_thread_that_edits_knows_whose_request_it_is():
    """`spaces` reads Gradio's context variable inside the call."""
    from gradio.context import LocalContext

    from regrain.ui.server.run_queue import RunQueue
    from regrain.ui.server.runs import RunThread
    from regrain.ui.server.worker import in_thread

    seen = []

    def steps():
        yield from in_thread(
            lambda: iter([LocalContext.request.get(None)]), RunQueue().enter_first()
        )

    def work():
        seen.extend(item for item in steps() if item is not None)
        yield {}

    token = LocalContext.request.set("the visitor's")
    try:
        run = RunThread(RunQueue().enter_first())
        run.begin(work())
    finally:
        LocalContext.request.reset(token)
    for _ in range(200):
        if run.over:
            break
        time.sleep(0.05)
    assert seen == ["the visitor's"]


def test_the_variable_says_how_long_a_gpu_is_lent(monkeypatch):
    monkeypatch.setenv("REGRAIN_GPU_SECONDS", " 90 ")
    spaces = Spaces()
    list(lent(spaces).edit(request()))
    assert spaces.durations == [90]


def test_the_former_variable_is_said(monkeypatch, caplog):
    monkeypatch.setenv("REGRAIN_GPU_SPEED", "2")
    assert zero_gpu.gpu_seconds() == 60
    assert "REGRAIN_GPU_SPEED: Set REGRAIN_GPU_SECONDS" in caplog.text


@pytest.mark.parametrize("given", ["long", "0", "-1", "1.5", "inf"])
def test_seconds_that_are_none_are_said_and_not_used(given, monkeypatch, caplog):
    monkeypatch.setenv("REGRAIN_GPU_SECONDS", given)
    assert zero_gpu.gpu_seconds() == 60
    assert f"REGRAIN_GPU_SECONDS: expected whole seconds, got '{given}'" in caplog.text


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
