"""Clocks of a run: the seconds of each stage, and estimates of the seconds that are
left."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from regrain.editing.recipe.events import Progress, WindowStarted
from regrain.editing.storage.memory import peak_memory

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class RunClock:
    """The clock of a run: the seconds of each stage, and the rest of the current one; or
    of a clip in several windows, estimated by those that were edited before.

    Attributes:
        device: Device whose memory is logged; None before the model is loaded.
        seconds: Seconds of each stage that has ended.
    """

    def __init__(self) -> None:
        self.device: torch.device | None = None
        self.seconds: dict[str, float] = {}
        self._stage = ""
        self._since = 0.0
        # The last progress, and when its unit ended.
        self._done = 0
        self._total = 0
        self._ended = 0.0
        # Units before the present count, and when it began.
        self._first = 0
        self._begun = 0.0
        self._window: WindowStarted | None = None
        self._began = 0.0  # when the present window began
        self._edits = False  # whether it is edited, not taken from the cache
        # Seconds and work of the windows that were edited.
        self._window_seconds = 0.0
        self._work = 0

    def enter(self, stage: str) -> None:
        """End the current stage and begin another; "" begins none."""
        now = time.perf_counter()
        if self._stage:
            spent = now - self._since
            before = self.seconds.get(self._stage, 0.0)
            self.seconds[self._stage] = round(before + spent, 3)
            peak = ""
            if self.device is not None:
                peak = f", peak memory {peak_memory(self.device) / 1e6:.0f} MB"
            log.info("%s took %.1f s%s", self._stage, spent, peak)
        self._stage = stage
        self._since = now
        self._ended = now
        self._done = 0
        self._total = 0

    def _left_of_stage(self, done: int, total: int) -> float | None:
        """Estimate the seconds until the stage ends, when so many of its units are
        done, of so many in total.

        They follow from the units so far, counted anew when the stage starts over; None
        after a jump, which took no time per unit.
        """
        now = time.perf_counter()
        continues = total == self._total and done == self._done + 1
        if not continues and done == 1:
            self._first = 0
            self._begun = self._ended
        elif not continues:
            self._first = done
            self._begun = now
        self._done = done
        self._total = total
        self._ended = now
        units = done - self._first
        if units == 0:
            return None
        return (now - self._begun) / units * (total - done)

    def begin(self, window: WindowStarted | None) -> None:
        """End the current window and begin another, or none."""
        now = time.perf_counter()
        if self._window and self._edits:
            self._window_seconds += now - self._began
            self._work += self._window.work
        self._window = window
        self._began = now
        self._edits = False

    def left(self, event: Progress) -> float | None:
        """Estimate the seconds left: of all windows, or of the stage as long as that is
        not known."""
        if event.stage == "editing":
            self._edits = True
        if self._window is None or self._work == 0:
            return self._left_of_stage(event.done, event.total)
        spent = time.perf_counter() - self._began
        each = self._window_seconds / self._work
        return max(0.0, each * self._window.left - spent)
