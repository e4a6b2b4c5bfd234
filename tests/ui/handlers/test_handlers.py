"""Events of a clip that the page has left: nothing is said about them."""

import copy
import errno
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from regrain.editing.errors import RequestError
from regrain.editing.recipe.events import Stage
from regrain.ui.handlers import mask_handlers, run_handlers
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.handlers.mask_handlers import MaskHandlers
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.run_handlers import RunForm, RunHandlers
from regrain.ui.handlers.tracking import Tracking, look
from regrain.ui.server.run_queue import GONE, Visitor
from regrain.ui.server.runs import RunThread
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.values.history import Choices, PastRun
from regrain.ui.values.state import MAX_UNDO
from regrain.ui.views.shown import ProgressView
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.jobs import Jobs, RunJob, Saved

REQUEST = SimpleNamespace(session_hash="page")
_NAMES = "canvas download history live losses player progress queue result run stop"
PARTS = SimpleNamespace(**{name: name for name in _NAMES.split()})
FIELDS = ("storybook", [], {})


@pytest.fixture
def handlers(open_clip, visits_of, tmp_path):
    """Handlers of a page that has moved on to another clip."""
    visits, catalogue = visits_of(open_clip("one")), Catalogue({}, tmp_path)
    media = visits.media
    visits.get("page").open(open_clip("two"), "second")
    follower = Tracking(visits, lambda *_: iter(()))
    jobs = Jobs(lambda _: pytest.fail("it ran"), catalogue, media)
    shared = (catalogue, visits, media, PARTS)
    masks = MaskHandlers(*shared, Masking(visits, lambda *_: None), follower)
    return masks, RunHandlers(*shared, jobs, follower)


@pytest.fixture
def masks(handlers):
    return handlers[0]


@pytest.fixture
def runs(handlers):
    return handlers[1]


@pytest.fixture
def session(masks):
    return masks.visits.get("page")


@pytest.fixture
def clips(masks):
    """Handlers of the same page that open and save clips."""
    shared = (masks.catalogue, masks.visits, masks.media, PARTS)
    return ClipHandlers(*shared, ClipFiles(masks.visits, masks.media))


ASKED = {"method": "sdedit", "model": "storybook", "params": {}, "loras": ()}
JOB = RunJob(SimpleNamespace(**ASKED, adapter="", asked=None, regions=()), "page")
LATE = {"id": "", "have": 0, "source_prompt": "late", "regions": []}


def test_what_a_page_sends_late_changes_nothing_and_shows_no_error(
    clips, session, masks, runs
):
    assert runs.begin(REQUEST, LATE, *FIELDS) == {}
    assert clips.save(REQUEST, LATE, *FIELDS) == {}
    event = SimpleNamespace(_data=LATE | {"act": "add"})
    assert masks.act(event, REQUEST) == {}
    assert list(masks.track(event, REQUEST)) == []
    assert (session.source_prompt, session.state.regions) == ("", {})
    shown = runs.begin(REQUEST, {"id": None, "have": 0}, *FIELDS)
    assert "Reload" in shown["progress"].text  # of no clip that it ever had
    assert look(session, "another", 0) is None


@pytest.mark.parametrize("leaves", [None, 1, 3])
def test_cuts_are_shown_on_the_clip_in_which_they_were_sought(
    monkeypatch, open_clip, masks, session, leaves
):
    """The page opens another one before a frame, or after the last."""

    def scan(_):
        for number in range(3):
            if number == leaves:
                session.open(other, "third")
            yield number, number == 2
        if leaves == 3:
            session.open(other, "third")

    other = open_clip("three")
    monkeypatch.setattr(mask_handlers, "scan", scan)
    event = SimpleNamespace(_data={"id": session.id, "have": session.rev})
    shown = masks.scan(event, REQUEST)
    assert (session.found, bool(shown)) == (None if leaves else (2,), not leaves)


