"""The runner's promises: the order of events, the report's keys, cancelling, early
refusals."""

import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pytest
import torch
from json_files import read_json
from made_clips import noise

from regrain.editing import ArrayClip, EditRequest, Region, edit, tune
from regrain.editing.errors import ModelError, PromptError
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.writing import AI_EDITED
from regrain.editing.models.loading.load import _loaded
from regrain.editing.pipeline import clocks, metrics, preparation
from regrain.editing.recipe.events import (
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
    room = "regrain.editing.pipeline"
    for name in ("clocks.peak_memory", "report.peak_memory", "preparation.reset_peak"):
        note = lambda on, name=name: asked.append((name, on)) or 7  # noqa: E731
        monkeypatch.setattr(f"{room}.{name}", note)
    monkeypatch.setattr(preparation, "picture_doubts", lambda *_: ["Hm."])
    monkeypatch.setattr(preparation, "reference_doubts", lambda _: ["Well."])
    monkeypatch.setattr(EditRequest, "hidden", {1: "Hidden."})
    *events, last = edit(request(), small)
    assert asked[0][0] == "preparation.reset_peak"
    assert {device for _, device in asked} == {small.device}
    stages = ["loading", "inverting", "editing", "decoding", "measuring"]
    assert [e.name for e in events if isinstance(e, Stage)] == stages
    assert all(e.seconds_left >= 0 for e in events if isinstance(e, Progress))
    assert sum(isinstance(e, Preview) for e in events) == 2 * 2  # both ways
    report = last.report
    assert set(report) == set(KEYS.split())
    assert report["comment"] == AI_EDITED
    assert set(report["seconds"]) == set(stages)
    assert report["warnings"] == ["Hidden.", "Hm.", "Well."]
    assert report["peak_memory"] == 7


def test_an_edit_that_cannot_be_measured_is_kept(small, monkeypatch):
    monkeypatch.setattr(metrics, "squares", lambda *_: {}["a long key" * 99])
    *_, last = edit(request(), small)
    assert len(last.result.frames) == 2
    assert last.report["metrics"] == {}
    (warning,) = last.report["warnings"]
    assert warning.startswith("There is no measurement, the edit is whole")
    assert len(warning) < 300


def test_a_model_of_a_drawn_world_says_that_it_does_not_know_a_clip_but_one_that_was_drawn(
    tiny_dc,
):
    *_, last = edit(request(), tiny_dc)
    (warning,) = last.report["warnings"]
    assert "are meaningless" in warning
    given = {"guidance_scale": 2.0, "steps": 2}
    *_, last = edit(request(drawn=True, params=given), tiny_dc)
    assert last.report["warnings"] == []
    # What the user gives outweighs what the model recommends.
    assert tiny_dc.defaults["videograin"]["steps"] == 20
    for name, value in given.items():
        assert last.report["params"][name] == {"value": value, "source": "given"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("source_prompt", "source_prompt"),
        ("negative_prompt", "negative_prompt"),
        ("becomes", "regions.thing.prompt"),
    ],
)
def test_words_that_are_too_many_are_named_by_their_field(small, given, field):
    words = {"prompt": "a fox", given: "cat " * 80}
    with pytest.raises(PromptError, match=f"^{field}: .*80 tokens"):
        list(edit(request(**words), small))


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


def state():
    """What is set in PyTorch."""
    return (
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_autocast_enabled("cpu"),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
    )


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


TIMES = read_json(Path(__file__).with_name("time_left.json"))
"""What happens: a stage, a window (its number, of how many, its work, the work left),
or seconds, units done, of how many, and the seconds that are left then."""


@pytest.mark.parametrize("steps", TIMES.values(), ids=TIMES)
def test_the_time_left(monkeypatch, steps):
    now = 100.0
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: now)
    clock = clocks.RunClock()
    for first, *more in steps:
        if first == "window":
            clock.begin(WindowStarted(*more))
        elif not more:
            clock.enter(first)
        else:
            done, total, expected = more
            now += first
            left = clock.left(Progress("editing", done, total, None))
            assert left == (expected and pytest.approx(expected)), more


def test_a_model_that_is_given_has_the_loras_of_the_request(tiny):
    bare = request(loras=("storybook/fast",))
    with pytest.raises(ModelError, match="^loras: .* without .storybook/fast.. Give"):
        list(edit(bare, tiny))
