"""Regions followed through a clip by a tracker, and where it was not sure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import NamedTuple

import numpy as np

from regrain.editing.media.clip import Clip
from regrain.editing.request.region import called
from regrain.masks.track.corrections import Pass
from regrain.masks.track.propagate import Confidence
from regrain.masks.track.uncertainty import UncertainSpan, doubts, in_words, judged
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.worker import in_thread, start_thread
from regrain.ui.session.session import Session
from regrain.ui.values.state import State

Tracked = tuple[int, np.ndarray, float]
"""A frame, the labels on it, and how sure the tracker is."""
Propagate = Callable[..., Iterator[Tracked]]
_NAMED = 3  # regions whose lost stretches are named


class Followed(NamedTuple):
    """One more frame of a region was tracked."""

    name: str
    done: int
    total: int


class Tracker:
    """Follows regions in threads; one clip is tracked at a time.

    Args:
        propagate: A clip, its key frames by frame and label, `start` and `stop` to
            labels on each of these frames and how sure it is; and `tracker`, see
            `masks.propagate`.
    """

    def __init__(self, propagate: Propagate) -> None:
        self.propagate = propagate
        self._trackers = RunQueue()

    def begin(self, session: Session) -> None:
        """Track what was corrected, or else all that was drawn, in a thread that nobody
        needs to watch."""
        state = session.state
        drawn = [label for label, layer in state.layers.items() if layer.drawn]
        labels = state.to_track() or drawn
        if labels:

            def drain() -> None:
                with suppress(Exception):  # the page that watches is told of it
                    for _ in self.follow(session, labels):
                        pass

            start_thread(drain, "tracking")
            session.tracking = labels[0]  # not before: there may be no thread to end it

    def follow(
        self, session: Session, labels: list[int]
    ) -> Generator[Followed | None, None, None]:
        """Track regions together in a thread; ends early once the session's `stop` is
        set."""
        with session.lock:
            session.stop = stop = threading.Event()
            session.tracking = labels[0]
            session.tracked = tuple(labels)
            session.trouble = None
        finished = False
        try:
            with (
                self._trackers.enter_first() as turn,
                closing(
                    in_thread(lambda: self._follow(session, labels, stop), turn)
                ) as steps,
            ):
                for step in steps:
                    # noticed at once: the tracker may be long over its frame
                    if stop.is_set():
                        break
                    yield step
            finished = not stop.is_set()
        except Exception as error:
            session.trouble = error
            raise
        finally:
            with session.lock:
                if session.stop is stop:
                    session.state = session.state.end_track(labels, finished)
                    end(session)

    def _follow(
        self, session: Session, labels: list[int], stop: threading.Event
    ) -> Iterator[Followed]:
        with session.lock:
            labels = [label for label in labels if label in session.state.layers]
            if stop.is_set() or not labels:
                return
            state, passes = session.state.begin_track(labels)
            session.commit(state)
            clip = session.opened.clip
            tracker = session.tracker
            areas = {label: _usual_area(state, label) for label in labels}
            name = _name_of(session.state, labels[0])
        if len(labels) > 1:
            name = f"{len(labels)} regions"
        total = sum(len(part.frames) for part in passes)
        done = 0
        yield Followed(name, done, total)
        began = time.monotonic()
        for part, (frame, found, confidence) in self._tracked(clip, passes, tracker):
            # of each region, where the tracker tells
            sure = confidence.regions if isinstance(confidence, Confidence) else {}
            with session.lock:
                if stop.is_set():
                    return
                for label in part.labels_at(frame):
                    mask = found == label
                    share = float(mask.sum()) / areas[label]
                    session.set_tracked(
                        label,
                        frame,
                        mask,
                        judged(sure.get(label, confidence), share),
                    )
            done += 1
            spent = time.monotonic() - began
            left = spent / done * (total - done)
            session.followed = done, total, round(left, 1), frame
            yield Followed(name, done, total)

    def _tracked(
        self, clip: Clip, passes: list[Pass], tracker: str
    ) -> Iterator[tuple[Pass, Tracked]]:
        for part in passes:
            frames = self.propagate(
                clip,
                part.keys,
                start=part.frames.start,
                stop=part.frames.stop,
                tracker=tracker,
            )
            with closing(frames):  # type: ignore[type-var]
                for tracked in frames:
                    yield part, tracked


def _name_of(state: State, label: int) -> str:
    """Return what to call a region."""
    regions = state.regions
    return called([*regions.values()])[regions[label].name]


def _usual_area(state: State, label: int) -> float:
    """Return the mean area of a region's masks that were drawn, in pixels; 1 without
    any."""
    areas = [state.mask(label, frame).sum() for frame in state.layers[label].drawn]
    there = [area for area in areas if area]
    return float(np.mean(there)) if there else 1.0


def end(session: Session) -> None:
    """Note that nothing is followed any more."""
    session.tracking = 0
    session.followed = None
    session.mark([])  # newer than any answer that still says it goes on


def uncertain(state: State, label: int) -> list[UncertainSpan]:
    """List the stretches of frames on which a region was lost, or is doubtful."""
    layer = state.layers[label]
    return doubts({**layer.score, **dict.fromkeys(layer.drawn, 1.0)}, state.shape[0])


def unsure(session: Session) -> str:
    """Say where to look next: all stretches on which a mask was lost or doubtful."""
    state = session.state
    stretches = []
    for label in session.tracked:
        if label not in state.regions:
            continue
        words = in_words(uncertain(state, label), first=1)
        if words:
            stretches.append(f"“{_name_of(state, label)}”: {words}")
    if not stretches:
        return "Tracked. Step through the frames; if a mask is wrong, correct it and track again."
    more = len(stretches) - _NAMED
    if more > 0:
        regions = "region" if more == 1 else "regions"
        stretches[_NAMED:] = [f"{more} more {regions} to check"]
    return f"{'; '.join(stretches)}. Go there, click the object, and track again."