def turn(**more):
    """A place in the queue whose turn has come."""
    nothing = dict.fromkeys(("share", "unshare"), lambda: None)
    come = {"wait": lambda _: True, "follow": lambda _: None}
    return SimpleNamespace(start=0, ending=False, **nothing, **come, **more)


def test_a_run_that_is_stopped_while_it_is_measured_keeps_its_result(
    monkeypatch, session, runs
):
    skipped = threading.Event()
    form = SimpleNamespace(session=session)
    session.runs = [run := RunThread(turn(stop=lambda: pytest.fail("it ended")), form)]

    def work(job):
        yield Stage("measuring", skipped.set)
        assert skipped.wait(30)
        yield Stage("saving")
        yield Saved(SimpleNamespace(report={}), {}, job, None)

    shown = SimpleNamespace(key="0")
    sizes = []
    monkeypatch.setattr(run_handlers, "remember", lambda *_: (None, shown))
    monkeypatch.setattr(Choices, "of", lambda *given: sizes.append(given[3:]))
    monkeypatch.setattr(run_handlers, "_asked", lambda *_: None)
    job = replace(JOB, number=2, total=2)
    runs = replace(runs, jobs=SimpleNamespace(run=work))
    steps = runs._run(session, session.id, job, run)
    while not run.skip:
        next(steps)
    assert runs.stop(REQUEST) == {}
    assert "kept, without figures" in [shown["progress"] for shown in steps][-1].text
    assert sizes == [(session.opened.size,)]
    assert run.skipped


def test_after_the_last_variant_the_best_is_shown(monkeypatch, session, runs, tmp_path):
    def keep(history, saved, request, choices, opened, media, press):
        key = saved.files
        folder = tmp_path / key
        folder.mkdir()
        run = PastRun(key, folder, *["x"] * 6, choices, False, press, (saved.source, 0))
        run.write({"player": key, "result": key})
        history.add(run)
        return key, SimpleNamespace(key=key)

    monkeypatch.setattr(run_handlers, "remember", keep)
    monkeypatch.setattr(
        run_handlers, "history_view", lambda history, clip: history.shown
    )
    monkeypatch.setattr(Choices, "of", lambda *_: None)
    monkeypatch.setattr(run_handlers, "_asked", lambda _, job: job.number)
    form = SimpleNamespace(session=session)
    told = []
    run = RunThread(turn(), form)
    for number, rank in enumerate([0.5, 1.0, 0.0]):
        saved = Saved(SimpleNamespace(report={}), str(number), None, rank)
        asked = replace(runs, jobs=SimpleNamespace(run=lambda job, one=saved: [one]))
        job = replace(JOB, number=number + 1, total=3)
        (*_, last) = asked._run(session, session.id, job, run)
        told.append(last["player"])
    assert told == ["0", "1", "1"]
    assert last["result"] == "1"
    assert last["history"] == ("1",)
    assert session.history.runs[0].key == "1"
    assert session.made == {"0": 1, "1": 2, "2": 3}


def test_runs_of_a_page_wait_for_each_other_with_what_was_said_when_they_were_asked_for(
    monkeypatch, session, runs
):
    ended = threading.Event()
    monkeypatch.setattr(
        RunHandlers,
        "work",
        lambda *_: iter(lambda: {"over": ended.wait(0.01)}, {"over": True}),
    )

    def begin(words):
        said = {"id": session.id, "have": 0, "source_prompt": words}
        return runs.begin(REQUEST, said, *FIELDS)

    assert "progress" in begin("a cat")
    assert "under way" in begin("a cat")["queue"].note
    for words in "bcdef":
        shown = begin(words)
    assert "progress" not in shown  # of the one that goes on
    assert [job.text for job in shown["queue"].jobs] == [*"bcdef"]
    refused = begin("g")["queue"]
    assert ("6 runs" in refused.note, len(refused.jobs)) == (True, 5)
    removed = session.going[4]
    event = SimpleNamespace(_data={"key": removed.key})
    left = runs.remove(event, REQUEST)["queue"].jobs
    assert [job.text for job in left] == [*"bcdf"]
    assert removed.over
    ended.set()


