"""Whose run is next: one at a time, in turns between visitors, and only so many for each."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from regrain.editing.errors import ResourceError
from regrain.editing.recipe.events import Progress

MAX_WAITING = 64  # runs of all visitors, the one that runs included
PER_ADDRESS = 24  # of one network address: a class shares one
PER_PROGRAM = 3  # of programs at one address: one runs, two wait
PER_PAGE = 6
GONE = 30.0  # seconds after which a visitor who is away makes room for others
_REMEMBERED = 8  # runs whose mean length predicts the next


@dataclass(frozen=True)
class Visitor:
    """Who wants a run."""

    name: str  # the page's, or that of all programs at an address
    address: str  # network address
    most: int = PER_PAGE  # runs this visitor may have at a time, waiting ones included
    away: Callable[[], float] = lambda: 0.0  # for how many seconds

    @property
    def gone(self) -> bool:
        """Whether others come first."""
        return self.away() > GONE


class RunQueue:
    """Hands out one turn at a time.

    A visitor's second run comes after everybody's first; among equals, the first to come is first. Who has
    gone comes last.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed, self._clock = threading.Condition(), clock
        self._waiting: list[Ticket] = []
        self._running: Ticket | None = None
        self._started = 0.0
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        # Start-time fair queueing (Goyal et al. 1996), each run of length 1.
        self._round, self._next = 0, dict[str, int]()

    def enter(self, visitor: Visitor) -> Ticket:
        """Take a place; a ResourceError if the visitor, the address or all together have too many."""
        with self.changed:
            there = [turn for turn in (*self._waiting, self._running) if turn and not turn.ending]
            own = sum(turn.visitor.name == visitor.name for turn in there)
            if own >= visitor.most:
                said = f"You already have {own} runs in progress or waiting."
                raise ResourceError("queue", f"{said} Wait until one ends, or remove one.")
            if sum(turn.visitor.address == visitor.address for turn in there) >= PER_ADDRESS:
                raise ResourceError(
                    "queue", "Too many runs from your network are waiting. Try again later."
                )
            if len(there) >= MAX_WAITING:
                raise ResourceError("queue", f"{len(there)} runs are waiting. Try again later.")
            if not there:
                self._round, self._next = 0, {}
            start = max(self._round, self._next.get(visitor.name, 0))
            self._next[visitor.name] = start + 1
            turn = Ticket(self, visitor, start)
            self._waiting.append(turn)
            self.changed.notify_all()
            return turn

    def _take(self, ticket: Ticket) -> bool:
        """Give the turn to a ticket if it is next; whether it has it. The run of who has gone is to end."""
        if self._running and self._running.visitor.gone and not ticket.visitor.gone:
            self._running.ending = True
        if self._running is None and ticket in self._waiting and self._order()[0] is ticket:
            self._waiting.remove(ticket)
            self._running, self._started, self._round = ticket, self._clock(), ticket.start
            self.changed.notify_all()
        return self._running is ticket

    def _order(self) -> list[Ticket]:
        return sorted(self._waiting, key=lambda turn: (turn.visitor.gone, turn.start))

    def _wait(self, ahead: int) -> float | None:
        """Seconds until so many runs, and the one that runs, are over."""
        usual = sum(self._seconds) / len(self._seconds) if self._seconds else None
        if usual is None and (ahead or (self._running and self._running.ends is None)):
            return None
        left = 0.0
        if self._running:
            ends = self._running.ends
            left = max((self._started + usual if ends is None else ends) - self._clock(), 1.0)
        return left + ahead * (usual or 0.0)


class Ticket:
    """A place in the queue."""

    def __init__(self, queue: RunQueue, visitor: Visitor, start: int) -> None:
        self._queue, self.visitor, self.start = queue, visitor, start
        self.ending = False  # stopped, and maybe still inside its last step
        self.ends: float | None = None  # when the run expects to end, by the queue's clock

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the turn; whether it has come."""
        with self._queue.changed:
            if not self._queue._take(self):
                self._queue.changed.wait(seconds)
            return self._queue._take(self)

    def before(self) -> tuple[int, float | None]:
        """How many runs come before this one, and the seconds they will take; None where nobody knows."""
        queue = self._queue
        with queue.changed:
            if self not in queue._waiting:
                return 0, 0.0
            ahead = queue._order().index(self)
            return ahead + (queue._running is not None), queue._wait(ahead)

    def follow(self, event: object) -> None:
        """Learn from an event of the run that has the turn when it expects to end."""
        if (
            isinstance(event, Progress)
            and event.stage == "editing"
            and event.seconds_left is not None
        ):
            self.ends = self._queue._clock() + event.seconds_left

    def swap(self, other: Ticket) -> None:
        """Change places with another of the same visitor, if both still wait."""
        with self._queue.changed:
            if {self, other} <= {*self._queue._waiting}:
                self.start, other.start = other.start, self.start

    def stop(self) -> None:
        """Free a waiting place at once; a run that has the turn gives it back when its step ends."""
        self.ending = True
        with self._queue.changed:
            if self in self._queue._waiting:
                self.leave()

    def leave(self, finished: bool = False) -> None:
        """Give the place or the turn back; `finished` if the run came to its end."""
        queue = self._queue
        with queue.changed:
            if self in queue._waiting:
                queue._waiting.remove(self)
                name = self.visitor.name
                for later in (turn for turn in queue._waiting if turn.visitor.name == name):
                    later.start -= later.start > self.start
                queue._next[name] = max(queue._next.get(name, 0) - 1, 0)
            elif queue._running is self:
                queue._running = None
                if finished:
                    queue._seconds.append(queue._clock() - queue._started)
            queue.changed.notify_all()
