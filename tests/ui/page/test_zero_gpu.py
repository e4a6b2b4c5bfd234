"""Where GPUs are lent: a made-up `spaces` module, which pickles all that goes there and
comes back."""

import pickle
import sys
import time
from dataclasses import replace
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
from regrain.editing.pipeline.estimate import frame_passes, operations
from regrain.editing.recipe.events import (
    EditResult,
    Finished,
    OtherEdit,
    Preview,
    Ready,
)
from regrain.ui.page import zero_gpu
from regrain.ui.page.layout import Tools
from regrain.ui.work.costs import Costs


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
    assert spaces.durations == [zero_gpu.run_seconds(asked)]


def test_masks_go_there_and_back():
    spaces, clip = Spaces(), request().clip
    tools = lent(spaces)
    assert tools.load_ahead is None
    key = np.zeros((64, 64), bool)
    key[8:40, 8:40] = True
    tracked = [*tools.propagate(clip, {0: {1: key}}, start=0, stop=4)]
    assert [frame for frame, *_ in tracked] == [0, 1, 2, 3]
    assert tracked[0][2].regions == {1: 1.0}
    assert spaces.durations[0] == 21


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
        assert spaces.durations.pop() == 15
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


def test_seconds_are_operations_over_the_speed_of_the_gpu(monkeypatch, own_cache):
    short, long = (request(params={"steps": steps}) for steps in (10, 20))
    tuned = request(method="tune_a_video", params={"steps": 10, "tune_steps": 40})
    counted = [operations(asked) for asked in (short, long, tuned)]
    assert counted[1] == 2 * counted[0]
    for speed in ("0.01", "0.02"):
        monkeypatch.setenv(zero_gpu.SPEED, speed)
        for asked, found in zip((short, long, tuned), counted, strict=True):
            expected = 20 + found / (float(speed) * 1e12)
            assert expected < 109
            assert expected <= zero_gpu.run_seconds(asked) <= expected + 1
    # never more than a visitor may ask for
    huge = request(frames=40, method="tune_a_video", params={"tune_steps": 1000})
    assert zero_gpu.run_seconds(huge) == 110


def test_a_model_that_is_not_here_yet_counts_as_stable_diffusion(monkeypatch):
    asked = request(model="owner/name", params={"steps": 10})
    monkeypatch.setenv(zero_gpu.SPEED, "1")
    share = 64 * 64 / (512 * 512)
    expected = 20 + frame_passes(asked) * share * 2.6
    assert expected <= zero_gpu.run_seconds(asked) <= expected + 1


def test_what_runs_took_on_this_space_tells_the_most(monkeypatch, own_cache):
    monkeypatch.setenv(zero_gpu.SPEED, "1")
    asked = request(params={"steps": 10})
    Costs().note(
        asked,
        {
            "params": {"steps": {"value": 10}},
            "seconds": {"inverting": 8.0, "editing": 24.0, "decoding": 8.0},
        },
    )
    assert zero_gpu.run_seconds(asked) == 20 + 40 * 1.25
    # decoding takes as long
    half = request(params={"steps": 5})
    assert zero_gpu.run_seconds(half) == 20 + 24 * 1.25


@pytest.mark.parametrize("given", ["fast", "0", "-1", "inf", "nan"])
def test_a_speed_that_is_none_is_said_and_not_used(given, monkeypatch, caplog):
    usual = zero_gpu.gpu_speed()
    monkeypatch.setenv(zero_gpu.SPEED, given)
    assert zero_gpu.gpu_speed() == usual
    assert f"REGRAIN_GPU_SPEED: expected a number above 0, got '{given}'" in caplog.text


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


@pytest.mark.usefixtures("own_cache")
def test_boxes_of_two_regions_ask_for_as_much_as_two_runs(open_clip, monkeypatch):
    monkeypatch.setenv(zero_gpu.SPEED, "0.02")
    regions = (Region("left", 1, "a fox"), Region("right", 2, "a dog"))
    places = {1: (slice(9), slice(9)), 2: (slice(9), slice(90, 99))}
    opened = open_clip("a", (4, 480, 480), regions, places)
    asked = replace(opened.request, params={"steps": 20}, source_prompt="a cat")
    took = {
        focus: zero_gpu.run_seconds(replace(asked, focus=focus)) - zero_gpu._LOADING
        for focus in ("off", "on", "each")
    }
    assert 10 < took["off"] < 40
    assert took["on"] > took["off"]  # a box around both is wide
    assert took["each"] == pytest.approx(2 * took["off"], abs=2)
