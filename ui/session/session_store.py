"""The documents of all open pages, and when they go."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from regrain.editing.errors import RequestError
from regrain.editing.storage.memory import return_freed
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.runs import RunThread
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.session import Session

MAX_PAGES = 64
GRACE = float(os.environ.get("REGRAIN_GRACE", "120"))  # seconds
_MAX_CONNECTED = 4096
_LATE = 30.0  # seconds after a page has gone in which what it sends says nothing: it was sent before
_SILENCE = 100.0  # seconds in which an open page says that it is open, even one in the background


class SessionStore:
    """The documents of all open pages; the longest unused go first.

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
        self._first, self._media, self._finder, self._clock = first, media, finder, clock
        self._documents: OrderedDict[str, Session] = OrderedDict()
        self._connected: OrderedDict[str, set[str]] = OrderedDict()
        self._all: OrderedDict[str, set[str]] = OrderedDict()  # those that ended among them
        self._tell_ended = ended
        self._left: OrderedDict[str, float] = OrderedDict()  # when pages went that have no connection
        self._ended: deque[str] = deque(maxlen=_MAX_CONNECTED)  # connections that ended before they arrived
        self._lock = threading.Lock()

    def get(self, page: str, opened: ClipSession | None = None) -> Session:
        """The document of a page; a new one, on `opened` or what new pages show, on its first event.

        Raises:
            RequestError: There is nothing to show.
        """
        with self._lock:
            document, gone = self._documents.pop(page, None), page in self._left
            if document is None:
                if (start := self._first or opened) is None:
                    raise RequestError("clip", "None is open. Choose an example or open your own.")
                document = Session(start, self._finder)
                if gone:
                    self._forget_later(page, document)
            self._documents[page] = document
            document.used = self._clock()
            if not gone:
                document.left = None
            old = [p for p, s in self._documents.items() if self._clock() - s.used > MAX_AGE]
            old += list(self._documents)[: max(0, len(self._documents) - len(old) - MAX_PAGES)]
        self._media.touch(page)
        for other in dict.fromkeys(old):
            self.forget(other)
        return document

    def find(self, page: str) -> Session | None:
        """The document of a page, if it has one already."""
        return self._documents.get(page)

    def run_of(self, page: str) -> RunThread | None:
        """The last run of a page, if there was one on its clip."""
        document = self.find(page)
        return document.run if document else None

    def keep(self, page: str) -> None:
        """Something still goes on for a page that nobody touches; whether it is open is not known by that.

        The server may go on for minutes with the events of a page that was closed.
        """
        with self._lock:
            document = self._documents.get(page)
            if document is None:
                return
            document.used = self._clock()
        self._media.touch(page)

    def here(self, page: str) -> None:
        """A page says that it is still open: kept though its connection is lost, yet not as used."""
        with self._lock:
            if (document := self._documents.get(page)) and page in self._left:
                document.seen = self._clock()

    def arrive(self, page: str, connection: str) -> Session | None:
        """A page is opened, or is there again; its document if it has one.

        Args:
            page: See `ui.handlers.regions.page_of`.
            connection: Tells the page that is loaded now from the same one before a reload.
        """
        with self._lock:
            known = page in self._documents
            self._all.setdefault(page, set()).add(connection)
            _shorten(self._all, page)
            if connection not in self._ended:  # closed at once, on a busy machine
                self._connected.setdefault(page, set()).add(connection)
                self._left.pop(page, None)
            _shorten(self._connected, page)
        return self.get(page) if known else None

    def leave(self, page: str, connection: str = "") -> None:
        """A page is closed, is being reloaded or has lost its connection: forget it unless it comes back."""
        with self._lock:
            connected = self._connected.get(page, set())
            if connection not in connected:
                self._ended.append(connection)
            connected.discard(connection)
            if connected:  # after a reload the old connection may end last
                return
            self._left[page] = self._clock()
            _shorten(self._left, page)
            if document := self._documents.get(page):
                self._forget_later(page, document)
                return
        self._tell_ended(connection)  # nothing of it is left

    def _forget_later(self, page: str, document: Session) -> None:
        """Forget it after the grace, unless it shows meanwhile, and again, that only its connection is lost.

        Events that it sent do not show that: on a busy machine they are answered long after it has gone.
        """
        document.left = left = self._clock()

        def wait(seconds: float, heard: float) -> None:
            timer = threading.Timer(seconds, look, [heard])
            timer.daemon = True
            timer.start()

        def look(heard: float) -> None:
            if self._documents.get(page) is not document or document.left is not left:
                return
            if document.seen > heard:
                wait(self._silence, document.seen)
            else:
                self.forget(page)

        wait(self._grace, left + self._late)

    def forget(self, page: str) -> None:
        """Free a page's document and its files."""
        with self._lock:
            document = self._documents.pop(page, None)
            self._connected.pop(page, None)  # that it has gone stays known: more of it may still be answered
            connections = tuple(self._all.get(page, ()))
        if document:
            document.end()
        self._media.forget(page)
        for connection in connections:
            self._tell_ended(connection)
        gc.collect()  # what gradio had made for the page refers to itself
        return_freed()

    def __len__(self) -> int:
        return len(self._documents)


def _shorten(kept: OrderedDict[str, Any], page: str) -> None:
    """Keep the pages that were last heard of, this one among them."""
    if page in kept:
        kept.move_to_end(page)
    while len(kept) > _MAX_CONNECTED:
        kept.popitem(last=False)