def test_a_run_tracks_what_was_asked_for_and_takes_nothing_that_came_later(
    session, paint, runs
):
    label = paint(session)
    form = RunForm(copy.copy(session), "", 0, session.rev, None)
    frames = range(len(session.opened.frames))
    found = (
        (frame, np.full(session.state.size[::-1], label, np.uint8), 1.0)
        for frame in frames
    )
    runs = replace(runs, tracking=Tracking(runs.visits, lambda *_, **__: found))
    other = session.add_region()
    session.state = session.state.change_region(label, prompt="a fox")
    assert [*runs._complete(session, form)]
    state = form.session.state
    assert (state.regions[label].prompt, other in state.layers) == ("", False)
    assert state.layers[label].track.keys() == {*frames}


def test_undo_leads_to_the_frame_that_it_changes(session, paint, masks):
    frame = len(session.opened.frames) - 1
    paint(session, frame)

    def undone(at, act="undo"):
        data = {"id": session.id, "have": session.rev, "act": act, "frame": at}
        return masks.masking.act("page", data)[0].go

    assert frame > 0
    session.stop.clear()
    assert undone(0) == frame
    assert session.stop.is_set()  # what is tracked was undone
    assert undone(0, "redo") == frame
    assert undone(frame) is None


@pytest.mark.parametrize("more", [0, 1])
def test_undo_says_that_it_keeps_no_more(more, session, masks):
    for _ in range(MAX_UNDO + more):
        session.commit(session.state)
    data = {"id": session.id, "have": session.rev, "act": "undo", "frame": 0}
    notes = [masks.masking.act("page", data)[0].note for _ in range(MAX_UNDO)]
    assert not any(notes[:-1])
    assert notes[-1] == ("Undo ends here: it keeps the last 50 steps." if more else "")


def test_the_run_of_a_page_that_has_gone_ends_and_says_so(session, runs):
    visits = runs.visits
    now, visits._clock = [0.0], lambda: now[0]
    asked = []

    def refuse(visitor):
        asked.append(visitor)
        raise RequestError("queue", "It is full.")

    begun = replace(runs, turns=SimpleNamespace(enter=refuse))
    begun.begin(REQUEST, {"id": session.id, "have": 0}, *FIELDS)
    runs = replace(
        runs, jobs=SimpleNamespace(run=lambda job: iter([Stage("editing")] * 5))
    )
    turn = runs.turns.enter(*asked)
    run, job = RunThread(turn), RunJob(session.opened.request, "page")
    shown = runs._run(session, session.id, job, run)
    assert turn.wait(0)
    assert next(shown)
    visits.leave("page")
    now[0] = GONE + 1
    assert not runs.turns.enter(Visitor("other", "")).wait(0)
    said = [
        changes["progress"].text
        for changes in shown
        if isinstance(changes["progress"], ProgressView)
    ]
    assert said[-1] == "Stopped: you were away, and others were waiting. Run again."


def test_a_full_disk_is_told_as_one(clips, monkeypatch, session, runs):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunHandlers, "_plan", full)
    monkeypatch.setattr(ClipHandlers, "asked", full)
    said = {"id": session.id, "have": 0, "source_prompt": "a cat"}
    assert "disk" in clips.save(REQUEST, said, *FIELDS)["progress"].text
    _, form = runs._form(REQUEST, said, FIELDS)
    run = SimpleNamespace(asked=form, turn=turn(), tracking=0.0)
    (*_, shown) = runs.work(session, "page", run)
    assert "disk" in shown["progress"].text


def test_where_no_thread_can_be_had_the_page_says_that_the_run_failed(
    monkeypatch, session, runs
):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("regrain.ui.server.runs.start_thread", refuse)
    said = {"id": session.id, "have": 0, "source_prompt": "a cat"}
    shown = runs.begin(REQUEST, said, *FIELDS)
    assert shown["progress"].state == "error"
    assert not session.going
    assert runs.turns.enter_first().wait(0)
