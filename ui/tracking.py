"""Masks that come by themselves: regions followed through the clip, and found in it by words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from editing.errors import EditingError
from editing.events import Progress
from editing.request import EditRequest
from ui import views
from ui.build_request import build_discovery
from ui.document import Document, Past
from ui.masking import BROKEN, Data
from ui.visits import Visits
from ui.worker import in_thread

log = logging.getLogger(__name__)
Propagate = Callable[..., Iterator[tuple[int, np.ndarray, float]]]
Discover = Callable[[EditRequest], Iterator[Any]]
_NO_KEY = "There is nothing to track yet. Click an object, or correct a mask."
_NO_MATCH = "No object matches the words in “The clip shows”. Click one instead."
_UNSURE = 0.5  # confidence below which a frame is pointed out
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
        propagate: A clip and its key frames, by frame and label, to labels on every frame and how sure it is.
        discover: What the clip shows to the objects in it: progress, and as the last what
            `editing.clusters.find_clusters` returns.
    """

    def __init__(self, visits: Visits, propagate: Propagate, discover: Discover | None = None) -> None:
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
                labels = document.to_track() or [label for label, layer in layers.items() if layer.drawn]
                nothing = None if labels else views.canvas(document, since, _NO_KEY)
        except Past:
            return
        except EditingError as error:
            yield views.lost(error.message)
            return
        if nothing:  # handed out without the lock: what comes back may come in another thread
            yield nothing
            return
        yield from self._track(document, identity, since, labels)

    def _track(
        self, document: Document, identity: str, since: int, labels: list[int]
    ) -> Iterator[views.View | None]:
        outcome = _Outcome()
        try:
            with closing(self.follow(document, labels)) as steps:
                for step in steps:
                    yield look(document, identity, since) if step else None
            outcome.note = _unsure(document, labels)
        except Exception as error:
            outcome.fail(error, "tracking")
        note = "Tracking stopped." if document.stop.is_set() else outcome.note
        yield look(document, identity, since, note, outcome.alarm)

    def follow(self, document: Document, labels: list[int]) -> Generator[Followed | None, None, None]:
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

    def _follow(self, document: Document, labels: list[int], stop: threading.Event) -> Iterator[Followed]:
        with document.lock:
            labels = [label for label in labels if label in document.state.layers]
            if stop.is_set() or not labels:
                return
            clip, keys = document.opened.in_memory, document.begin_track(labels)
            names = [document.state.regions[label].name for label in labels]
        what = names[0] if len(names) == 1 else f"{len(names)} regions"
        yield Followed(what, 0, len(clip))
        with closing(self.propagate(clip, keys)) as frames:  # type: ignore[type-var]
            for done, (frame, found, confidence) in enumerate(frames, 1):
                if not _take_frame(document, labels, stop, frame, found, confidence):
                    return
                yield Followed(what, done, len(clip))

    def discover(self, document: Document, since: int, model: str) -> Iterator[views.View | None]:
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
        self, document: Document, model: str, stop: threading.Event, identity: str
    ) -> Generator[str | None, None, None]:
        """What to say while objects are looked for, the outcome as the last; None while there is nothing."""
        find = self._discover
        assert find is not None
        with document.lock:
            asked = build_discovery(document, model)
        with closing(in_thread(lambda: find(asked))) as steps:
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
    document: Document, identity: str, since: int, note: str = "", alarm: bool = False
) -> views.View | None:
    """The canvas of a document while it still shows the clip of that identity; see `views.canvas`."""
    with document.lock:
        return views.canvas(document, since, note, alarm) if document.id == identity else None


def _until(stop: threading.Event, steps: Iterator[Followed | None]) -> Iterator[Followed | None]:
    """The steps until stopped, which is noticed at once: the tracker may be long over its frame."""
    for step in steps:
        if stop.is_set():
            return
        yield step


def _end(document: Document) -> None:
    document.tracking = 0
    document.mark([])  # newer than any answer that still says it goes on


def _take_frame(
    document: Document,
    labels: list[int],
    stop: threading.Event,
    frame: int,
    found: np.ndarray,
    confidence: float,
) -> bool:
    """Take a frame over from the tracker; False once it is to stop."""
    sure = getattr(confidence, "regions", {})  # of each region, where the tracker tells
    with document.lock:
        if stop.is_set():
            return False
        for label in labels:
            document.set_tracked(label, frame, found == label, sure.get(label, confidence))
    return True


def _take_found(document: Document, identity: str, found: Any) -> str | None:
    with document.lock:
        if document.id != identity:
            return None
        names = document.add_found(found.labels, found.names, found.fit)
    if not names:
        return _NO_MATCH
    return f"Found: {', '.join(names)}. The masks are rough: correct them, then fill in “Change to”."


def _unsure(document: Document, labels: list[int]) -> str:
    """Where to look next: the first frame on which a mask was lost or doubtful."""
    with document.lock:
        for label in labels:
            layer, region = document.state.layers.get(label), document.state.regions.get(label)
            doubtful = [f for f, score in sorted(layer.score.items()) if score < _UNSURE] if layer else []
            if doubtful and region:
                where = f"{'from' if len(doubtful) > 1 else 'on'} frame {doubtful[0] + 1}"
                return f"“{region.name}” is uncertain {where}. Go there, click it, and track again."
    return "Tracked. Step through the frames; if a mask is wrong, correct it and track again."
