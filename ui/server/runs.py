"""Runs of pages: each goes on while nobody watches, and what it shows is kept until the next begins."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import closing
from typing import Any

import anyio
import gradio as gr

from regrain.editing.storage.memory import return_freed
from regrain.ui.server.run_queue import Ticket

log = logging.getLogger(__name__)
Changes = dict[Any, Any]  # component to what it shows
_GLANCE = 0.1  # seconds between looks of a page that watches


class RunThread:
    """One run of a page, in a thread of its own; its place in the queue is given back when it ends.

    `asked` is what it was asked; `behind`, whether it began to wait for another of its page.
    """

    def __init__(self, turn: Ticket, asked: Any = None, behind: bool = False) -> None:
        self.turn, self.over, self.watched = turn, False, False
        self.tracking = 0.0  # seconds before it
        self.asked, self.behind, self.key = asked, behind, secrets.token_hex(8)
        # Ends the present stage alone, if what was edited is then kept; whether that was asked for
        self.skip: Callable[[], None] | None = None
        self.skipped = False
        self._shown: dict[Any, tuple[int, Any]] = {}
        self._rev, self._lock = 0, threading.Lock()

    def begin(self, steps: Generator[Changes, None, None]) -> None:
        """Take the steps, each of which changes what the page shows, until they end or the run is stopped."""
        threading.Thread(target=self._work, args=(steps,), name="run", daemon=True).start()

    def show(self, changes: Mapping[Any, Any]) -> None:
        """Keep what the page is to show now; what a stopped run still says is dropped."""
        with self._lock:
            if self.over:
                return
            self._rev += 1
            self._shown |= {
                part: (self._rev, view) for part, view in changes.items() if view != gr.skip()
            }

    def shows(self, part: Any) -> Any:
        """What a component shows of this run; None if nothing yet."""
        return self._shown.get(part, (0, None))[1]

    def since(self, rev: int) -> tuple[int, Changes]:
        """What has changed after a revision, 0 for everything; and the present revision."""
        with self._lock:
            return self._rev, {part: view for part, (at, view) in self._shown.items() if at > rev}

    def stop(self, last: Mapping[Any, Any] | None = None) -> None:
        """End the run; its place is free at once, or after its present step. `last` is shown."""
        self.show(last or {})
        with self._lock:
            self.over = True
        self.turn.stop()

    def _work(self, steps: Generator[Changes, None, None]) -> None:
        finished = False
        try:
            with closing(steps):
                for changes in itertools.takewhile(lambda _: not self.over, steps):
                    self.show(changes)
            finished = not self.over
        except Exception:
            log.exception("a run failed")
        finally:
            self.over = True
            self.turn.leave(finished)
            return_freed()


async def watch(run: RunThread, noticed: Callable[[], None]) -> AsyncIterator[Changes]:
    """What a run shows, from the beginning to its end; `noticed` is called at every look."""
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
