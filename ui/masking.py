"""What the canvas and the cards ask for: points, strokes, regions, tracking, other clips."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from editing.errors import EditingError, RequestError
from editing.events import Progress
from editing.project import save_project
from editing.request import EditRequest
from ui import views
from ui.clips import Opened, open_upload
from ui.layers import Stroke
from ui.media import Media
from ui.session import MAX_PATH, Segment, Session
from ui.sessions import Sessions
from ui.worker import in_thread

log = logging.getLogger(__name__)
Propagate = Callable[..., Iterator[tuple[int, np.ndarray, float]]]
Discover = Callable[[EditRequest], Iterator[Any]]
Data = dict[str, Any]
_NOTHING = (
    "Nothing found at that point. Click nearer the middle of the thing, or paint it with the brush (B)."
)
_NO_KEY = "Nothing to track yet: click a thing, or correct a mask."
_BROKEN = "This is a fault of Regrain; the log says where."
_UPLOAD = "upload"
_UNSURE = 0.5  # confidence below which a frame is pointed out
_tracking = threading.Lock()


class Followed(NamedTuple):
    """One more frame of a region was tracked."""

    name: str
    done: int
    total: int


class Masking:
    """Events of the canvas in, views out.

    Args:
        sessions: Of all open pages.
        segment: Points to a mask.
        propagate: A clip and its key frames, by frame and label, to labels on every frame and how sure it is.
        media: Where clips that were uploaded go.
        discover: What the clip shows to the things in it: progress, and as the last what
            `editing.clusters.find_clusters` returns.
    """

    def __init__(
        self,
        sessions: Sessions,
        segment: Segment,
        propagate: Propagate,
        media: Media,
        discover: Discover | None = None,
    ) -> None:
        self.sessions, self.segment, self.propagate, self.media = sessions, segment, propagate, media
        self._discover = discover
        self._acts: dict[str, Callable[[Session, Data], str | None]] = {
            "point": self._point,
            "unpoint": self._unpoint,
            "stroke": self._stroke,
            "undo": lambda session, data: self._step(session, session.undo),
            "redo": lambda session, data: self._step(session, session.redo),
            "stop": lambda session, data: session.stop.set(),
            "add": self._add,
            # A tracker writes by label, and labels of deleted regions are given again.
            "delete": lambda session, data: self._step(session, lambda: session.delete_region(_label(data))),
            "clear": lambda session, data: session.clear(_label(data)),
            "find": self._find_by,
        }

    def act(self, page: str, data: Data) -> tuple[views.View, Session | None]:
        """Do what a canvas event asks for.

        Returns:
            The canvas, and the session if the cards must change too.
        """
        try:
            session = self.sessions.get(page)
            with session.lock:
                session.check(data.get("id"), data.get("have"))
                before, words = list(session.state.regions), data.get("cards")
                if isinstance(words, dict):  # typed, and not yet sent
                    session.describe(words.get("source_prompt"), words.get("regions"), words.get("prompt"))
                note, alarm = self._do(session, data)
                if isinstance(data.get("nonce"), int):
                    session.acknowledged.append(data["nonce"])
                view = views.canvas(session, data["have"], note, alarm)
                return view, session if before != list(session.state.regions) else None
        except EditingError as error:
            return views.lost(error.message), None

    def _do(self, session: Session, data: Data) -> tuple[str, bool]:
        try:
            act = self._acts.get(str(data.get("act")))
            note = act(session, data) if act else None
        except EditingError as error:
            return f"{error.field}: {error.message}", True
        except Exception:
            log.exception("an event of the canvas failed")
            return _BROKEN, True
        return note or "", note == _NOTHING

    def _point(self, session: Session, data: Data) -> str | None:
        frame, at = _frame(session, data), _place(session, data.get("at"))
        label = self._target(session, data)
        found = session.point(label, frame, at, bool(data.get("inside")), self.segment)
        return None if found else _NOTHING

    def _unpoint(self, session: Session, data: Data) -> str | None:
        frame, at = _frame(session, data), _place(session, data.get("at"))
        return None if session.remove_point(_label(data), frame, at, self.segment) else _NOTHING

    def _stroke(self, session: Session, data: Data) -> None:
        path, radius = data.get("path"), data.get("radius")
        if not isinstance(path, list) or not 1 <= len(path) <= MAX_PATH or not _is_number(radius):
            raise RequestError("stroke", f"allowed are 1 to {MAX_PATH} points and a radius")
        radius = min(max(float(radius), 0.5), float(max(session.size)))
        stroke = Stroke(tuple(_place(session, at) for at in path), radius, bool(data.get("erase")))
        session.stroke(self._target(session, data), _frame(session, data), stroke, self.segment)

    def _find_by(self, session: Session, data: Data) -> None:
        finder = str(data.get("by"))
        session.find_by(self._target(session, data), _frame(session, data), finder, self.segment)

    def _add(self, session: Session, data: Data) -> str:
        session.add_region()
        return "New region: click a thing in the frame, or paint it."

    def _target(self, session: Session, data: Data) -> int:
        """The region an event is for; the first click of all makes one, and those that follow fast use it."""
        if not session.state.regions:
            return session.add_region()
        return _label(data) or next(iter(session.state.regions))

    def _step(self, session: Session, move: Callable[[], None]) -> None:
        session.stop.set()
        move()

    # Tracking

    def track(self, page: str, data: Data) -> Iterator[views.View | None]:
        """Follow the regions that were corrected through the clip; None while there is nothing new."""
        try:
            session = self.sessions.get(page)
            with session.lock:
                session.check(data.get("id"), data.get("have"))
                identity, since, layers = session.id, data["have"], session.state.layers
                labels = session.to_track() or [label for label, layer in layers.items() if layer.drawn]
                if session.tracking:
                    return
                nothing = None if labels else views.canvas(session, since, _NO_KEY)
        except EditingError as error:
            yield views.lost(error.message)
            return
        if nothing:  # handed out without the lock: what comes back may come in another thread
            yield nothing
            return
        note, alarm = "", False
        try:
            with closing(self.follow(session, labels)) as steps:
                for step in steps:
                    yield self._look(session, identity, since) if step else None
            note = self._unsure(session, labels)
        except EditingError as error:
            note, alarm = f"{error.field}: {error.message}", True
        except Exception:
            log.exception("tracking failed")
            note, alarm = _BROKEN, True
        note = "Tracking stopped." if session.stop.is_set() else note
        yield self._look(session, identity, since, note, alarm)

    def follow(self, session: Session, labels: list[int]) -> Generator[Followed | None, None, None]:
        """Track regions together in a thread; ends early once the session's `stop` is set."""
        with session.lock:
            session.stop = stop = threading.Event()
            session.tracking = labels[0]
        finished = False
        try:
            with closing(in_thread(lambda: self._follow(session, labels, stop), turn=_tracking)) as steps:
                for step in steps:
                    if stop.is_set():  # said at once: the tracker may be long over its frame
                        return
                    yield step
            finished = not stop.is_set()
        finally:
            with session.lock:
                if session.stop is stop:
                    session.end_track(labels, finished)
                    session.tracking = 0
                    session.mark([])  # newer than any answer that still says it goes on

    def _follow(self, session: Session, labels: list[int], stop: threading.Event) -> Iterator[Followed]:
        with session.lock:
            labels = [label for label in labels if label in session.state.layers]
            if stop.is_set() or not labels:
                return
            clip, keys = session.opened.in_memory, session.begin_track(labels)
            names = [session.state.regions[label].name for label in labels]
        what = names[0] if len(names) == 1 else f"{len(names)} regions"
        yield Followed(what, 0, len(clip))
        with closing(self.propagate(clip, keys)) as frames:  # type: ignore[type-var]
            for done, (frame, found, confidence) in enumerate(frames, 1):
                sure = getattr(confidence, "regions", {})  # of each region, where the tracker tells
                with session.lock:
                    if stop.is_set():
                        return
                    for label in labels:
                        session.set_tracked(label, frame, found == label, sure.get(label, confidence))
                yield Followed(what, done, len(clip))

    def _look(
        self, session: Session, identity: str, since: int, note: str = "", alarm: bool = False
    ) -> views.View | None:
        with session.lock:
            return views.canvas(session, since, note, alarm) if session.id == identity else None

    def _unsure(self, session: Session, labels: list[int]) -> str:
        """Where to look next: the first frame on which a mask was lost or doubtful."""
        with session.lock:
            for label in labels:
                layer, region = session.state.layers.get(label), session.state.regions.get(label)
                doubtful = [f for f, score in sorted(layer.score.items()) if score < _UNSURE] if layer else []
                if doubtful and region:
                    where = (
                        f"from frame {doubtful[0] + 1}"
                        if len(doubtful) > 1
                        else f"on frame {doubtful[0] + 1}"
                    )
                    return f"“{region.name}” is doubtful {where}. Go there, click it, and track again."
        return "Tracked. Look through the frames; correct any of them and track again."

    # Things found without a click

    def discover(self, session: Session, since: int, model: str) -> Iterator[views.View | None]:
        """Make a region of everything a model tells apart in the clip; None while there is nothing new."""
        note, alarm = "", False
        with session.lock:
            if session.tracking or self._discover is None:
                return
            session.stop = stop = threading.Event()
            identity, session.tracking = session.id, -1
        try:
            with session.lock:
                asked = session.to_discover(model)
            find = self._discover
            with closing(in_thread(lambda: find(asked))) as steps:
                for step in steps:
                    if stop.is_set():
                        note = "Stopped: nothing was found yet."
                        break
                    if isinstance(step, Progress):
                        said = f"Looking for things: step {step.done} of {step.total}."
                        yield self._look(session, identity, since, said)
                    elif step is not None and hasattr(step, "names"):
                        note = self._take(session, identity, step)
                    else:
                        yield None
        except EditingError as error:
            note, alarm = f"{error.field}: {error.message}", True
        except Exception:
            log.exception("looking for things failed")
            note, alarm = _BROKEN, True
        finally:
            with session.lock:
                if session.stop is stop:
                    session.tracking = 0
                    session.mark([])
        yield self._look(session, identity, since, note, alarm)

    def _take(self, session: Session, identity: str, found: Any) -> str:
        with session.lock:
            if session.id != identity:
                return ""
            names = session.add_found(found.labels, found.names, found.fit)
        if not names:
            return "Nothing stands out by the words of “The clip shows”. Click a thing instead."
        return f"Found: {', '.join(names)}. Their masks are coarse; correct them, and say what each becomes."

    # Clips

    def begin(self, page: str, opened: Opened) -> Session:
        """Begin anew on a clip; the files of the one before go."""
        session = self.sessions.get(page, opened)
        with session.lock:
            old = session.opened
            session.open(opened, secrets.token_hex(8))
        if old is not opened:
            self.media.drop(old.folder)
        return session

    def upload(self, page: str, file: Path) -> tuple[Session, str]:
        """Open a file that somebody uploaded; it moves into the page's folder.

        Raises:
            EditingError: It cannot be opened; the page keeps what it had.
        """
        folder = self.media.new_clip(page)
        kept = folder / _UPLOAD / file.name  # beside files of our own, some of which have usual names
        kept.parent.mkdir()
        shutil.move(file, kept)
        return self._open(page, kept, folder)

    def trim(self, page: str, data: Data) -> tuple[Session, str]:
        """Use another part of one's own clip."""
        session = self.sessions.get(page)
        file = session.opened.file
        values = [v for key in ("start", "stride", "frames") if isinstance(v := data.get(key), int)]
        if file is None or len(values) < 3 or not all(0 <= value < 10**6 for value in values):
            raise RequestError("clip", "start, stride and frames are whole numbers; change them")
        folder = self.media.new_clip(page)
        kept = folder / _UPLOAD / file.name
        kept.parent.mkdir()
        shutil.copyfile(file, kept)
        start, stride, frames = values
        return self._open(page, kept, folder, start, max(1, stride), max(1, frames))

    def _open(self, page: str, file: Path, folder: Path, *part: int) -> tuple[Session, str]:
        try:
            opened, note = open_upload(file, folder, *part)
        except BaseException:
            self.media.drop(folder)
            raise
        return self.begin(page, opened), note

    def save(
        self, session: Session, request: EditRequest, overlapping: dict[int, np.ndarray] | None, page: str
    ) -> Path:
        """Write a project and pack it; what was saved before goes. See `Session.overlapping`."""
        folder = self.media.new_clip(page)
        save_project(request, folder / "project", overlapping)
        if session.saved:
            self.media.drop(session.saved)
        session.saved = folder
        return Path(shutil.make_archive(str(folder / "project"), "zip", folder / "project"))


def _label(data: Data) -> int:
    label = data.get("label")
    if not isinstance(label, int):
        raise RequestError("region", "none is chosen; click one in the list")
    return label


def _frame(session: Session, data: Data) -> int:
    frame = data.get("frame")
    if not isinstance(frame, int) or not 0 <= frame < len(session.opened.frames):
        raise RequestError("frame", f"{str(frame)[:20]} was given; the clip has {len(session.opened.frames)}")
    return frame


def _place(session: Session, at: object) -> tuple[float, float]:
    """A place in pixels of the clip, at most just outside the frame."""
    if not isinstance(at, list) or len(at) != 2 or not all(_is_number(value) for value in at):
        raise RequestError("point", "two numbers are needed, x and y")
    (x, y), (width, height) = at, session.size
    return round(min(max(x, 0.0), width - 1e-3), 2), round(min(max(y, 0.0), height - 1e-3), 2)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
