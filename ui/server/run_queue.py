"""Whose turn it is: one at a time, in turns between visitors, and only so many for
each."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
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
    """A page, or the programs at one network address."""

    name: str  # the page's, or that of all programs at an address
    address: str  # network address
    most: int = PER_PAGE  # runs this visitor may have at a time, waiting ones included
    away: Callable[[], float] = lambda: 0.0  # returns for how many seconds

    @property
    def gone(self) -> bool:
        """True if it has been away for so long that others come first."""
        return self.away() > GONE


class RunQueue:
    """Hands out one turn at a time.

    A visitor's second run comes after everybody's first; among equals, the first to
    come is first. Visitors who have gone come last. Work that counts for no visitor
    comes before them all, see `enter_first`.

    A turn is held until no thread shares its ticket any more. So a page can drop a run
    at once, while the thread that works for it finishes its last step before the next
    run begins.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed = threading.Condition()
        self._clock = clock
        self._waiting: list[Ticket] = []
        self._running: Ticket | None = None
        self._started = 0.0
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        # Start-time fair queueing (Goyal et al. 1996), each run of length 1.
        self._round = 0
        self._next: dict[str, int] = {}

    def enter(self, visitor: Visitor) -> Ticket:
        """Take a place; a ResourceError if the visitor, the address or all together
        have too many."""
        with self.changed:
            # Those that wait or run, and were not stopped.
            counted = [
                one.visitor
                for one in (*self._waiting, self._running)
                if one and one.visitor and not one.ending
            ]
            _check_limits(visitor, counted)
            if not counted:
                self._round = 0
                self._next = {}
            start = max(self._round, self._next.get(visitor.name, 0))
            self._next[visitor.name] = start + 1
            return self._add(Ticket(self, visitor, start))

    def enter_first(self) -> Ticket:
        """Take the place before all visitors, behind others like it, for work that is
        no run of theirs."""
        with self.changed:
            return self._add(Ticket(self))

    def _add(self, ticket: Ticket) -> Ticket:
        self._waiting.append(ticket)
        self.changed.notify_all()
        return ticket

    def _take(self, ticket: Ticket) -> bool:
        """Start the ticket if it is first; stop the run of a visitor who disconnected.

        Returns:
            Whether the ticket has the turn.
        """
        present = ticket.visitor is not None and not ticket.visitor.gone
        if self._running and self._running.gone and present:
            self._running.ending = True
        if self._running is None and self._waiting and self._order()[0] is ticket:
            self._waiting.remove(ticket)
            self._running = ticket
            self._started = self._clock()
            if ticket.visitor:
                self._round = ticket.start
            self.changed.notify_all()
        return self._running is ticket

    def _order(self) -> list[Ticket]:
        """The waiting tickets, the next one first."""

        def rank(ticket: Ticket) -> tuple[bool, bool, int]:
            return ticket.visitor is not None, ticket.gone, ticket.start

        return sorted(self._waiting, key=rank)

    def _seconds_until(self, ahead: int, running: Ticket | None) -> float | None:
        """Seconds until `ahead` runs, and the one that runs, are over; None where
        nobody knows."""
        usual = sum(self._seconds) / len(self._seconds) if self._seconds else None
        left = 0.0
        if running:
            ends = running.ends
            if ends is None:
                if usual is None:
                    return None
                ends = self._started + usual
            left = max(ends - self._clock(), 1.0)
        if not ahead:
            return left
        return None if usual is None else left + ahead * usual

    def _remove(self, ticket: Ticket) -> None:
        """Free the place or the turn of a ticket; does nothing if it has neither."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            self._move_up_behind(ticket)
        elif self._running is ticket:
            self._running = None
            if ticket.finished:
                self._seconds.append(self._clock() - self._started)
        self.changed.notify_all()

    def _move_up_behind(self, ticket: Ticket) -> None:
        """Let the later runs of a visitor move up by the place of one that is not
        wanted any more."""
        if ticket.visitor is None:
            return
        name = ticket.visitor.name
        for other in self._waiting:
            if (
                other.visitor
                and other.visitor.name == name
                and other.start > ticket.start
            ):
                other.start -= 1
        self._next[name] = max(self._next.get(name, 0) - 1, 0)


class Ticket:
    """A place in the queue, then the turn; as a context it is left at the end.

    Attributes:
        visitor: Whose it is; None for work that counts for no visitor.
        start: The round in which it is served.
        ending: It was stopped, and may still be inside its last step.
        ends: When the run expects to end, by the queue's clock; None while that is
            unknown.
        finished: The run came to its end.
    """

    def __init__(
        self, queue: RunQueue, visitor: Visitor | None = None, start: int = 0
    ) -> None:
        self.visitor = visitor
        self.start = start
        self.ending = False
        self.ends: float | None = None
        self.finished = False
        self._queue = queue
        self._sharers = 1

    @property
    def gone(self) -> bool:
        """True if its visitor has gone, so that others come first."""
        return self.visitor is not None and self.visitor.gone

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the turn.

        Returns:
            Whether the turn has come.
        """
        with self._queue.changed:
            if not self._queue._take(self):
                self._queue.changed.wait(seconds)
            return self._queue._take(self)

    def before(self) -> tuple[int, float | None]:
        """Count the runs before this one, and the seconds they will take; None where
        nobody knows."""
        queue = self._queue
        with queue.changed:
            if self not in queue._waiting:
                return 0, 0.0
            ahead = queue._order().index(self)
            running = queue._running
            if running and running.ending:  # it ends with its present step
                running = None
            return ahead + (running is not None), queue._seconds_until(ahead, running)

    def follow(self, event: object) -> None:
        """Learn from an event of the run that has the turn when it expects to end."""
        if not isinstance(event, Progress) or event.stage != "editing":
            return
        if event.seconds_left is not None:
            self.ends = self._queue._clock() + event.seconds_left

    def share(self) -> None:
        """Let one more thread hold the place or the turn, until it calls `unshare`."""
        with self._queue.changed:
            self._sharers += 1

    def unshare(self) -> None:
        """Give a share back; the last one frees the place or the turn."""
        with self._queue.changed:
            self._sharers -= 1
            if self._sharers == 0:
                self._queue._remove(self)

    def stop(self) -> None:
        """Free a waiting place at once; a run that has the turn gives it back when its
        step ends."""
        with self._queue.changed:
            self.ending = True
            if self in self._queue._waiting:
                self._queue._remove(self)

    def leave(self, finished: bool = False) -> None:
        """Give the place or the turn back, once no thread shares it; `finished` if the
        run has ended well."""
        with self._queue.changed:
            self.finished = finished
            self.ending = True
            self.unshare()

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *raised: object) -> None:
        self.leave()


def _check_limits(visitor: Visitor, there: Sequence[Visitor]) -> None:
    """Refuse, by a ResourceError, a run of a visitor beside the runs of those who are
    there."""
    own = sum(other.name == visitor.name for other in there)
    if own >= visitor.most:
        said = f"You already have {own} runs in progress or waiting."
        raise ResourceError("queue", f"{said} Wait until one ends, or remove one.")
    nearby = sum(other.address == visitor.address for other in there)
    if nearby >= PER_ADDRESS:
        raise ResourceError(
            "queue", "Too many runs from your network are waiting. Try again later."
        )
    if len(there) >= MAX_WAITING:
        raise ResourceError("queue", f"{len(there)} runs are waiting. Try again later.")
