"""Masks that come by themselves: regions followed through the clip, and found in it by words."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from regrain.editing.errors import EditingError
from regrain.editing.media.clip import Clip
from regrain.editing.recipe.events import Progress
from regrain.masks.models.finders import FLOW
from regrain.masks.track.corrections import Pass
from regrain.masks.track.uncertainty import doubts, in_words, judged
from regrain.ui.forms import views
from regrain.ui.handlers.masking import BROKEN, Data, frame_shown
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import build_discovery
from regrain.ui.session.mask_models import finder_by_words
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
Propagate = Callable[..., Iterator[tuple[int, np.ndarray, float]]]
_Tracked = tuple[int, np.ndarray, float]
Discover = Callable[..., Iterator[Any]]
_NO_KEY = "There is nothing to track yet. Click an object, or correct a mask."
_NO_MATCH = "No object matches the words in “The clip shows”. Click one instead."
_NAMED = 3  # regions whose lost stretches are named
_PAUSE = 0.3  # seconds between two looks at a long clip that is tracked
_SHORT = 32  # frames of a clip that is shown with every frame that is tracked
_tracking = threading.Lock()


class Followed(NamedTuple):
    """One more frame of a region was tracked."""

    name: str
    done: int
    total: int


class _Outcome:
    """What is said once something has ended, however it did."""

    note, alarm = "", False

    def fail(self, error: BaseException, what: str) -> None:
        if isinstance(error, EditingError):
            self.note, self.alarm = views.sentence(error), True
        else:
            log.error("%s failed", what, exc_info=error)
            self.note, self.alarm = BROKEN, True


class Tracking:
    """Follows regions and looks for objects, in threads.

    Args:
        visits: The documents of all open pages.
        propagate: A clip, its key frames by frame and label, `start` and `stop` to labels on each of these
            frames and how sure it is; and `tracker`, see `masks.propagate`, where it is not the usual one.
        discover: What the clip shows to the objects in it: progress, and as the last what
            `feature_clusters.find_clusters` returns. With `finder` and `tracker`, they are found by words.
    """

    def __init__(self, visits: SessionStore, propagate: Propagate, discover: Discover | None = None) -> None:
        self.visits, self.propagate = visits, propagate
        self._discover = discover

    def track(self, page: str, data: Data) -> Iterator[views.View | None]:
        """Follow the regions that were corrected through the clip; None while there is nothing new."""
        nothing = None
        try:
            document = self.visits.get(page)
            with document.lock:
                document.check(data.get("id"), data.get("have"))
                if document.tracking:
                    return
                identity, since, layers = document.id, data["have"], document.state.layers
                document.shown = frame_shown(document, data)
                labels = document.to_track() or [label for label, layer in layers.items() if layer.drawn]
                nothing = None if labels else views.canvas(document, since, _NO_KEY, frame=document.shown)
        except StaleEvent:
            return
        except EditingError as error:
            yield views.lost(error.message)
            return
        if nothing:  # handed out without the lock: what comes back may come in another thread
            yield nothing
            return
        yield from self._track(document, identity, since, labels)

    def _track(
        self, document: Session, identity: str, since: int, labels: list[int]
    ) -> Iterator[views.View | None]:
        outcome = _Outcome()
        try:
            with closing(self.follow(document, labels)) as steps:
                for step in _paced(steps):
                    yield look(document, identity, since) if step else None
            outcome.note = _unsure(document, labels)
        except Exception as error:
            outcome.fail(error, "tracking")
        note = "Tracking stopped." if document.stop.is_set() else outcome.note
        yield look(document, identity, since, note, outcome.alarm)

    def follow(self, document: Session, labels: list[int]) -> Generator[Followed | None, None, None]:
        """Track regions together in a thread; ends early once the document's `stop` is set."""
        with document.lock:
            document.stop = stop = threading.Event()
            document.tracking = labels[0]
        finished = False
        try:
            with closing(in_thread(lambda: self._follow(document, labels, stop), turn=_tracking)) as steps:
                yield from _until(stop, steps)
            finished = not stop.is_set()
        finally:
            with document.lock:
                if document.stop is stop:
                    document.end_track(labels, finished)
                    _end(document)

    def _follow(self, document: Session, labels: list[int], stop: threading.Event) -> Iterator[Followed]:
        with document.lock:
            labels = [label for label in labels if label in document.state.layers]
            if stop.is_set() or not labels:
                return
            clip, passes = document.opened.clip, document.begin_track(labels)
            tracker = document.tracker
            areas = {label: _usual_area(document, label) for label in labels}
            names = [document.state.regions[label].name for label in labels]
        what = names[0] if len(names) == 1 else f"{len(names)} regions"
        total = sum(len(part.frames) for part in passes)
        yield Followed(what, 0, total)
        began = time.monotonic()
        for done, (part, tracked) in enumerate(self._tracked(clip, passes, tracker), 1):
            taken = {label: areas[label] for label in part.labels_at(tracked[0])}
            if not _take_frame(document, taken, stop, *tracked):
                return
            left = (time.monotonic() - began) / done * (total - done)
            document.followed = done, total, round(left, 1)
            yield Followed(what, done, total)

    def _tracked(self, clip: Clip, passes: list[Pass], tracker: str) -> Iterator[tuple[Pass, _Tracked]]:
        how = {} if tracker == FLOW else {"tracker": tracker}
        for part in passes:
            span = {"start": part.frames.start, "stop": part.frames.stop}
            with closing(self.propagate(clip, part.keys, **span, **how)) as frames:  # type: ignore[type-var]
                for tracked in frames:
                    yield part, tracked

    def discover(self, document: Session, since: int, model: str) -> Iterator[views.View | None]:
        """Make a region of everything a model tells apart in the clip; None while there is nothing new."""
        with document.lock:
            if document.tracking or self._discover is None:
                return
            document.stop = stop = threading.Event()
            identity, document.tracking = document.id, -1
        outcome = _Outcome()
        try:
            with closing(self._search(document, model, stop, identity)) as steps:
                for said in steps:
                    outcome.note = said or outcome.note
                    yield look(document, identity, since, said) if said else None
        except Exception as error:
            outcome.fail(error, "looking for objects")
        finally:
            with document.lock:
                if document.stop is stop:
                    _end(document)
        yield look(document, identity, since, outcome.note, outcome.alarm)

    def _search(
        self, document: Session, model: str, stop: threading.Event, identity: str
    ) -> Generator[str | None, None, None]:
        """What to say while objects are looked for, the outcome as the last; None while there is nothing."""
        find = self._discover
        assert find is not None
        with document.lock:
            asked = build_discovery(document, model)
            by, tracker = finder_by_words(document.opened.drawn), document.tracker
        how = {"finder": by, "tracker": tracker} if by else {}
        with closing(in_thread(lambda: find(asked, **how))) as steps:
            for step in steps:
                if stop.is_set():
                    yield "Stopped. No regions were added."
                    return
                if isinstance(step, Progress):
                    yield f"Looking for objects: step {step.done} of {step.total}."
                elif step is not None and hasattr(step, "names"):
                    yield _take_found(document, identity, step)
                else:
                    yield None


