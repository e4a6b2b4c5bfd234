"""Tracking and fetching work in threads that know who asked: there, ZeroGPU looks for
the visitor."""

import time
from contextvars import ContextVar
from types import SimpleNamespace

import numpy as np
import pytest

from regrain.editing.storage.fetching import Fetched
from regrain.masks.draw import BrushStroke
from regrain.ui.handlers.model_handlers import MaskModelHandlers
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.session import mask_edits

VISITOR = ContextVar("visitor", default="nobody")
REQUEST = SimpleNamespace(session_hash="page")


@pytest.fixture
def visits(open_clip, visits_of):
    return visits_of(open_clip())


def test_tracking_by_hand_sees_the_context_of_who_asked(visits):
    seen = []

    def propagate(clip, keys, start, stop, **how):
        for frame in range(start, stop):
            seen.append(VISITOR.get())
            yield frame, np.zeros(clip.size[::-1], np.uint8), 1.0

    session = visits.get("page")
    mask_edits.add_edit(session, session.add_region(), 0, BrushStroke(((5, 5),), 3))
    VISITOR.set("somebody")
    shown = Tracking(visits, propagate).track(
        "page", {"id": session.id, "have": session.rev}
    )
    next(shown)
    VISITOR.set("somebody else")
    for _ in shown:
        pass
    assert {*seen} == {"somebody"}


def test_looking_for_objects_sees_the_context_of_who_asked(visits):
    seen = []

    def find(asked):
        seen.append(VISITOR.get())
        yield None

    session = visits.get("page")
    session.source_prompt = "a cat"
    VISITOR.set("somebody")
    tracking = Tracking(visits, lambda *_: iter(()), find)
    for _ in tracking.discover(session, session.rev, "storybook"):
        pass
    assert seen == ["somebody"]


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


def test_one_clip_is_tracked_at_a_time(open_clip, visits_of):
    going, most = [], []

    def propagate(clip, keys, start, stop, **how):
        going.append(1)
        for frame in range(start, stop):
            most.append(len(going))
            time.sleep(0.02)
            yield frame, np.zeros(clip.size[::-1], np.uint8), 1.0
        going.pop()

    visits = visits_of(open_clip())
    tracking = Tracking(visits, propagate)
    for page in ("one", "two"):
        session = visits.get(page)
        mask_edits.add_edit(session, session.add_region(), 0, BrushStroke(((5, 5),), 3))
    watching = []
    for page in ("one", "two"):
        session = visits.get(page)
        watching.append(tracking.track(page, {"id": session.id, "have": session.rev}))
        next(watching[-1])
    for shown in watching:
        for _ in shown:
            pass
    assert {*most} == {1}
    assert len(most) == 4
