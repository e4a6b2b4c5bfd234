"""The sessions of all open pages, and when they go."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from regrain.editing.errors import EditingError, RequestError
from regrain.editing.storage.memory import return_freed
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.runs import RunThread
from regrain.ui.session.clips import OpenedClip
from regrain.ui.session.projects import Projects, is_worth
from regrain.ui.session.session import Session

log = logging.getLogger(__name__)
MAX_PAGES = 64
GRACE = float(os.environ.get("REGRAIN_GRACE", "120"))  # seconds
_MAX_KNOWN = 4096  # pages, and connections that ended before they arrived
# seconds after a page has gone in which a sign of life may have been sent before
_LATE = 30.0
# seconds in which an open page says that it is open, even one in the background
_SILENCE = 100.0


@dataclass(eq=False)
class _Page:
    """The store's record of a page; times by the clock of the store."""

    # None before its first event, and once it is forgotten
    session: Session | None = None
    used: float = 0.0  # when its last event came
    # when it went, or lost its last connection; None while it is there
    left: float | None = None
    heard: float = 0.0  # when it last said that it is open
    # when it is forgotten, unless it was heard after `silent_since`
    due: float | None = None
    silent_since: float = 0.0
    connected: set[str] = field(default_factory=set)
    connections: set[str] = field(default_factory=set)  # those that ended among them


