"""What each published model would take for a clip here, and which one to recommend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regrain.editing.params.registry import check_params
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.memory import LEAST_WINDOW, MOST_WINDOW, free_memory
from regrain.ui.values.offered_models import WISHES, Offered


@dataclass(frozen=True)
class Considered:
    """A published model for a clip on this machine.

    Attributes:
        offered: The model.
        free: Bytes that are free here.
        memory: Bytes that a run takes that is not cut.
    """

    offered: Offered
    free: int
    memory: int

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
    def fits(self) -> bool:
        """Tell whether it can be used here."""
        return self.least <= self.free

    @property
    def trouble(self) -> str:
        """Why it is of no use here; empty if it is."""
        if self.fits:
            return ""
        needed = f"{self.least / 1e9:.1f} GB of memory"
        return f"Does not fit here: it takes {needed} at least."


def consider(offered: Offered, request: EditRequest | None) -> Considered:
    """Count what a model takes for a clip; without one, for a short window."""
    free = free_memory(choose_device())
    together = LEAST_WINDOW
    if request is not None:
        params = check_params(offered.method, offered.params)
        together = min(len(request.clip), params.together or MOST_WINDOW)
    return Considered(offered, free, offered.need.memory(together))


def recommended(considered: Sequence[Considered]) -> dict[str, Considered]:
    """Return the model for each wish: the best of those that can be used here."""
    by_id = {one.offered.id: one for one in considered}
    return {
        name: max((by_id[id] for id in ids), key=lambda one: one.fits)
        for name, (_, ids) in WISHES.items()
    }
