"""What the page shows is true to what happened."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from regrain.editing import Region, RegionAttention, save_project
from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.events import (
    EditResult,
    Preview,
    Progress,
    Stage,
    WindowStarted,
)
from regrain.editing.verdict.answers import say
from regrain.ui.session.examples import load_examples
from regrain.ui.values.history import Choices, History
from regrain.ui.views import attention_views, result_views, run_views
from regrain.ui.views.shown import EditView, WindowsBar, sent
from regrain.ui.work.jobs import Saved

EDITING, TUNING, TUNE = (
    Progress("editing", 5, 20, 12.0),
    Progress("tuning", 130, 200, 60.0),
    "tune_a_video",
)
WINDOW_1, WINDOW_2 = WindowStarted(1, 3, 32, 96), WindowStarted(2, 3, 32, 64)
NOTHING, GOES_ON = "Nothing was saved.", "kept; Run goes on from there."


@pytest.fixture
def opened(open_clip):
    boxes = {1: (slice(4, 20), slice(4, 20)), 2: (slice(8, 24), slice(26, 44))}
    regions = (Region("left", 1, "a panda", "a cat"), Region("right", 2, "", "a dog"))
    return open_clip(
        "clip", (5, 32, 48), regions, boxes, source_prompt="a cat and a dog"
    )


@pytest.fixture
def example(opened, tmp_path):
    save_project(opened.request, tmp_path / "projects" / "01_two_things")
    (tmp_path / "projects" / "02_broken").mkdir()
    (tmp_path / "projects" / "02_broken" / "project.json").write_text("{")
    (example,) = load_examples(tmp_path / "projects", tmp_path / "media").values()
    return example


def test_a_credit_is_said_not_to_be_shown(example, tmp_path, caplog):
    (tmp_path / "projects" / "01_two_things" / "credit.json").write_text("{}")
    load_examples(tmp_path / "projects", tmp_path / "again")
    assert "01_two_things: credit.json: Credits are not shown." in caplog.text


def outcome_of(count=9, attention=None, **more):
    """A result of black frames, everything edited."""
    frames = np.zeros((count, 32, 48, 3), np.uint8)
    return EditResult(
        frames, frames, frames, np.ones((count, 32, 48), bool), attention or {}, **more
    )


def told(*events, method="videograin", adapter="", again=0):
    """What the page shows once a run has told these."""
    progress = run_views.RunProgress(method, adapter, again=again)
    return [progress.take(event) for event in events][-1]


def test_steps_that_are_taken_again_count_for_themselves():
    said = [
        told(Progress("editing", done, 26, None), again=6).detail
        for done in (1, 20, 21, 26)
    ]
    assert said == [
        "step 1 of 20",
        "step 20 of 20",
        "redraw step 1 of 6",
        "redraw step 6 of 6",
    ]
    inverting = told(Progress("inverting", 20, 20, None), again=6)
    assert inverting.detail == "step 20 of 20"


def shares(shown):
    return [stage.share for stage in shown.stages]


def test_a_run_took_its_tracking_too():
    seconds = {"loading": 1.0, "editing": 28.0}
    assert run_views.done({"seconds": seconds}, 19.0).text == "Done in 48 s"


@pytest.mark.parametrize("there", [True, False, None])
def test_what_was_seen_is_in_the_history_and_doubts_below_a_try(
    example, tmp_path, there
):
    one = {"region": "left", "words": "a panda", "there": there, "frames": [0]}
    one |= {"share": 1.0, "margin": 0.25, "nearest": ["a panda"], "instead": None}
    report = {"looked_at": say("mine", [one])}
    finished = SimpleNamespace(result=outcome_of(5), report=report)
    history = History()

    def keep(**changes):
        opened = replace(example.opened, **changes)
        folder = tmp_path / str(len(history.runs))
        folder.mkdir()
        saved = Saved(finished, {"edited.mp4": "x.mp4"}, folder)
        asked = (opened.request, Choices.of(opened.request, "", ""), opened)
        played, shown = result_views.remember(history, saved, *asked, None, "p")
        return played, shown, history.get(shown.key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_views, "link_or_copy", lambda file, path: path)
        played, shown, run = keep()
        (fact,) = shown.facts
        assert (fact.value, run.press) == (
            {True: "Yes", False: "No: 0 of 1 there", None: "Not known"}[there],
            "p",
        )
        assert run.facts.startswith(f"{int(bool(there))} of 1 there") is (
            there is not None
        )
        assert run.facts.endswith(" frames, 1 s")  # of a method that counts no steps
        place = 0.5 if there is None else float(there)
        assert run.rank == (place, 0.25)
        tried = {"tried": 0, "attempt": "A try."}
        played, shown, run = keep(**tried)
        said = {
            True: "A try. Left: looks like a panda.",
            False: "A try. Left: the panda is not there (a panda on 1 of 1 frames "
            "alone): try another seed, a larger margin, more steps.",
            None: "A try. Left: looks like a panda, but only just: look yourself.",
        }
        assert played.note == said[there]
        assert "try, 5 frames" in run.facts
        assert [fact.value for fact in shown.facts] == [fact.value]
        # Of what the model does not know, nothing is said.
        played, shown, run = keep(name="", **tried)  # one's own clip
        assert shown.facts == []
        assert played.note == "A try."
        assert run.rank == (-1.0, 0.0)


@pytest.mark.parametrize(
    ("method", "guided"), [("videograin", True), ("fresco", True), ("sdedit", False)]
)
def test_attention_is_said_to_be_guided_where_masks_guide_it(opened, method, guided):
    spot = np.ones((9, 4, 6), np.float32)
    maps = RegionAttention(spot, spot)
    outcome = outcome_of(attention={"left": maps, "snow": maps, "picture": maps})
    shown = result_views.result(outcome, {}, replace(opened.request, method=method), {})
    names = [one.name for one in shown.attention.maps]
    assert names == ["left", "snow", "Share of the picture"]
    assert (shown.attention.captions[1] == "guided by the masks") is guided


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("more_prompts", "It should show"),
        ("regions.left.prompt", "Left: Make it"),
        ("params.keys", "Keys"),
    ],
)
def test_what_is_wrong_is_named_as_the_page_names_it(field, said):
    assert run_views.failed(field, "wrong").detail == said


def test_progress_fills_the_stages_before():
    shown = told(EDITING)
    assert shares(shown) == [1, 1, 0.25, 0, 0, 0]
    assert shown.detail == "step 5 of 20, about 12 s of editing left"
    shown = told(Progress("scanning", 30, 239, 2.0))  # before the method's stages
    assert (shown.text, shown.detail) == (
        "Looking for cuts",
        "frame 30 of 239, about 2 s of scanning left",
    )
    assert shares(shown) == [1, 0, 0, 0, 0, 0]
    assert shown.stages[1].now


def test_windows_have_a_bar_and_stages_start_over():
    first = [WINDOW_1, Progress("inverting", 20, 20, 0.0), EDITING]
    shown = told(*first)
    of_stage = "step 5 of 20, about 12 s of editing left in this window"
    assert shown.detail == f"window 1 of 3, {of_stage}"
    assert shown.windows == WindowsBar("0 of 3 windows done", 0, 0)
    begun = told(*first, WINDOW_2)
    assert shares(begun) == [1, 0, 0, 0, 0, 0]
    assert begun.windows.share == pytest.approx(1 / 3, abs=1e-3)
    # From here on the time is that of all windows; before, the stage is all that is
    # known.
    shown = told(*first, WINDOW_2, Progress("editing", 5, 20, 240.0))
    assert shown.detail == "window 2 of 3, step 5 of 20, about 4 min left"
    after = told(*first, Progress("measuring", 3, 24, 2.0))
    assert after.detail == "step 3 of 24, about 2 s of measuring left"
    assert after.windows is None
    # one that was kept tells no time
    shown = told(WINDOW_1, Stage("decoding"), WINDOW_2, EDITING)
    assert shown.detail == f"window 2 of 3, {of_stage}"


def test_the_stages_are_the_methods(monkeypatch):
    record = replace(
        METHODS["videograin"], name="other", stages=("sculpting", "editing")
    )
    monkeypatch.setitem(METHODS, "other", record)
    shown = told(Stage("sculpting"), method="other")
    stages = shown.stages
    assert [stage.name for stage in stages] == [
        "Load model",
        "Sculpting",
        "Edit",
        "Measure",
        "Save",
    ]
    assert [stage.now for stage in stages] == [False, True, False, False, False]
    assert shown.text == "Sculpting"


@pytest.mark.parametrize(("adapter", "tune"), [("", ["Tune"]), ("x.safetensors", [])])
def test_with_a_tuned_model_nothing_is_tuned(adapter, tune):
    names = [stage.name for stage in run_views.waiting(TUNE, adapter).stages]
    assert names[:3] == ["Load model", *tune, "Invert clip", "Edit"][:3]


@pytest.mark.parametrize(
    ("events", "method", "adapter", "said"),
    [
        ([EDITING], "videograin", "", f"at step 5 of 20. {NOTHING}"),
        ([WINDOW_1, EDITING], "videograin", "", f"in window 1 of 3. {NOTHING}"),
        (
            [WINDOW_2, EDITING],
            "videograin",
            "",
            f"in window 2 of 3. Finished windows are {GOES_ON}",
        ),
        ([TUNING], TUNE, "", "after 130 of 200 tuning steps. Run goes on from there."),
        ([EDITING], TUNE, "", f"at step 5 of 20. What was tuned is {GOES_ON}"),
        ([EDITING], TUNE, "x", f"at step 5 of 20. {NOTHING}"),
    ],
)
def test_stopped_says_where_and_what_is_kept(events, method, adapter, said):
    shown = told(*events, method=method, adapter=adapter)
    assert run_views.stopped(shown).text == f"Stopped {said}"
    for shown in (None, told(Stage("tuning"), method=TUNE)):
        assert run_views.stopped(shown).text == f"Stopped. {NOTHING}"


def test_long_clips_show_eight_frames_with_the_ends_and_words_get_colours_of_their_own(
    opened,
):
    maps = dict.fromkeys(("left", "snow", "moon"), np.zeros((30, 4, 4), np.float32))
    frames = np.zeros((30, 8, 8, 3), np.uint8)
    view = attention_views.live(Preview(frames, tuple(range(30)), maps), opened.request)
    assert len(view.frames) == 8
    assert (view.indices[0], view.indices[-1]) == (1, 30)
    rows = view.heat
    assert [(row.name, len(row.frames)) for row in rows] == [
        ("left", 8),
        ("snow", 8),
        ("moon", 8),
    ]
    captions = ["Attention on “a panda”", "Attention on “snow”"]
    assert [row.caption for row in rows[:2]] == captions
    assert rows[0].color == opened.request.regions[0].color
    assert (
        len({row.color for row in rows} | {r.color for r in opened.request.regions})
        == 4
    )


@pytest.mark.parametrize(
    ("psnr", "said"), [(100.0, "outside"), (44.2, "but for the edge")]
)
def test_only_equal_pixels_are_called_unchanged(opened, psnr, said):
    report = {"metrics": {"outside_psnr": psnr}}
    facts = result_views.result(outcome_of(), report, opened.request, {}).facts
    assert facts[0].value == f"Unchanged {said}"


def test_views_within_lists_and_objects_say_what_differs_from_the_usual():
    said = EditView("a fox", {})
    assert sent({"one": [said]}) == {"one": [sent(said)]}
    assert type(sent(said)) is dict
