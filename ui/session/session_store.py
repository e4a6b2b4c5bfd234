"""The sessions of all open pages, and when they go."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from regrain.editing.errors import RequestError
from regrain.editing.storage.memory import return_freed
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.runs import RunThread
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.session import Session

MAX_PAGES = 64
GRACE = float(os.environ.get("REGRAIN_GRACE", "120"))  # seconds
_MAX_KNOWN = 4096  # pages, and connections that ended before they arrived
_LATE = (
    30.0  # seconds after a page has gone in which what it sends says nothing: it was sent before
)
_SILENCE = 100.0  # seconds in which an open page says that it is open, even one in the background


@dataclass(eq=False)
class _Page:
    """What is known of a page; times by the clock of the store."""

    session: Session | None = None  # None before its first event, and once it is forgotten
    used: float = 0.0  # when its last event came
    left: float | None = None  # when it went, or lost its last connection; None while it is there
    heard: float = 0.0  # when it last said that it is open
    connected: set[str] = field(default_factory=set)
    connections: set[str] = field(default_factory=set)  # those that ended among them


class SessionStore:
    """The sessions of all open pages; the longest unused go first.

    Args:
        first: What a new page shows; None for nothing.
        media: Whose files go with a page.
        finder: See `Session`.
        clock: Seconds, growing.
        grace: Seconds in which a page that was reloaded or lost its connection may come back.
        ended: Called with each connection of a page that is forgotten.
    """

    def __init__(
        self,
        first: ClipSession | None,
        media: Media,
        finder: str = "sam",
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE,
        ended: Callable[[str], object] = lambda connection: None,
    ) -> None:
        self._grace, self._late, self._silence = grace, min(_LATE, grace / 2), min(_SILENCE, grace)
        self._first, self.media, self._finder, self._clock = first, media, finder, clock
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._tell_ended = ended
        self._ended: deque[str] = deque(
            maxlen=_MAX_KNOWN
        )  # connections that ended before they arrived
        self._lock = threading.Lock()

    def get(self, page: str, opened: ClipSession | None = None) -> Session:
        """The session of a page; a new one, on `opened` or what new pages show, on its first event.

        Raises:
            RequestError: There is nothing to show.
        """
        with self._lock:
            known, now = self._known(page), self._clock()
            if known.session is None:
                if (start := self._first or opened) is None:
                    raise RequestError("clip", "None is open. Choose an example or open your own.")
                known.session = Session(start, self._finder)
                if known.left is not None:
                    self._forget_later(page, known)
            session, known.used = known.session, now
            kept = [name for name, other in self._pages.items() if other.session]
            old = [name for name in kept if now - self._pages[name].used > MAX_AGE]
            old += kept[: max(0, len(kept) - len(old) - MAX_PAGES)]
        self.media.touch(page)
        for other in dict.fromkeys(old):
            self.forget(other)
        return session

    @contextmanager
    def held(self, page: str, said: Mapping[str, Any]) -> Iterator[Session]:
        """A page's session under its lock, if the page shows it; raises as `get` and `Session.check` do."""
        session = self.get(page)
        with session.lock:
            session.check(said.get("id"), said.get("have"))
            yield session

    def find(self, page: str) -> Session | None:
        """The session of a page, if it has one already."""
        known = self._pages.get(page)
        return known and known.session

    def run_of(self, page: str) -> RunThread | None:
        """The last run of a page, if there was one on its clip."""
        session = self.find(page)
        return session and session.run

    def keep(self, page: str) -> None:
        """Something still goes on for a page that nobody touches; whether it is open is not known by that.

        The server may go on for minutes with the events of a page that was closed.
        """
        with self._lock:
            if self.find(page) is None:
                return
            self._pages[page].used = self._clock()
        self.media.touch(page)

    def here(self, page: str) -> None:
        """A page says that it is still open: kept though its connection is lost, yet not as used."""
        with self._lock:
            if (known := self._pages.get(page)) and known.left is not None:
                known.heard = self._clock()

    def has_left(self, page: str) -> bool:
        """Whether a page was closed, or has lost its connection."""
        known = self._pages.get(page)
        return known is None or known.left is not None

    def away(self, page: str) -> float:
        """Seconds since a page has left and said nothing; 0 while it is there."""
        known = self._pages.get(page)
        if known is None or known.left is None or known.heard > known.left:
            return 0.0
        return self._clock() - known.left

    def arrive(self, page: str, connection: str) -> Session | None:
        """A page is opened, or is there again; its session if it has one.

        `connection` tells the page that is loaded now from the same one before a reload.
        """
        with self._lock:
            known = self._known(page)
            known.connections.add(connection)
            if connection not in self._ended:  # closed at once, on a busy machine
                known.connected.add(connection)
                known.left = None
        return self.get(page) if known.session else None

    def leave(self, page: str, connection: str = "") -> None:
        """A page is closed, is being reloaded or has lost its connection: forget it unless it comes back."""
        with self._lock:
            known = self._pages.get(page) or self._known(page)
            if connection not in known.connected:
                self._ended.append(connection)
            known.connected.discard(connection)
            if known.connected:  # after a reload the old connection may end last
                return
            known.left = self._clock()
            if known.session:
                self._forget_later(page, known)
                return
        self._tell_ended(connection)  # nothing of it is left

    def _known(self, page: str) -> _Page:
        """What is known of a page, now the last that was heard of."""
        known = self._pages.setdefault(page, _Page())
        self._pages.move_to_end(page)
        while len(self._pages) > _MAX_KNOWN:
            self._pages.popitem(last=False)
        return known

    def _forget_later(self, page: str, known: _Page) -> None:
        """Forget it after the grace, unless it shows meanwhile, and again, that only its connection is lost.

        Events that it sent do not show that: on a busy machine they are answered long after it has gone.
        """
        session, left = known.session, self._clock()
        known.left = left

        def wait(seconds: float, heard: float) -> None:
            timer = threading.Timer(seconds, look, [heard])
            timer.daemon = True
            timer.start()

        def look(heard: float) -> None:
            if known.session is not session or known.left != left:
                return
            if known.heard > heard:
                wait(self._silence, known.heard)
            else:
                self.forget(page)

        wait(self._grace, left + self._late)

    def forget(self, page: str) -> None:
        """Free a page's session and its files. That it has gone stays known: more of it may be answered."""
        with self._lock:
            known = self._pages.get(page, _Page())
            session, known.session = known.session, None
            known.connected.clear()
            connections = tuple(known.connections)
        if session:
            session.end()
        self.media.forget(page)
        for connection in connections:
            self._tell_ended(connection)
        gc.collect()  # what gradio had made for the page refers to itself
        return_freed()

    def __len__(self) -> int:
        return sum(known.session is not None for known in list(self._pages.values()))
