"""Masks that come by themselves: regions followed through the clip, and found in it by words."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from regrain.editing.errors import EditingError
from regrain.editing.media.clip import Clip
from regrain.editing.recipe.events import Progress
from regrain.masks.draw import pack
from regrain.masks.track.corrections import Pass
from regrain.masks.track.uncertainty import UncertainSpan, doubts, in_words, judged
from regrain.ui.handlers.base import Data, explain
from regrain.ui.handlers.masking import frame_shown
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import build_discovery
from regrain.ui.session.mask_models import finder_by_words
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore
from regrain.ui.session.state import MAX_REGIONS, State
from regrain.ui.views import views
from regrain.ui.views.checks import things

Propagate = Callable[..., Iterator[tuple[int, np.ndarray, float]]]
_Tracked = tuple[int, np.ndarray, float]
Discover = Callable[..., Iterator[Any]]
_NO_KEY = "There is nothing to track yet. Click an object, or correct a mask."
_FITS, _CLEAR = (
    1.0,
    1.4,
)  # of clusters: true names fit 1.4 to 2.4 in drawn clips, wrong ones up to 1.37
_NO_MATCH = "No object matches the words in “The clip shows”. Click one instead."
_NAMED = 3  # regions whose lost stretches are named
_PAUSE, _GLANCE = (
    0.3,
    0.05,
)  # seconds between two looks at a long and at a short clip that is tracked
_SHORT = 32  # frames
_tracking = threading.Lock()


class Followed(NamedTuple):
    """One more frame of a region was tracked."""

    name: str
    done: int
    total: int


class Tracking:
    """Follows regions and looks for objects, in threads.

    Args:
        visits: The sessions of all open pages.
        propagate: A clip, its key frames by frame and label, `start` and `stop` to labels on each of these
            frames and how sure it is; and `tracker`, see `masks.propagate`.
        discover: What the clip shows to the objects in it: progress, and as the last what
            `feature_clusters.find_clusters` returns. With `finder` and `tracker`, they are found by words.
    """

    def __init__(
        self, visits: SessionStore, propagate: Propagate, discover: Discover | None = None
    ) -> None:
        self.visits, self.propagate = visits, propagate
        self._discover = discover

    def track(self, page: str, data: Data) -> Iterator[views.View | None]:
        """Follow the regions that were corrected through the clip; None while there is nothing new."""
        try:
            with self.visits.held(page, data) as session:
                if session.tracking < 0 or (data.get("again") and not session.tracking):
                    return
                identity, since, state = session.id, data["have"], session.state
                session.shown = frame_shown(session, data)
                labels = state.to_track() or [
                    label for label, layer in state.layers.items() if layer.drawn
                ]
                if labels and not session.tracking:  # else watched again, after a reload
                    session.tracking = labels[0]
                    # In a thread of its own: it goes on while nobody watches
                    threading.Thread(
                        target=self._drain, args=(session, labels), daemon=True
                    ).start()
                idle = not session.tracking and views.canvas(
                    session, since, _NO_KEY, frame=session.shown
                )
        except StaleEvent:
            return
        except EditingError as error:
            yield views.lost(error.message)
            return
        if idle:  # handed out without the lock: what comes back may come in another thread
            yield idle
        else:
            yield from _watch(session, identity, since)

    def _drain(self, session: Session, labels: list[int]) -> None:
        with suppress(Exception):  # said by who watches
            for _ in self.follow(session, labels):
                pass

    def follow(self, session: Session, labels: list[int]) -> Generator[Followed | None, None, None]:
        """Track regions together in a thread; ends early once the session's `stop` is set."""
        with session.lock:
            session.stop = stop = threading.Event()
            session.tracking, session.tracked, session.trouble = labels[0], tuple(labels), None
        finished = False
        try:
            with closing(
                in_thread(lambda: self._follow(session, labels, stop), turn=_tracking)
            ) as steps:
                # A stop is noticed at once: the tracker may be long over its frame.
                yield from takewhile(lambda _: not stop.is_set(), steps)
            finished = not stop.is_set()
        except Exception as error:
            session.trouble = error
            raise
        finally:
            with session.lock:
                if session.stop is stop:
                    session.state = session.state.end_track(labels, finished)
                    _end(session)

    def _follow(
        self, session: Session, labels: list[int], stop: threading.Event
    ) -> Iterator[Followed]:
        with session.lock:
            labels = [label for label in labels if label in session.state.layers]
            if stop.is_set() or not labels:
                return
            state, passes = session.state.begin_track(labels)
            session.commit(state)
            clip, tracker = session.opened.clip, session.tracker
            areas = {label: _usual_area(state, label) for label in labels}
            names = [session.state.regions[label].name for label in labels]
        what = names[0] if len(names) == 1 else f"{len(names)} regions"
        total = sum(len(part.frames) for part in passes)
        yield Followed(what, 0, total)
        began = time.monotonic()
        for done, (part, tracked) in enumerate(self._tracked(clip, passes, tracker), 1):
            taken = {label: areas[label] for label in part.labels_at(tracked[0])}
            if not _take_frame(session, taken, stop, *tracked):
                return
            left = (time.monotonic() - began) / done * (total - done)
            session.followed = done, total, round(left, 1), tracked[0]
            yield Followed(what, done, total)

    def _tracked(
        self, clip: Clip, passes: list[Pass], tracker: str
    ) -> Iterator[tuple[Pass, _Tracked]]:
        for part in passes:
            how = {"start": part.frames.start, "stop": part.frames.stop, "tracker": tracker}
            with closing(self.propagate(clip, part.keys, **how)) as frames:  # type: ignore[type-var]
                for tracked in frames:
                    yield part, tracked

    def discover(self, session: Session, since: int, model: str) -> Iterator[views.View | None]:
        """Make a region of everything a model tells apart in the clip; None while there is nothing new."""
        with session.lock:
            if session.tracking or self._discover is None:
                return
            session.stop = stop = threading.Event()
            identity, session.tracking = session.id, -1
        note, alarm, field = "", False, ""
        try:
            with closing(self._search(session, model, stop, identity)) as steps:
                for message in steps:
                    note = message or note
                    yield look(session, identity, since, message) if message else None
        except Exception as error:
            note, alarm = explain(error, "looking for objects failed", with_field=True), True
            field = getattr(error, "field", "")
        finally:
            with session.lock:
                if session.stop is stop:
                    _end(session)
        if shown := look(session, identity, since, note, alarm):
            yield shown | {"field": field}

    def _search(
        self, session: Session, model: str, stop: threading.Event, identity: str
    ) -> Generator[str | None, None, None]:
        """What to say while objects are looked for, the outcome as the last; None while there is nothing."""
        find = self._discover
        assert find is not None
        with session.lock:
            asked = build_discovery(session, model)
            by, tracker = finder_by_words(session.opened.drawn), session.tracker
        how = {"finder": by, "tracker": tracker} if by else {}
        with closing(in_thread(lambda: find(asked, **how))) as steps:
            for step in steps:
                if stop.is_set():
                    yield "Stopped. No regions were added."
                    return
                if isinstance(step, Progress):
                    yield f"Looking for objects: step {step.done} of {step.total}."
                elif step is not None and hasattr(step, "names"):
                    yield _take_found(session, identity, step, _FITS if by else _CLEAR)
                else:
                    yield None


