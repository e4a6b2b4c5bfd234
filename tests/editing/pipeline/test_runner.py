"""The runner's promises: the order of events, the report's keys, cancelling, early
refusals."""

import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pytest
import torch
from made_clips import noise

from regrain.editing import ArrayClip, EditRequest, Region, edit, tune
from regrain.editing.errors import PromptError
from regrain.editing.media.clip import DRAWN
from regrain.editing.models.loading.load import _loaded, load_backbone
from regrain.editing.pipeline import preparation
from regrain.editing.pipeline.clocks import RunClock
from regrain.editing.recipe.events import (
    Finished,
    Preview,
    Progress,
    Stage,
    WindowStarted,
)

pytestmark = pytest.mark.usefixtures("own_cache")
KEYS = (
    "version comment versions date request prompt_used params masks seconds "
    "peak_memory metrics looked_at warnings"
)


@contextmanager
def double_precision():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def request(**changes) -> EditRequest:
    labels = np.zeros((2, 64, 64), np.uint8)
    labels[:, 16:48, 16:48] = 1
    frames = noise(2, 64, 64, 3, seed=1)
    given = {"source_prompt": "a cat on the left", "params": {"steps": 2}} | changes
    region = Region(
        "thing", 1, prompt=given.pop("becomes", "a fox"), source="a cat", margin=0
    )
    comment = DRAWN if given.pop("drawn", False) else ""
    clip = ArrayClip(frames, fps=Fraction(8), comment=comment)
    return EditRequest(clip, labels, (region,), **given)


def test_events_come_in_order_with_time_left_and_a_full_report(small, monkeypatch):
    asked = []  # of the memory of this run's own device

    def peak(device):
        asked.append(("peak", device))
        return 7

    room = "regrain.editing.pipeline"
    monkeypatch.setattr(f"{room}.clocks.peak_memory", peak)
    monkeypatch.setattr(f"{room}.report.peak_memory", peak)
    monkeypatch.setattr(
        f"{room}.preparation.reset_peak", lambda on: asked.append(("reset", on))
    )
    events = list(edit(request(), small))
    assert asked[0] == ("reset", small.device)
    assert set(asked[1:]) == {("peak", small.device)}
    stages = ["loading", "inverting", "editing", "decoding", "measuring"]
    assert [e.name for e in events if isinstance(e, Stage)] == stages
    assert all(e.seconds_left >= 0 for e in events if isinstance(e, Progress))
    assert sum(isinstance(e, Preview) for e in events) == 2 * 2  # both ways
    assert isinstance(events[-1], Finished)
    report = events[-1].report
    assert report["comment"] == "AI-edited video"
    assert set(report) == set(KEYS.split())
    assert report["prompt_used"] == "a fox on the left"
    assert report["masks"] == "1 region: 25 % of the picture, on 2 of 2 frames"
    assert report["params"]["steps"] == {"value": 2, "source": "given"}
    assert report["params"]["self_strength"]["source"] == "method"
    assert set(report["seconds"]) == set(stages)
    assert {"outside_psnr", "outside_ssim", "warp_error", "attention"} <= set(
        report["metrics"]
    )
    shares = {
        f"{place}_{when}"
        for place in ("inside", "outside")
        for when in ("before", "after")
    }
    assert set(report["metrics"]["attention"]["thing"]) == shares
    assert report["request"]["regions"][0]["prompt"] == "a fox"
    assert report["warnings"] == []
    assert report["peak_memory"] == 7


def test_doubts_about_pictures_are_in_the_report(small, monkeypatch):
    monkeypatch.setattr(preparation, "picture_doubts", lambda edit, regions: ["Hm."])
    assert list(edit(request(), small))[-1].report["warnings"] == ["Hm."]


def test_a_model_of_a_drawn_world_says_that_it_does_not_know_a_clip_but_one_that_was_drawn(
    tiny_dc,
):
    (warning,) = list(edit(request(), tiny_dc))[-1].report["warnings"]
    assert "are meaningless" in warning
    report = list(
        edit(request(drawn=True, params={"guidance_scale": 2.0, "steps": 2}), tiny_dc)
    )[-1].report
    assert report["warnings"] == []
    # What the user gives outweighs what the model recommends.
    assert report["params"]["guidance_scale"] == {"value": 2.0, "source": "given"}
    assert report["params"]["steps"] == {"value": 2, "source": "given"}
    assert tiny_dc.defaults["videograin"]["steps"] == 20


def test_an_unknown_word_is_named_with_the_nearest(tiny_dc):
    tigre, wombat = (
        ("becomes", "a tigre", '"tigre".*tiger'),
        ("source_prompt", "a wombat", '"wombat"'),
    )
    for given, words, said in (tigre, wombat):
        with pytest.raises(PromptError, match=said):
            list(edit(request(**{given: words}), tiny_dc))


def test_words_that_are_too_many_are_named_by_their_field(small):
    long = " ".join(["cat"] * 80)
    fields = {"source_prompt": "source_prompt", "negative_prompt": "negative_prompt"}
    for given, field in (fields | {"becomes": "regions.thing.prompt"}).items():
        with pytest.raises(PromptError, match="80 tokens") as caught:
            list(edit(request(**{"prompt": "a fox", given: long}), small))
        assert caught.value.field == field


AROUND = {
    "double precision": double_precision,
    "no device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
}


