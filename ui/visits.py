"""The documents of all open pages, and when they go."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from editing.errors import RequestError
from ui.clips import Opened
from ui.document import Document
from ui.media import MAX_AGE, Media

MAX_PAGES = 32
GRACE = 30.0


class Visits:
    """The documents of all open pages; the longest unused go first.

    Args:
        first: What a new page shows; None for nothing.
        media: Whose files go with a page.
        finder: See `Document`.
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
        self._documents: OrderedDict[str, Document] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, page: str, opened: Opened | None = None) -> Document:
        """The document of a page; a new one, on `opened` or what new pages show, on its first event.

        Raises:
            RequestError: There is nothing to show.
        """
        with self._lock:
            document = self._documents.pop(page, None)
            if document is None:
                if (start := self._first or opened) is None:
                    raise RequestError("clip", "None is open. Choose an example or open your own.")
                document = Document(start, self._finder)
            self._documents[page] = document
            document.used, document.left = self._clock(), None
            old = [p for p, s in self._documents.items() if self._clock() - s.used > MAX_AGE]
            old += list(self._documents)[: max(0, len(self._documents) - len(old) - MAX_PAGES)]
        self._media.touch(page)
        for other in dict.fromkeys(old):
            self.forget(other)
        return document

    def keep(self, page: str) -> None:
        """Something still goes on for a page that nobody touches."""
        with self._lock:
            document = self._documents.get(page)
            if document is None:
                return
            document.used = self._clock()
        self._media.touch(page)

    def leave(self, page: str) -> None:
        """A page is closed, or has lost its connection for a moment: forget it unless it comes back.

        What is being tracked stops at once.
        """
        document = self._documents.get(page)
        if document is None:
            return
        document.stop.set()
        document.left = left = object()

        def forget() -> None:
            if self._documents.get(page) is document and document.left is left:
                self.forget(page)

        timer = threading.Timer(self._grace, forget)
        timer.daemon = True
        timer.start()

    def forget(self, page: str) -> None:
        """Free a page's document and its files."""
        with self._lock:
            document = self._documents.pop(page, None)
        if document:
            document.stop.set()
        self._media.forget(page)

    def __len__(self) -> int:
        return len(self._documents)