class SessionStore:
    """The sessions of all open pages; the longest unused go first.

    Args:
        first: The clip that a new page shows; None for nothing.
        media: Holds files, which go with their page.
        finder: See `Session`.
        clock: Seconds, growing.
        grace: Seconds in which a page that was reloaded or lost its connection may come
            back.
        ended: Called with each connection of a page that is forgotten.
        projects: Where the work of pages is kept; by default nowhere.
    """

    def __init__(
        self,
        first: OpenedClip | None,
        media: Media,
        finder: str = "sam",
        clock: Callable[[], float] = time.monotonic,
        grace: float = GRACE,
        ended: Callable[[str], object] = lambda connection: None,
        projects: Projects | None = None,
    ) -> None:
        self.media = media
        self.projects = projects or Projects(None)
        self.projects.sessions = self.sessions
        self._first = first
        self._finder = finder
        self._clock = clock
        self._grace = grace
        self._late = min(_LATE, grace / 2)
        self._silence = min(_SILENCE, grace)
        self._tell_ended = ended
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        # Connections that ended before they arrived
        self._ended: deque[str] = deque(maxlen=_MAX_KNOWN)
        self._lock = threading.Lock()
        self._sweeping = False

    def get(self, page: str, opened: OpenedClip | None = None) -> Session:
        """Return the session of a page; on its first event the one that its project
        has, or a new one on `opened` or what new pages show.

        Raises:
            RequestError: There is nothing to show.
        """
        back, notice = (None, "") if self.find(page) else self._back(page)
        with self._lock:
            known = self._known(page)
            if known.session is None:
                if back is None:
                    start = self._first or opened
                    if start is None:
                        raise RequestError(
                            "clip",
                            "No clip is open. Choose an example or open your own.",
                        )
                    back = Session(start, self._finder)
                    back.notice = notice or self.projects.unkept
                known.session = back
                # the page has gone, and this event was answered late
                if known.left is not None:
                    self._forget_later(known)
            session = known.session
            known.used = self._clock()
            unused = self._unused(page)
        self.media.touch(page)
        self.projects.wake()
        for other in unused:
            self.put_away(other)
        return session

    def _back(self, page: str) -> tuple[Session | None, str]:
        """Return the work of a page that was put away, or was lost with the process
        before; None if it has no project, or one that cannot be opened, and why."""
        folder = self.projects.of_page(page)
        if folder is None:
            return None, ""
        try:
            back = self.projects.open(folder, self.media, page)
            session = Session(back.opened, self._finder)
            back.take(session)
        except EditingError as error:
            log.warning("a project could not be opened: %s", error)
            return None, f"{folder.name}: {error.message}"
        return session, ""

    def open_project(self, page: str, key: object) -> Session:
        """Open a project on a page, in place of its clip.

        Raises:
            EditingError: It cannot be read, or is open on another page.
        """
        folder = self.projects.folder_of(key)
        for other, session in self.sessions():
            if session.kept is None or session.kept.folder != folder:
                continue
            if other == page:
                return session
            if not self.has_left(other):
                raise RequestError(
                    "project", "It is open in another window. Go on there, or close it."
                )
            self.put_away(other)
        back = self.projects.open(folder, self.media, page)
        session = self.get(page, back.opened)
        self.projects.keep(page, session)
        with session.lock:
            old = session.opened
            back.take(session)
        self.media.drop(old.folder)
        return session

    def sessions(self) -> list[tuple[str, Session]]:
        """List the open pages and their sessions."""
        pages = list(self._pages.items())
        return [(page, known.session) for page, known in pages if known.session]

    @contextmanager
    def held(self, page: str, said: object) -> Iterator[Session]:
        """Yield a page's session under its lock, if the page shows what it has `said`,
        which may be anything.

        Raises:
            RequestError: As `get` and `Session.check` do.
        """
        session = self.get(page)
        known = said if isinstance(said, Mapping) else {}
        with session.lock:
            session.check(known.get("id"), known.get("have"))
            yield session

    def find(self, page: str) -> Session | None:
        """Return the session of a page, if it has one already."""
        known = self._pages.get(page)
        return known.session if known else None

    def run_of(self, page: str) -> RunThread | None:
        """Return the last run of a page, if there was one on its clip."""
        session = self.find(page)
        return session.run if session else None

    def keep(self, page: str) -> None:
        """Keep a page alive while its run goes on; this does not tell whether the page
        is open.

        The server may go on for minutes with the events of a page that was closed.
        """
        with self._lock:
            if self.find(page) is None:
                return
            self._pages[page].used = self._clock()
        self.media.touch(page)

    def here(self, page: str) -> None:
        """Note that a page says it is open: kept though its connection is lost, yet not
        as used."""
        with self._lock:
            known = self._pages.get(page)
            if known and known.left is not None:
                known.heard = self._clock()

    def has_left(self, page: str) -> bool:
        """Return whether a page was closed, or has lost its connection."""
        known = self._pages.get(page)
        return known is None or known.left is not None

    def away(self, page: str) -> float:
        """Return the seconds since a page has left and said nothing; 0 while it is
        there."""
        known = self._pages.get(page)
        if known is None or known.left is None or known.heard > known.left:
            return 0.0
        return self._clock() - known.left

    def arrive(self, page: str, connection: str) -> Session | None:
        """Note that a page is opened, or is there again; returns its session if it has
        one.

        `connection` tells the page that is loaded now from the same one before a
        reload.
        """
        with self._lock:
            known = self._known(page)
            known.connections.add(connection)
            if connection not in self._ended:  # closed at once, on a busy machine
                known.connected.add(connection)
                known.left = None
                known.due = None
        if known.session or self.projects.of_page(page):
            return self.get(page)
        return None

    def leave(self, page: str, connection: str = "") -> None:
        """Forget a page later, unless it comes back: it was closed or reloaded, or lost
        its connection."""
        with self._lock:
            known = self._known(page)
            if connection not in known.connected:
                self._ended.append(connection)
            known.connected.discard(connection)
            if known.connected:  # after a reload the old connection may end last
                return
            known.left = self._clock()
            if known.session:
                self._forget_later(known)
                return
        self._tell_ended(connection)  # nothing of it is left

    def _known(self, page: str) -> _Page:
        """Return the page's record, marked as most recently seen."""
        known = self._pages.setdefault(page, _Page())
        self._pages.move_to_end(page)
        while len(self._pages) > _MAX_KNOWN:
            self._pages.popitem(last=False)
        return known

    def _unused(self, here: str) -> list[str]:
        """List the pages that were not used for an hour and, beyond `MAX_PAGES`, those
        that have left, then those on which nothing was done, then the longest
        unused; not the one that is `here`."""
        now = self._clock()
        pages = [(page, known) for page, known in self._pages.items() if known.session]
        old = [page for page, known in pages if now - known.used > MAX_AGE]
        excess = max(0, len(pages) - len(old) - MAX_PAGES)
        if excess == 0:
            return old
        order = {
            page: (known.left is None, is_worth(known.session), known.used)
            for page, known in pages
            if known.session and page not in (here, *old)
        }
        return old + sorted(order, key=order.__getitem__)[:excess]

    def put_away(self, page: str) -> _Page:
        """Free a page's session and its files; what its project keeps comes back with
        its next event."""
        with self._lock:
            known = self._pages.get(page, _Page())
            session = known.session
        if session:
            self.projects.keep(page, session)
        with self._lock:
            known.session = None
            known.due = None
        if session:
            session.end()
            session.let_go()
        self.media.forget(page)
        gc.collect()  # what gradio had made for the page refers to itself
        return_freed()
        return known

    def _forget_later(self, known: _Page) -> None:
        """Forget a page after the grace, unless it says meanwhile that only its
        connection is lost.

        Its events do not say that: on a busy machine they are answered long after it
        has gone.
        """
        now = self._clock()
        known.left = now
        known.due = now + self._grace
        known.silent_since = now + self._late
        if not self._sweeping:
            self._sweeping = True
            threading.Thread(
                target=self._sweep_until_done, name="sweep", daemon=True
            ).start()

    def _sweep_until_done(self) -> None:
        """Sweep whenever a page is due, as long as there is one that may be."""
        while True:
            with self._lock:
                dues = [
                    known.due for known in self._pages.values() if known.due is not None
                ]
                if not dues:
                    self._sweeping = False
                    return
                pause = min(dues) - self._clock()
            time.sleep(max(0.0, pause))
            try:
                self.sweep()
            except Exception:  # the other pages are still to be forgotten in time
                log.exception("a page could not be forgotten")

    def sweep(self) -> None:
        """Forget the pages that have gone for good; those that still say they are open
        wait another turn."""
        gone = []
        with self._lock:
            now = self._clock()
            for page, known in self._pages.items():
                if known.due is None or known.due > now:
                    continue
                if known.heard > known.silent_since:
                    known.silent_since = known.heard
                    known.due = now + self._silence
                else:
                    known.due = None
                    gone.append(page)
        for page in gone:
            self.forget(page)

    def forget(self, page: str) -> None:
        """Free a page's session and its files. That it has gone stays known: more of it
        may be answered."""
        known = self.put_away(page)
        for connection in tuple(known.connections):  # others arrive meanwhile
            self._tell_ended(connection)
