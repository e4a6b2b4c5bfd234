"""Seconds, minutes or hours are said before a run, by what runs took here or by the
device, and no number."""

from dataclasses import replace

import pytest

from regrain.editing import ArrayClip
from regrain.editing.recipe.events import Finished, Progress, WindowStarted
from regrain.ui.views.before_run import before_run
from regrain.ui.work.last_runs import LastRuns

STEP = Progress("editing", 1, 8, None)
SECONDS = {"loading": 50.0, "tuning": 70.0, "inverting": 5.0, "editing": 15.4}


@pytest.fixture
def asked(open_clip):
    """A run with all of its parameters."""
    request = open_clip("clip", (4, 32, 32), source_prompt="a cat").request
    return replace(request, model="storybook", method="sdedit", params={"steps": 8})


def finish(last_runs, request, *events):
    """Let a run end after some events."""
    report = {
        "params": {"steps": {"value": request.params["steps"]}},
        "seconds": SECONDS,
    }
    made = [*events, Finished(None, report)]
    assert [*last_runs.watched(lambda _: (yield from made))(request)] == made


def test_a_first_run_is_judged_by_the_device(asked, monkeypatch):
    assert LastRuns().seconds(asked) is None
    view = before_run(asked, None)
    assert view.text == "4 frames, 8 steps. It takes seconds here."
    assert not view.long
    many = replace(asked, params={"steps": 100})
    assert before_run(many, None).text.endswith("It takes minutes here.")
    other = replace(many, model="owner/name", params={"steps": 500})
    for gpu, length in ((False, "hours"), (True, "minutes")):
        monkeypatch.setattr("regrain.ui.views.before_run.on_gpu", lambda gpu=gpu: gpu)
        assert before_run(other, None).text.endswith(f"It takes {length} here.")


def test_a_run_that_ended_here_tells_of_the_next_like_it(asked):
    """Without loading and tuning, which are done once."""
    last_runs = LastRuns()
    finish(last_runs, asked, STEP)
    assert last_runs.seconds(asked) == pytest.approx(20.4)
    assert last_runs.seconds(replace(asked, prompt="a fox", seed=3)) is not None
    for changes in ({"method": "videograin"}, {"model": "another"}):
        assert last_runs.seconds(replace(asked, **changes)) is None, changes
    longest = 20.4
    for changes, times in (
        ({"params": {"steps": 16}}, 2),
        ({"size": 64}, 4),
        ({"clip": ArrayClip(asked.clip.read(0, 2), asked.clip.fps)}, 0.5),
    ):
        about = last_runs.seconds(replace(asked, **changes))
        assert about == pytest.approx(times * longest), changes


@pytest.mark.parametrize(
    ("seconds", "length"),
    [
        (1, "seconds"),
        (59, "seconds"),
        (61, "minutes"),
        (3500, "minutes"),
        (4e3, "hours"),
    ],
)
def test_no_number_is_said(asked, seconds, length):
    view = before_run(asked, float(seconds))
    assert view.text == f"4 frames, 8 steps. It takes {length} here."
    assert view.long == (seconds > 30)


def test_what_came_from_the_cache_tells_nothing(asked):
    last_runs = LastRuns()
    windows = [WindowStarted(number, 2, 4, 12 - 4 * number) for number in (1, 2)]
    for found in ([], [*windows, STEP]):
        finish(last_runs, asked, *found)
        assert last_runs.seconds(asked) is None
    finish(last_runs, asked, windows[0], STEP, windows[1], STEP)
    assert last_runs.seconds(asked) is not None


@pytest.mark.parametrize(("size", "side"), [(None, 16), (64, 64)])
def test_what_memory_a_run_takes_is_said_of_other_models(
    asked, small_folder, size, side
):
    """By its family's needs: 2.2 GiB, and 0.3 for a frame of 512 pixels."""
    other = replace(asked, model=str(small_folder), size=size)
    memory = 2 * (2.2 + 4 * 0.3 * (side / 512) ** 2) * 2**30  # a CPU takes float32
    text = before_run(other, None).text
    assert text == (
        f"4 frames, 8 steps at {side} px, about {memory / 1e9:.1f} GB of memory. "
        "It takes minutes here."
    )
    assert before_run(replace(asked, model="owner/name"), None).text == (
        "4 frames, 8 steps. It takes minutes here."
    )
