"""Runs of pages: each goes on while nobody watches, and what it shows is kept until the
next begins."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing
from typing import Any

import anyio
import gradio as gr

from regrain.editing.storage.memory import return_freed
from regrain.ui.server.run_queue import Ticket
from regrain.ui.server.worker import start_thread

log = logging.getLogger(__name__)
Changes = dict[str, Any]  # what components show, by their names
Steps = Generator[Changes, None, None]
_GLANCE = 0.1  # seconds between looks of a page that watches


class RunThread:
    """One run of a page, in a thread of its own, which gives its turn back when it
    ends.

    Attributes:
        turn: Its place in the queue.
        asked: What the page asked for.
        behind: It began to wait for another run of its page.
        key: Tells it from other runs of the page.
        over: It has ended or was stopped; what it still says is dropped.
        watched: A page has watched it.
        seen: A page was there when it ended, or came back after it.
        tracking: Seconds of tracking before it.
        skip: Ends the present stage alone, if what was edited is then kept; else None.
        skipped: A stage was ended that way.
    """

    def __init__(self, turn: Ticket, asked: Any = None, behind: bool = False) -> None:
        self.turn = turn
        self.asked = asked
        self.behind = behind
        self.key = secrets.token_hex(8)
        self.over = False
        self.watched = False
        self.seen = False
        self.tracking = 0.0
        self.skip: Callable[[], None] | None = None
        self.skipped = False
        self._shown: dict[str, tuple[int, object]] = {}
        self._rev = 0
        self._lock = threading.Lock()

    def begin(self, steps: Steps) -> None:
        """Take the steps, each of which changes what the page shows, until they end or
        the run is stopped."""
        try:
            start_thread(lambda: self._work(steps), "run")
        except BaseException:  # no thread can be had: nobody else ends it
            self.over = True
            self.turn.leave()
            raise

    def show(self, changes: Changes) -> None:
        """Keep what the page is to show now; what a stopped run still says is
        dropped."""
        with self._lock:
            if self.over:
                return
            self._rev += 1
            for part, view in changes.items():
                if view != gr.skip():
                    self._shown[part] = self._rev, view

    def shows(self, part: object) -> object:
        """Return what a component shows of this run; None if nothing yet."""
        _, view = self._shown.get(part, (0, None))
        return view

    def since(self, rev: int) -> tuple[int, Changes]:
        """Return the present revision and what has changed after `rev`, 0 for
        everything."""
        with self._lock:
            changed = {
                part: view for part, (at, view) in self._shown.items() if at > rev
            }
            return self._rev, changed

    def stop(self, last: Changes | None = None) -> None:
        """End the run; its place is free at once, or after its present step. `last` is
        shown."""
        self.show(last or {})
        with self._lock:
            self.over = True
        self.turn.stop()

    def _work(self, steps: Steps) -> None:
        finished = False
        try:
            with closing(steps):
                for changes in steps:
                    if self.over:
                        break
                    self.show(changes)
            finished = not self.over
        except Exception:
            log.exception("a run failed")
        finally:
            self.over = True
            self.turn.leave(finished)
            return_freed()


async def watch(run: RunThread, noticed: Callable[[], None]) -> AsyncIterator[Changes]:
    """Yield what a run shows, from the beginning to its end; `noticed` is called at
    every look."""
    rev = 0
    while True:
        over = run.over  # before the look, so that nothing said last is missed
        rev, changes = run.since(rev)
        if changes:
            yield changes
        if over:
            return
        noticed()
        await anyio.sleep(_GLANCE)
