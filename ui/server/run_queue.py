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
_REMEMBERED = 8  # runs whose mean length predicts the next


@dataclass(frozen=True)
class Visitor:
    """Who wants a run.

    Attributes:
        name: The page's, or that of all programs at an address.
        address: Network address.
        most: Runs this visitor may have at a time, waiting ones included.
    """

    name: str
    address: str
    most: int = 1


class RunQueue:
    """Hands out one turn at a time.

    A visitor's second run comes after everybody's first; among equals, the first to come is first.

    Args:
        clock: Seconds, growing.
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
        """Take a place in the queue.

        Raises:
            ResourceError: The visitor, the address or all visitors together have too many.
        """
        with self.changed:
            there = [turn for turn in (*self._waiting, self._running) if turn and not turn.ending]
            own = sum(turn.visitor.name == visitor.name for turn in there)
            if own >= visitor.most:
                raise ResourceError("queue", _too_many_own(visitor.most))
            if sum(turn.visitor.address == visitor.address for turn in there) >= PER_ADDRESS:
                raise ResourceError("queue", "Too many runs from your network are waiting. Try again later.")
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

    def take(self, turn: Ticket, seconds: float) -> bool:
        """Wait at most so long for a turn; whether it has come."""
        with self.changed:
            if not self._mine(turn):
                self.changed.wait(seconds)
            return self._mine(turn)

    def _mine(self, turn: Ticket) -> bool:
        if self._running is None and turn in self._waiting and self._order()[0] is turn:
            self._waiting.remove(turn)
            self._running, self._started, self._round = turn, self._clock(), turn.start
            self.changed.notify_all()
        return self._running is turn

    def leave(self, turn: Ticket, finished: bool) -> None:
        """Give a place or a turn back; `finished` if the run came to its end."""
        with self.changed:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._next[turn.visitor.name] = turn.start
            elif self._running is turn:
                self._running = None
                if finished:
                    self._seconds.append(self._clock() - self._started)
            self.changed.notify_all()

    def before(self, turn: Ticket) -> tuple[int, float | None]:
        """How many runs come before this one, and the seconds they will take; None where nobody knows."""
        with self.changed:
            if turn not in self._waiting:
                return 0, 0.0
            ahead = self._order().index(turn)
            return ahead + (self._running is not None), self._wait(ahead)

    def _order(self) -> list[Ticket]:
        return sorted(self._waiting, key=lambda turn: turn.start)

    def _wait(self, ahead: int) -> float | None:
        usual = sum(self._seconds) / len(self._seconds) if self._seconds else None
        left = 0.0
        if self._running:
            now, told = self._clock(), self._running.told
            if told is None and usual is None:
                return None
            ends = told if told is not None else self._started + (usual or 0.0)
            left = max(ends - now, 1.0)
        if ahead and usual is None:
            return None
        return left + ahead * (usual or 0.0)


class Ticket:
    """A place in the queue."""

    def __init__(self, turns: RunQueue, visitor: Visitor, start: int) -> None:
        self._turns, self.visitor, self.start = turns, visitor, start
        self.ending = False  # stopped, and maybe still inside its last step
        self.told: float | None = None  # when the run expects to end, by the queue's clock

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the turn; whether it has come."""
        return self._turns.take(self, seconds)

    def before(self) -> tuple[int, float | None]:
        """How many runs come before this one, and the seconds they will take; None where nobody knows."""
        return self._turns.before(self)

    def follow(self, event: object) -> None:
        """Learn from an event of the run that has the turn when it expects to end."""
        if isinstance(event, Progress) and event.stage == "editing" and event.seconds_left is not None:
            self.told = self._turns._clock() + event.seconds_left

    def stop(self) -> None:
        """Free a waiting place at once; a run that has the turn gives it back when its step ends."""
        self.ending = True
        with self._turns.changed:
            if self in self._turns._waiting:
                self._turns.leave(self, finished=False)

    def leave(self, finished: bool = False) -> None:
        """Give the place back; `finished` if the run came to its end."""
        self._turns.leave(self, finished)


def _too_many_own(most: int) -> str:
    if most == 1:
        return "This page already has a run. Wait for it, or stop it first."
    return f"You already have {most} runs in progress or waiting. Wait until one ends."
