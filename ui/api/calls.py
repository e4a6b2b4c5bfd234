"""API calls in flight: queued, and cancelled when their client disconnects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from regrain.editing.errors import RequestError
from regrain.ui.api.endpoints import Caller
from regrain.ui.server.run_queue import PER_PROGRAM, RunQueue, Ticket, Visitor
from regrain.ui.server.worker import in_thread

T = TypeVar("T")
_PATIENCE = 1.0  # seconds between looks at whose turn it is


class ClientDisconnected(RequestError):
    """Nobody waits for the result any more."""

    def __init__(self) -> None:
        super().__init__("call", "It was stopped, since the program disconnected. Call again.")


class Calls:
    """The calls of all programs. One address has only so many at a time."""

    def __init__(self) -> None:
        self._going: dict[str, set[Ticket]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def enter(self, turns: RunQueue, caller: Caller) -> Iterator[Ticket]:
        """Take a place in a queue, which is given back at the end.

        Raises:
            ResourceError: See `RunQueue.enter`.
        """
        turn = turns.enter(Visitor(f"programs at {caller.address}", caller.address, PER_PROGRAM))
        with self._lock:
            self._going.setdefault(caller.session, set()).add(turn)
        finished = False
        try:
            yield turn
            finished = True
        finally:
            turn.leave(finished)
            with self._lock:
                going = self._going.get(caller.session, set())
                going.discard(turn)
                if not going:
                    self._going.pop(caller.session, None)

    def leave(self, session: str) -> None:
        """A connection has ended: its calls end at their next step."""
        with self._lock:
            going = list(self._going.get(session, ()))
        for turn in going:
            turn.stop()


def wait(turn: Ticket, noticed: Callable[[], None]) -> None:
    """Wait until it is one's turn; `noticed` is called at every look.

    Raises:
        ClientDisconnected: The program has left.
    """
    while not turn.wait(_PATIENCE):
        check(turn)
        noticed()


def check(turn: Ticket) -> None:
    """Raise `ClientDisconnected` if the program has left."""
    if turn.ending:
        raise ClientDisconnected


def follow(turn: Ticket, start: Callable[[], Iterator[T]], noticed: Callable[[], None]) -> Iterator[T]:
    """Iterate in the worker's thread while the program is there; `noticed` is called again and again.

    Raises:
        ClientDisconnected: The program has left.
    """
    with closing(in_thread(start)) as items:
        for item in items:
            check(turn)
            noticed()
            if item is not None:
                turn.follow(item)
                yield item
