"""What each published model would take for a clip, here and on common graphics cards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from regrain.editing.errors import EditingError
from regrain.editing.pipeline.estimate import Work, work_of_family
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.devices import choose_device, device_name
from regrain.editing.storage.memory import LEAST_WINDOW, free_memory
from regrain.ui.values.offered_models import CARDS, WISHES, Card, Offered
from regrain.ui.work.costs import Costs, in_words
from regrain.ui.work.wording import duration

SLOW = 3600  # seconds, above which a clip takes too long
_UNKNOWN = "unknown until a clip is open"
_APART = 8  # frames between key frames, where all frames would take too long
_TOGETHER = "\u00a0"  # a space at which no line ends


@dataclass(frozen=True)
class Considered:
    """A published model for a clip on this machine.

    Attributes:
        offered: The model.
        free: Bytes that are free here.
        memory: Bytes that a run takes that is not cut.
        seconds: Of a run here; None if unknown.
        here: The same in words.
        cards: Of a run on common cards, in words.
        sparse: Of a run here of every 8th frame, in words; empty where all frames are
            soon done.
    """

    offered: Offered
    free: int
    memory: int
    seconds: float | None = None
    here: str = _UNKNOWN
    cards: str = _UNKNOWN
    sparse: str = ""

    @property
    def least(self) -> int:
        """The bytes of a run in short windows, as it is cut where memory is short."""
        return self.offered.need.memory(LEAST_WINDOW)

    @property
    def taken(self) -> str:
        """The memory that a run takes here, as it is cut where memory is short."""
        if self.memory <= self.free:
            return f"{self.memory / 1e9:.1f} GB"
        return f"{self.least / 1e9:.1f} GB in short windows"

    @property
    def use(self) -> int:
        """How far it can be used here, the best first: 0, 1 if it takes longer than
        anybody waits, 2 if it does not fit."""
        if self.least > self.free:
            return 2
        return int((self.seconds or 0) > SLOW)

    @property
    def trouble(self) -> str:
        """Why it is of no use here; empty if it is."""
        needed = f"it takes {self.least / 1e9:.1f} GB of memory at least"
        slow = f"Too slow here: {self.here} for this clip."
        if self.sparse:
            slow = f"{slow} With every {_APART}th frame as a key frame: {self.sparse}."
        return ("", slow, f"Does not fit here: {needed}.")[self.use]


def consider(offered: Offered, request: EditRequest | None, costs: Costs) -> Considered:
    """Count what a model takes for a clip; without one, for a short window."""
    free = free_memory(choose_device())
    found = Considered(offered, free, offered.need.memory(LEAST_WINDOW))
    if request is None:
        return found
    asked = replace(
        request,
        model=offered.id,
        method=offered.method,
        params=offered.params,
    )
    with suppress(EditingError):  # its words or masks are not finished
        work, memory = work_of_family(asked, offered.need)
        seconds, here = _here(asked, offered, work, costs)
        cards = _on_cards(offered, work)
        found = Considered(offered, free, memory, seconds, here, cards)
        is_long = len(asked.clip) > _APART
        # A video model takes frames as they follow each other.
        if found.use == 1 and is_long and "flow" not in offered.family.offers:
            sparse = {**asked.params, "keyframes": f"every {_APART}"}
            fewer = replace(asked, params=sparse)
            work, _ = work_of_family(fewer, offered.need)
            found = replace(found, sparse=_here(fewer, offered, work, costs)[1])
    return found


def _here(
    asked: EditRequest, offered: Offered, work: Work, costs: Costs
) -> tuple[float | None, str]:
    """Return the seconds of a run on this machine, and what to say of them."""
    if promise := costs.about(asked, needed=work):
        return promise.seconds, in_words(promise.seconds, promise.off)
    name = device_name(choose_device())
    for card in CARDS:
        if card.name in name:
            seconds = _seconds_on(card, offered, work)
            return seconds, f"about {duration(seconds)}"
    return None, "unknown until a first run"


def _seconds_on(card: Card, offered: Offered, work: Work) -> float:
    """Return the seconds of a run on a card."""
    return (work.inverting + work.editing) / 1e12 / card.speed(offered)


def _on_cards(offered: Offered, work: Work) -> str:
    """Say how long a run takes on common cards, and how that is known."""
    least = offered.need.on_gpu(LEAST_WINDOW) / 2**30
    told = []
    for card in CARDS:
        said = duration(_seconds_on(card, offered, work))
        said += " (measured)" if card.knows(offered) else ""
        said = said if least <= card.memory else "too small"
        told.append(f"{card.name}, {card.memory} GB: {said}".replace(" ", _TOGETHER))
    return f"{'; '.join(told)}; counted where not measured"


def recommended(considered: Sequence[Considered]) -> dict[str, Considered]:
    """Return the model for each wish: the best of those that can be used here."""
    by_id = {one.offered.id: one for one in considered}
    return {
        name: min((by_id[id] for id in ids), key=lambda one: one.use)
        for name, (_, ids) in WISHES.items()
    }