@pytest.fixture(scope="module")
def run_apart(small_folder):
    """Runs a method, loads the model for it, and takes nothing from the cache; what a
    run gave where nothing was set is kept."""
    usual = {}

    def run(method):
        _loaded.clear()
        asked = request(model=str(small_folder))
        with TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
            patch.setenv("REGRAIN_CACHE", cache)
            if method == "tune":
                params = {"steps": 1, "tune_steps": 1}
                asked = replace(asked, method="tune_a_video", params=params)
                *_, tuned = tune(asked)
                weights = tuned.adapter.weights.values()
                return torch.cat([weight.flatten() for weight in weights]).numpy()
            *_, last = edit(replace(asked, method=method))
            return np.asarray(last.result.frames)

    def both(method, around):
        if method not in usual:
            usual[method] = run(method)
        with around:
            before = state()
            found = run(method)
            assert state() == before
        return usual[method], found

    return both


@pytest.mark.full(but="sdedit-double precision")
@pytest.mark.parametrize(
    ("method", "around"),
    [*(("sdedit", around) for around in AROUND)]
    + [(method, "inference mode") for method in ("tune", "vid2vid_zero")]
    + [("tune", "double precision"), ("tune", "autocast")],
)
def test_what_a_notebook_set_changes_nothing_and_is_found_again(
    run_apart, method, around
):
    expected, found = run_apart(method, AROUND[around]())
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("around", ["double precision", "inference mode"])
def test_a_model_that_a_notebook_loads_is_the_same(small_folder, small, around):
    _loaded.clear()
    with AROUND[around]():
        found = load_backbone(str(small_folder))
    assert found.sketch == small.sketch
    weights = list(found.unet.parameters())
    assert {weight.dtype for weight in weights} == {torch.float32}
    assert not any(weight.is_inference() for weight in weights)


def state():
    """What is set in PyTorch."""
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_autocast_enabled("cpu"),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
    )


class Ticks:
    """A clock that is told what time it is."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(
            "regrain.editing.pipeline.clocks.time.perf_counter", lambda: self.now
        )

    def left(self, clock, seconds, done, total):
        self.now += seconds
        return clock.left(Progress("editing", done, total, None))


def test_runs_that_are_stopped_leave_no_thread_file_or_process(small):
    def held():
        process = psutil.Process()
        files = len(process.open_files())
        return threading.active_count(), files, len(process.children())

    def stop_after(count):
        with closing(edit(request(seed=count), small)) as events:
            return len(list(islice(events, count)))

    stop_after(9)  # libraries keep what they load once
    before = held()
    assert [stop_after(count) for count in range(1, 13)] == [*range(1, 13)]
    for count, most in zip(held(), before, strict=True):
        assert count <= most


def test_the_time_left_goes_by_the_units_of_the_stage(monkeypatch):
    ticks, clock = Ticks(monkeypatch), RunClock()
    clock.enter("loading")
    ticks.now += 50
    clock.enter("inverting")
    assert ticks.left(clock, 2, 1, 4) == pytest.approx(6)
    assert ticks.left(clock, 4, 2, 4) == pytest.approx(6)
    assert ticks.left(clock, 0, 3, 4) == pytest.approx(2)


def test_the_time_left_is_right_where_a_stage_counts_anew(monkeypatch):
    ticks, clock = Ticks(monkeypatch), RunClock()
    clock.enter("inverting")
    for done in (1, 2):
        ticks.left(clock, 10, done, 2)
    # quicker units, and more of them
    assert ticks.left(clock, 1, 1, 5) == pytest.approx(4)
    assert ticks.left(clock, 1, 2, 5) == pytest.approx(3)
    # What was kept takes no time: it tells nothing of the units that follow.
    clock.enter("inverting")
    assert ticks.left(clock, 0.1, 10, 20) is None
    assert ticks.left(clock, 3, 11, 20) == pytest.approx(27)
    assert ticks.left(clock, 5, 12, 20) == pytest.approx(32)


def test_the_time_left_of_a_long_clip_goes_by_its_windows(monkeypatch):
    ticks, clock = Ticks(monkeypatch), RunClock()

    def begin(number, work, left):
        clock.enter("editing")
        clock.begin(WindowStarted(number, 4, work, left))

    begin(1, 8, 32)
    # of the stage: no window is known
    assert ticks.left(clock, 5, 1, 4) == pytest.approx(15)
    for done in (2, 3, 4):
        ticks.left(clock, 5, done, 4)
    begin(2, 8, 24)  # 8 frames took 20 s, so 24 take 60 s
    assert ticks.left(clock, 5, 1, 4) == pytest.approx(55)
    assert ticks.left(clock, 100, 2, 4) == 0
    begin(3, 8, 16)  # 16 frames took 125 s
    assert ticks.left(clock, 5, 1, 4) == pytest.approx(125 - 5)


def test_windows_that_were_kept_tell_nothing(monkeypatch):
    ticks, clock = Ticks(monkeypatch), RunClock()
    clock.begin(WindowStarted(1, 3, 8, 24))
    clock.begin(WindowStarted(2, 3, 8, 16))
    clock.enter("editing")
    assert ticks.left(clock, 5, 1, 2) == pytest.approx(5)
    ticks.left(clock, 5, 2, 2)
    clock.begin(WindowStarted(3, 3, 8, 8))
    assert ticks.left(clock, 2, 1, 2) == pytest.approx(8)