def look(
    session: Session, identity: str, since: int, note: str = "", alarm: bool = False
) -> views.View | None:
    """The canvas of a session while it still shows the clip of that identity; see `views.canvas`."""
    with session.lock:
        if session.id != identity:
            return None
        frame = session.followed[-1] if session.followed else session.shown
        return views.canvas(session, since, note, alarm, frame)


def _watch(session: Session, identity: str, since: int) -> Iterator[views.View | None]:
    """The canvas of a session while regions are tracked, and what is said at the end."""
    shown = None
    while session.tracking and session.id == identity:
        done = session.followed
        yield look(session, identity, since) if done != shown else None
        shown = done
        time.sleep(_PAUSE if len(session.opened.frames) > _SHORT else _GLANCE)
    note, alarm = _unsure(session), False
    if session.trouble:
        note, alarm = explain(session.trouble, "tracking failed", with_field=True), True
    elif session.stop.is_set():
        note = "Tracking stopped. Correct the mask here, then track again."
    yield look(session, identity, since, note, alarm)


def _usual_area(state: State, label: int) -> float:
    """The mean area of a region's masks that were drawn, in pixels."""
    areas = [state.mask(label, frame).sum() for frame in state.layers[label].drawn]
    return float(np.mean([area for area in areas if area] or [1]))


