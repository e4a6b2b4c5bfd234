"""What a page remembers of its runs, and what it says of their figures."""

import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from made_clips import black

from regrain.editing import EditRequest, Region, RequestError
from regrain.editing.request.region import called
from regrain.editing.verdict.answers import rank, say, unseen
from regrain.ui.handlers.history_handlers import pack_masks
from regrain.ui.handlers.run_handlers import _asked, _not_made
from regrain.ui.server.media import Media
from regrain.ui.session.clip_files import MADE_WITH
from regrain.ui.values.history import MAX_RUNS, Choices, History, PastRun
from regrain.ui.values.layers import MaskLayer
from regrain.ui.values.state import State
from regrain.ui.views.metric_summary import (
    FLICKERS,
    STEADY,
    facts,
    figures,
)
from regrain.ui.views.result_views import (
    compared,
    history_view,
)
from regrain.ui.views.shown import EditView, PlayerView, sent
from regrain.ui.work.jobs import RunJob
from regrain.ui.work.variants import plan


def asking(*regions, method="videograin"):
    labels = np.ones((1, 8, 8), np.uint8) if regions else None
    for region in regions:
        labels[0, region.label - 1] = region.label
    clip = black(1, 8, 8)
    return EditRequest(
        clip, labels, regions, method=method, prompt="" if regions else "a fox", seed=7
    )


CAT = Region("cat", 1, "a fox")


def run(number, folder=None):
    request = asking(CAT)
    return PastRun(
        str(number),
        folder,
        "clip",
        "clip.mp4",
        "VideoGrain",
        "",
        "",
        "",
        Choices.of(request, "", ""),
    )


def test_the_oldest_runs_go():
    history = History()
    dropped = [
        old.key for number in range(MAX_RUNS + 2) for old in history.add(run(number))
    ]
    assert dropped == ["0", "1"]
    assert [one.key for one in history.runs][:2] == ["13", "12"]
    assert history_view(history, "").shown == ["13"]
    titles = [{one.clip for one in history_view(history, at).runs} for at in ("", "b")]
    assert titles == [{""}, {"clip.mp4"}]
    history.remove("13")
    assert history_view(history, "").shown == []
    with pytest.raises(RequestError, match="has been removed"):
        history.get("13")


def test_tries_go_before_whole_runs_and_leave_shown_what_is_shown():
    history = History()
    history.add(run(0))
    gone = [
        old.key
        for number in range(1, MAX_RUNS + 2)
        for old in history.add(replace(run(number), still=True))
    ]
    assert gone == ["1", "2"]
    assert history.shown == ("0",)
    assert [old.key for old in history.add(run(99))] == ["3"]
    assert history.shown == ("99",)


def test_two_clips_are_told_apart_and_the_shorter_is_said(tmp_path):
    pair = []
    for number, clip in enumerate(("cat.mp4", "dog.mp4"), 1):
        (folder := tmp_path / clip).mkdir()
        pair.append(replace(run(number, folder), clip=clip))
        played = PlayerView(
            "", [EditView("", clip)], None, 64, 48, 8 * number, 8.0, None
        )
        pair[-1].write({"player": sent(played)})
    shown = compared(*pair)
    assert shown.names == ["A: VideoGrain, cat.mp4", "B: VideoGrain, dog.mp4"]
    assert shown.note.startswith("They play to frame 8")
    same = compared(pair[0], pair[0])
    assert (same.names, same.note) == (["A: VideoGrain", "B: VideoGrain"], "")


def test_files_of_the_history_stay_when_a_run_begins(tmp_path):
    media = Media(tmp_path)
    kept, stopped, other = (media.new_run("page", ()) for _ in range(3))
    history = History()
    history.add(run(1, kept))
    for folder in (kept, stopped, other):
        folder.mkdir(exist_ok=True)
    media.new_run("page", [run.folder for run in history.runs])
    assert kept.is_dir()
    assert sorted((stopped.is_dir(), other.is_dir())) == [False, True]
    media.drop(kept)
    assert not kept.exists()


