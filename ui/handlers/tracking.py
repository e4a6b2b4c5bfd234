"""Masks that come by themselves: regions followed through the clip, and found in it by
words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

from regrain.editing.errors import EditingError
from regrain.editing.recipe.events import Progress
from regrain.masks.draw import pack
from regrain.ui.handlers.base import Data, explain
from regrain.ui.handlers.masking import frame_shown
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.runs import Changes
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import build_discovery
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore
from regrain.ui.session.tracking import (
    Propagate,
    Tracker,
    end,
    unsure,
)
from regrain.ui.values.mask_models import finder_by_words
from regrain.ui.values.state import MAX_REGIONS
from regrain.ui.views import session_views
from regrain.ui.views.checks import things
from regrain.ui.views.shown import CanvasGone, CanvasView

Discover = Callable[..., Iterator[Changes]]
_NO_KEY = "There is nothing to track yet. Click an object, or correct a mask."
# Fits of clusters: true names fit 1.4 to 2.4 in drawn clips, wrong ones up to 1.37.
_FITS = 1.0
_CLEAR = 1.4
_NO_MATCH = "No object matches the words in “The clip shows”. Click one instead."
# Seconds between two looks at a long and at a short clip that is tracked.
_PAUSE = 0.3
_GLANCE = 0.05
_SHORT = 32  # frames


class Tracking(Tracker):
    """Follows regions and looks for objects for pages, in threads.

    Args:
        visits: The sessions of all open pages.
        propagate: See `Tracker`.
        discover: A request for the objects of a clip to progress, and as the last what
            `feature_clusters.find_clusters` returns. With `finder` and `tracker`, they
            are found by words.
        turns: Hands out the machine, which looking for objects needs.
    """

    def __init__(
        self,
        visits: SessionStore,
        propagate: Propagate,
        discover: Discover | None = None,
        turns: RunQueue | None = None,
    ) -> None:
        super().__init__(propagate)
        self.visits = visits
        self._discover = discover
        self._turns = turns or RunQueue()

    def track(self, page: str, data: Data) -> Iterator[CanvasView | CanvasGone | None]:
        """Follow the regions that were corrected through the clip; None while there is
        nothing new."""
        idle = None
        try:
            with self.visits.held(page, data) as session:
                if session.tracking < 0 or (data.get("again") and not session.tracking):
                    return
                identity = session.id
                since = data["have"]
                session.shown = frame_shown(session, data)
                if not session.tracking:  # else watched again, after a reload
                    self.begin(session)
                if not session.tracking:
                    idle = session_views.canvas(
                        session, since, _NO_KEY, frame=session.shown
                    )
        except StaleEvent:
            return
        except EditingError as error:
            yield session_views.lost(error.message)
            return
        # handed out without the lock: what comes back may come in another thread
        if idle:
            yield idle
        else:
            yield from _watch(session, identity, since)

    def discover(
        self, session: Session, since: int, model: str
    ) -> Iterator[CanvasView | None]:
        """Make a region of everything a model tells apart in the clip; None while there
        is nothing new."""
        with session.lock:
            if session.tracking or self._discover is None:
                return
            session.stop = stop = threading.Event()
            session.tracking = -1
            identity = session.id
        note, alarm, field = "", False, ""
        try:
            with closing(self._search(session, model, stop, identity)) as steps:
                for message in steps:
                    note = message or note
                    yield look(session, identity, since, message) if message else None
        except Exception as error:
            note = explain(error, "looking for objects failed", with_field=True)
            alarm = True
            field = error.field if isinstance(error, EditingError) else ""
        finally:
            with session.lock:
                if session.stop is stop:
                    end(session)
        shown = look(session, identity, since, note, alarm)
        if shown:
            yield replace(shown, field=field)

    def _search(
        self, session: Session, model: str, stop: threading.Event, identity: str
    ) -> Generator[str | None, None, None]:
        """Yield notes while objects are looked for, the outcome last; None while there
        is nothing new."""
        find = self._discover
        assert find is not None
        with session.lock:
            asked = build_discovery(session, model)
            by_words = finder_by_words(session.opened.drawn)
            tracker = session.tracker
        how = {"finder": by_words, "tracker": tracker} if by_words else {}
        clear = _FITS if by_words else _CLEAR
        with (
            self._turns.enter_first() as turn,
            closing(in_thread(lambda: find(asked, **how), turn)) as steps,
        ):
            for step in steps:
                if stop.is_set():
                    yield "Stopped. No regions were added."
                    return
                if isinstance(step, Progress):
                    yield f"Looking for objects: step {step.done} of {step.total}."
                elif step is not None and hasattr(step, "names"):
                    yield _take_found(session, identity, step, clear)
                else:
                    yield None


def look(
    session: Session, identity: str, since: int, note: str = "", alarm: bool = False
) -> CanvasView | None:
    """Return the canvas of a session while it shows the clip of that identity; see
    `session_views.canvas`."""
    with session.lock:
        if session.id != identity:
            return None
        frame = session.followed[-1] if session.followed else session.shown
        return session_views.canvas(session, since, note, alarm, frame)


def _watch(session: Session, identity: str, since: int) -> Iterator[CanvasView | None]:
    """Yield the canvas of a session while regions are tracked, and at the end with a
    note."""
    shown = None
    while session.tracking and session.id == identity:
        done = session.followed
        yield look(session, identity, since) if done != shown else None
        shown = done
        time.sleep(_PAUSE if len(session.opened.frames) > _SHORT else _GLANCE)
    if session.trouble:
        note = explain(session.trouble, "tracking failed", with_field=True)
    elif session.stop.is_set():
        note = "Tracking stopped. Correct the mask here, then track again."
    else:
        note = unsure(session)
    yield look(session, identity, since, note, alarm=session.trouble is not None)


def _take_found(
    session: Session, identity: str, found: Any, clear: float
) -> str | None:
    """Make regions of the clusters that have a name and fit it, in one step to undo.

    `found` has `labels`, uint8 [frames, height, width], where cluster i + 1 is
    `names[i]`, and by cluster `fit`, above 1 where the name fits. Below `clear` it is
    called "thing 1".

    Returns:
        A note for the page; None if it shows another clip.
    """
    fitting = []  # numbers of clusters, and their words where these are clear
    for number, (name, fit) in enumerate(zip(found.names, found.fit, strict=True), 1):
        if name and fit > _FITS:
            fitting.append((number, name if fit >= clear else ""))
    with session.lock:
        if session.id != identity:
            return None
        free = max(0, MAX_REGIONS - len(session.state.regions))
        tracks = []
        words = []
        for number, word in fitting[:free]:
            words.append(word)
            masks = enumerate(found.labels == number)
            tracks.append({frame: pack(mask) for frame, mask in masks if mask.any()})
        unclear = count(1)
        names = [word or f"thing {next(unclear)}" for word in words]
        made = session.add_masks(names, tracks, words, 0.8)
        lacking = [noun for noun in things(session.source_prompt) if noun not in words]
    if not made:
        return _NO_MATCH
    missed = f" Not found: {', '.join(lacking)}." if lacking else ""
    return f"Found: {', '.join(made)}.{missed} The masks are rough: correct them, then fill in “Make it”."