def _end(session: Session) -> None:
    session.tracking, session.followed = 0, None
    session.mark([])  # newer than any answer that still says it goes on


def _take_frame(
    session: Session,
    areas: Mapping[int, float],
    stop: threading.Event,
    frame: int,
    found: np.ndarray,
    confidence: float,
) -> bool:
    """Take a frame over from the tracker; False once it is to stop. `areas` are usual ones, in pixels."""
    sure = getattr(confidence, "regions", {})  # of each region, where the tracker tells
    with session.lock:
        if stop.is_set():
            return False
        for label, area in areas.items():
            mask = found == label
            score = judged(sure.get(label, confidence), float(mask.sum()) / area)
            session.set_tracked(label, frame, mask, score)
    return True


def _take_found(session: Session, identity: str, found: Any, clear: float) -> str | None:
    """Make regions of the clusters that have a name and fit it, in one step to undo; what to say.

    `found` has `labels`, uint8 [frames, height, width], where cluster i + 1 is `names[i]`, and by cluster
    `fit`, above 1 where the name fits. Below `clear` it is called "thing 1".
    """
    clusters = [(n, *one) for n, one in enumerate(zip(found.names, found.fit, strict=True), 1)]
    named = [(n, name if fit >= clear else "") for n, name, fit in clusters if name and fit > _FITS]
    with session.lock:
        if session.id != identity:
            return None
        named = named[: max(0, MAX_REGIONS - len(session.state.regions))]
        masks = [found.labels == number for number, _ in named]
        tracks = [{f: pack(mask) for f, mask in enumerate(clip) if mask.any()} for clip in masks]
        words = [name for _, name in named]
        unclear = itertools.count(1)
        made = session.add_masks([w or f"thing {next(unclear)}" for w in words], tracks, words, 0.8)
        lacking = [
            noun for noun in things(session.source_prompt) if not set(noun.split()) & {*words}
        ]
    if not made:
        return _NO_MATCH
    missed = f" Not found: {', '.join(lacking)}." if lacking else ""
    return f"Found: {', '.join(made)}.{missed} The masks are rough: correct them, then fill in “Change to”."


def uncertain(state: State, label: int) -> list[UncertainSpan]:
    """Stretches of frames on which a region was lost, or is doubtful."""
    layer = state.layers[label]
    return doubts({**layer.score, **dict.fromkeys(layer.drawn, 1.0)}, state.shape[0])


def _unsure(session: Session) -> str:
    """Where to look next: all stretches on which a mask was lost or doubtful."""
    state = session.state
    stretches = [
        f"“{state.regions[label].name}”: {words}"
        for label in session.tracked
        if label in state.regions and (words := in_words(uncertain(state, label), first=1))
    ]
    if not stretches:
        return "Tracked. Step through the frames; if a mask is wrong, correct it and track again."
    if (more := len(stretches) - _NAMED) > 0:
        stretches[_NAMED:] = [f"{more} more region{'s' if more > 1 else ''} to check"]
    return f"{'; '.join(stretches)}. Go there, click the object, and track again."
