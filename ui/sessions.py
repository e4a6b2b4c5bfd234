"""The sessions of all open pages, and when they go."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from editing.errors import RequestError
from ui.clips import Opened
from ui.media import MAX_AGE, Media
from ui.session import Session

MAX_SESSIONS = 32
GRACE = 30.0


class Sessions:
    """The sessions of all open pages; the longest unused go first.

    Args:
        first: What a new page shows; None for nothing.
        media: Whose files go with a session.
        finder: See `Session`.
        clock: Seconds, growing.
        grace: Seconds in which a page that lost its connection may come back.
    """

    def __init__(
        self,
        first: Opened | None,
        media: Media,
        finder: str = "sam",
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE,
    ) -> None:
        self._grace = grace
        self._first, self._media, self._finder, self._clock = first, media, finder, clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, page: str, opened: Opened | None = None) -> Session:
        """The session of a page; a new one, on `opened` or what new pages show, on its first event.

        Raises:
            RequestError: There is nothing to show.
        """
        with self._lock:
            session = self._sessions.pop(page, None)
            if session is None:
                if (start := self._first or opened) is None:
                    raise RequestError("clip", "none yet; load a clip first")
                session = Session(start, self._finder)
            self._sessions[page] = session
            session.used, session.left = self._clock(), None
            old = [p for p, s in self._sessions.items() if self._clock() - s.used > MAX_AGE]
            old += list(self._sessions)[: max(0, len(self._sessions) - len(old) - MAX_SESSIONS)]
        self._media.touch(page)
        for other in dict.fromkeys(old):
            self.forget(other)
        return session

    def keep(self, page: str) -> None:
        """Something still goes on for a page that nobody touches."""
        with self._lock:
            session = self._sessions.get(page)
            if session is None:
                return
            session.used = self._clock()
        self._media.touch(page)

    def leave(self, page: str) -> None:
        """A page is closed, or has lost its connection for a moment: forget it unless it comes back.

        What is being tracked stops at once.
        """
        session = self._sessions.get(page)
        if session is None:
            return
        session.stop.set()
        session.left = left = object()

        def forget() -> None:
            if self._sessions.get(page) is session and session.left is left:
                self.forget(page)

        timer = threading.Timer(self._grace, forget)
        timer.daemon = True
        timer.start()

    def forget(self, page: str) -> None:
        """Free a page's session and its files."""
        with self._lock:
            session = self._sessions.pop(page, None)
        if session:
            session.stop.set()
        self._media.forget(page)

    def __len__(self) -> int:
        return len(self._sessions)