def test_the_masks_of_a_run_are_packed_and_say_where_they_come_from(tmp_path):
    with zipfile.ZipFile(tmp_path / "project.zip", "w") as project:
        for name in ("project.json", "masks/0.png", "masks/0.txt", "clip/0.png"):
            project.writestr(name, name)
    with zipfile.ZipFile(pack_masks(run(1, tmp_path))) as packed:
        assert packed.namelist() == ["masks/0.png"]
        assert packed.comment == MADE_WITH


def test_variants_have_seeds_of_their_own():
    request = asking(CAT)
    made = plan(RunJob(request, "page"), 4, {"variation": 0.4})
    assert [(one.request.seed, one.number) for one in made] == [
        (7, 1),
        (8, 2),
        (9, 3),
        (10, 4),
    ]
    for strange in (5, "2", None, {"count": 2}):
        assert len(plan(RunJob(request, "page"), strange, {})) == 1
    with pytest.raises(RequestError, match="^variants: .*Set Variation above 0"):
        plan(RunJob(request, "page"), 2, {"variation": 0})
    again = {"variation": 0, "redraw": 0.4}  # which draws noise, too
    assert len(plan(RunJob(request, "page"), 2, again)) == 2


def test_variants_that_are_there_are_counted_and_not_made_again():
    request = replace(asking(CAT), method="infedit")
    layers = {1: MaskLayer()}
    asked = SimpleNamespace(id="clip", prompt="", state=State((1, 8, 8), layers))
    form = SimpleNamespace(session=asked)
    history = History()
    session = SimpleNamespace(history=history, made={})
    for number, job in enumerate(plan(RunJob(request, "page"), 2, {})):
        history.add(run(number))
        session.made[str(number)] = _asked(form, job)

    def seeds(first, **state):
        jobs = plan(RunJob(replace(request, seed=first), "page"), 3, {})
        now = replace(asked.state, **state)
        here = SimpleNamespace(session=SimpleNamespace(**vars(asked) | {"state": now}))
        return [job.request.seed for job in _not_made(jobs, session, here, "press")]

    assert seeds(5) == [5, 6, 7]
    assert seeds(7, layers={1: MaskLayer()}) == [7, 8, 9], "other masks"
    assert not history.best("press")
    assert seeds(7) == [9]
    assert [one.press for one in history.runs] == ["press", "press"]
    assert seeds(8) == [9, 10]
    assert seeds(6) == [6, 7, 8]
    history.remove("0")
    assert seeds(7) == [7, 8, 9]


def said(name, request, **metrics):
    shown = facts({"metrics": metrics}, request)
    found = {fact.name: (fact.value, fact.doubt) for fact in shown}
    return found.get(name)


FLOW = "How steady"


def steadiness(error, source):
    return {"warp_error": error, "warp_error_source": source}


@pytest.mark.parametrize(
    ("name", "measured", "expected"),
    [
        (FLOW, steadiness(STEADY * 0.02, 0.02), ("As steady as the source", False)),
        (FLOW, steadiness(FLICKERS * 0.02, 0.02), ("Slightly unsteady", False)),
        (FLOW, steadiness((FLICKERS + 0.1) * 0.02, 0.02), ("Flickers", True)),
        # a clip at rest
        (FLOW, steadiness(0.001, 0.0), ("As steady as the source", False)),
    ],
)
def test_what_figures_say(name, measured, expected):
    assert said(name, asking(CAT), **measured) == expected


def looked_at(*there):
    """A report of a run that changed a cat, whose regions are there or not."""
    regions = [
        {
            "region": f"cat {number}",
            "words": "a fox",
            "there": found,
            "share": float(bool(found)),
            "margin": 0.1,
            "frames": [0],
            "nearest": ["a fox" if found else "grass"],
            "instead": None if found else "grass",
        }
        for number, found in enumerate(there, 1)
    ]
    return {"looked_at": say("mine", regions)}


