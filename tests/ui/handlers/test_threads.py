"""Tracking and fetching work in threads that know who asked: there, ZeroGPU looks for
the visitor."""

import threading
import time
from contextvars import ContextVar
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from regrain.editing.storage.fetching import Fetched
from regrain.masks.track.propagate import Confidence
from regrain.ui.handlers.model_handlers import MaskModelHandlers
from regrain.ui.handlers.tracking import Tracking

VISITOR = ContextVar("visitor", default="nobody")
REQUEST = SimpleNamespace(session_hash="page")


@pytest.fixture
def visits(open_clip, visits_of):
    return visits_of(open_clip())


@pytest.fixture
def session(visits):
    return visits.get("page")


def track(tracking, page="page"):
    """What a page is shown while it tracks."""
    session = tracking.visits.get(page)
    return tracking.track(page, {"id": session.id, "have": session.rev})


def test_tracking_by_hand_sees_the_context_of_who_asked(visits, session, paint):
    seen = []

    def propagate(clip, keys, start, stop, **how):
        for frame in range(start, stop):
            seen.append(VISITOR.get())
            yield frame, np.zeros(clip.size[::-1], np.uint8), 1.0

    paint(session)
    VISITOR.set("somebody")
    shown = track(Tracking(visits, propagate))
    next(shown)
    VISITOR.set("somebody else")
    for _ in shown:
        pass
    assert {*seen} == {"somebody"}


def test_fetching_a_model_sees_the_context_of_who_asked(visits):
    seen = []

    def fetch():
        seen.append(VISITOR.get())
        yield Fetched(1, 2)

    VISITOR.set("somebody")
    parts = SimpleNamespace(fetch="fetch", canvas="canvas")
    for _ in MaskModelHandlers(None, visits, visits.media, parts, fetch=fetch).start(
        REQUEST
    ):
        pass
    assert seen == ["somebody"]


def test_one_clip_is_tracked_at_a_time(visits, paint):
    going, most = [], []

    def propagate(clip, keys, start, stop, **how):
        going.append(1)
        for frame in range(start, stop):
            most.append(len(going))
            time.sleep(0.02)
            yield frame, np.zeros(clip.size[::-1], np.uint8), 1.0
        going.pop()

    pages = ("one", "two")
    for page in pages:
        paint(visits.get(page))
    tracking = Tracking(visits, propagate)
    watching = [track(tracking, page) for page in pages]
    for shown in watching:
        next(shown)
    for shown in watching:
        for _ in shown:
            pass
    assert {*most} == {1}
    assert len(most) == 4


MANY_LOOKS = 8  # of half a second each


def test_a_stop_is_noticed_while_the_tracker_is_long_over_a_frame(
    visits, session, paint
):
    going_on = threading.Event()

    def propagate(clip, keys, start, stop, **how):
        yield start, np.zeros(clip.size[::-1], np.uint8), Confidence({1: 1.0})
        going_on.wait(60)
        yield start + 1, np.ones(clip.size[::-1], np.uint8), Confidence({1: 1.0})

    label = paint(session)
    steps = Tracking(visits, propagate).follow(session, [label])
    next(step for step in steps if step and step.done == 1)
    session.stop.set()
    try:
        assert list(islice(steps, MANY_LOOKS)) == []
    finally:
        going_on.set()
    assert session.tracking == 0
    assert session.trouble is None


def refuse_threads(*_):
    raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_had_nothing_is_tracked_for_ever(
    visits, monkeypatch, session, paint
):
    paint(session)
    monkeypatch.setattr("regrain.ui.session.tracking.start_thread", refuse_threads)
    shown = track(Tracking(visits, lambda *_: iter(())))
    with pytest.raises(RuntimeError):
        next(shown)
    assert not session.tracking