def look(
    document: Session, identity: str, since: int, note: str = "", alarm: bool = False
) -> views.View | None:
    """The canvas of a document while it still shows the clip of that identity; see `views.canvas`."""
    with document.lock:
        if document.id != identity:
            return None
        return views.canvas(document, since, note, alarm, document.shown)


def _until(stop: threading.Event, steps: Iterator[Followed | None]) -> Iterator[Followed | None]:
    """The steps until stopped, which is noticed at once: the tracker may be long over its frame."""
    for step in steps:
        if stop.is_set():
            return
        yield step


def _paced(steps: Iterator[Followed | None]) -> Iterator[Followed | None]:
    """Leave steps out where a long clip goes by faster than pages can follow."""
    shown = 0.0
    for step in steps:
        now = time.monotonic()
        if step is None or step.total <= _SHORT or now - shown >= _PAUSE:
            shown = now if step else shown
            yield step


def _usual_area(document: Session, label: int) -> float:
    """The mean area of a region's masks that were drawn, in pixels."""
    areas = [document.mask(label, frame).sum() for frame in document.state.layers[label].drawn]
    return float(np.mean([area for area in areas if area] or [1]))


def _end(document: Session) -> None:
    document.tracking, document.followed = 0, None
    document.mark([])  # newer than any answer that still says it goes on


def _take_frame(
    document: Session,
    areas: Mapping[int, float],
    stop: threading.Event,
    frame: int,
    found: np.ndarray,
    confidence: float,
) -> bool:
    """Take a frame of these regions over from the tracker; False once it is to stop.

    `areas` are what the regions usually have, in pixels.
    """
    sure = getattr(confidence, "regions", {})  # of each region, where the tracker tells
    with document.lock:
        if stop.is_set():
            return False
        for label, area in areas.items():
            mask = found == label
            score = judged(sure.get(label, confidence), float(mask.sum()) / area)
            document.set_tracked(label, frame, mask, score)
    return True


def _take_found(document: Session, identity: str, found: Any) -> str | None:
    with document.lock:
        if document.id != identity:
            return None
        names = document.add_found(found.labels, found.names, found.fit)
    if not names:
        return _NO_MATCH
    return f"Found: {', '.join(names)}. The masks are rough: correct them, then fill in “Change to”."


def _unsure(document: Session, labels: list[int]) -> str:
    """Where to look next: all stretches on which a mask was lost or doubtful."""
    said = []
    with document.lock:
        for label in labels:
            layer, region = document.state.layers.get(label), document.state.regions.get(label)
            score = {**layer.score, **dict.fromkeys(layer.drawn, 1.0)} if layer else {}
            if region and (words := in_words(doubts(score, len(document.opened.frames)), first=1)):
                said.append(f"“{region.name}”: {words}")
    if not said:
        return "Tracked. Step through the frames; if a mask is wrong, correct it and track again."
    if (more := len(said) - _NAMED) > 0:
        said[_NAMED:] = [f"{more} more region{'s' if more > 1 else ''} to check"]
    return f"{'; '.join(said)}. Go there, click the object, and track again."