THERE = "Is it there?"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((True, True), ("Yes", False)),
        ((True, False), ("No: 1 of 2 there", True)),
        ((None,), ("Not known", False)),
        ((True, None), ("Not known", False)),
    ],
)
def test_what_failed_is_no_success_and_what_nobody_saw_is_not_called_right(
    there, expected
):
    (shown,) = facts(looked_at(*there), asking(CAT))
    assert (shown.name, shown.value, shown.doubt) == (THERE, *expected)
    if False in there:
        assert shown.text.startswith("Cat 2: the fox is not there (looks like")


def test_regions_that_nobody_named_are_called_by_their_words():
    unnamed = Region("Region 1", 1, "a fox", "a cat")
    other = Region("Region 2", 2, "a panda", "a dog")
    request = asking(unnamed, other)
    changed = {"Region 1": 12.0, "Region 2": 30.0}
    report = {"metrics": {"inside_psnr_by_region": changed}}
    assert [one.name for one in figures(report["metrics"], request)] == [
        "Change of a cat",
        "Change of a dog",
    ]
    alike = asking(unnamed, replace(other, source="a cat"), replace(CAT, label=3))
    names = {"Region 1": "Region 1", "Region 2": "Region 2", "cat": "cat"}
    assert called(alike.regions) == names


def test_the_region_that_is_seen_least_says_on_how_many_frames():
    report = looked_at(True, True)
    least = report["looked_at"]["regions"][0]
    nearest = ["a fox"] * 5 + ["grass"] * 3
    least |= {"frames": [*range(8)], "nearest": nearest, "share": 5 / 8}
    (there, *_) = facts(report, asking(CAT))
    assert (there.value, there.doubt) == ("On 5 of 8 frames", False)


def test_what_could_not_be_checked_says_what_it_needs():
    alone = {"region": "cat", "words": "a fox", "there": None}
    broken = unseen("mine", "it is damaged")
    for seen, text in (
        (say("mine", [alone]), "Cat: not checked. Say what it was."),
        (broken, "Nobody looked at the result: it is damaged."),
    ):
        (there,) = facts({"looked_at": seen}, asking(CAT))
        assert (there.value, there.text) == ("Not checked", text)


@pytest.mark.parametrize("seen", [say("mine", []), unseen("", "no reader"), None])
def test_nothing_is_said_of_a_run_at_which_nobody_was_to_look(seen):
    report = looked_at(True)
    del report["looked_at"]
    if seen:
        report["looked_at"] = seen
    assert THERE not in {one.name for one in facts(report, asking(CAT))}


def test_of_variants_the_best_comes_first_and_other_runs_stay_where_they_are():
    history = History()
    history.add(replace(run(0), rank=(1.0, 0.9)))
    seen = ((False,), (True,), (True, False), (True,))  # of equals the last is first
    for number, there in enumerate(seen, 1):
        rated = replace(run(number), press="p", rank=rank(looked_at(*there)))
        history.add(rated)
    assert [one.key for one in history.runs] == ["4", "2", "3", "1", "0"]
    assert history.shown == ("4",)
    history.add(replace(run(5), press="q"))
    history.add(run(6))
    assert [one.key for one in history.runs] == ["6", "5", "4", "2", "3", "1", "0"]
    best = [history.best(press) for press in ("p", "q", "")]
    assert [one and one.key for one in best] == ["4", None, None]


def test_cards_of_variants_say_their_seed_and_which_is_the_best():
    history = History()
    for number, there in ((1, False), (2, True)):
        variant = replace(run(number), title=f"VideoGrain, seed {number}", press="p")
        history.add(replace(variant, rank=rank(looked_at(there))))
    history.add(run(3))
    (alone, best, other) = history_view(history, "").runs
    assert alone.facts == history.get("3").facts
    assert best.facts == f"best, seed 2, {history.get('2').facts}"
    assert other.facts == f"seed 1, {history.get('1').facts}"


def test_nothing_is_said_of_what_was_not_measured_and_without_masks_nothing_stays():
    assert facts({}, asking(CAT)) == []
    assert figures({}, asking(CAT)) == []
    lacking = {"warp_error": 0.1, "attention": {"cat": {}}}
    assert facts({"metrics": lacking}, asking(CAT)) == []
    request = asking(method="sdedit")
    assert said("What stayed", request, outside_psnr=None) == ("Nothing", False)
