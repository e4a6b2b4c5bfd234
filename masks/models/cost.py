"""Seconds that a published SAM takes on this machine: estimated from its size, then
measured in use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from regrain.editing.storage.devices import on_gpu
from regrain.masks.models.checkpoints import Checkpoint, is_loaded

# Seconds of one core of a server, measured with random weights: SAM 2.1 tiny (39 M
# numbers) encodes a frame in 5.7 s and answers a click in 0.15 s; following one region
# adds 3 s on the first frames, 7 s later.
_ENCODE = 0.15  # per million numbers, of a square of 1024 pixels
_CLICK, _FOLLOW = 0.15, 6.0
_LOAD = 6.0  # importing transformers and reading a small checkpoint
_READ = 0.003  # reading a million numbers from disk
_GPU = 150  # cores that a graphics card is worth
Work = Literal["encode", "click", "frame"]


class Cost(NamedTuple):
    """Seconds on this machine.

    Attributes:
        first: For the first click on a frame.
        next: For each click after it.
        frame: For following one region to the next frame; None if it cannot.
    """

    first: float
    next: float
    frame: float | None

    def in_words(self) -> str:
        """Say the cost before the first use: "about 6 s for the first click on a frame,
        then ..."."""
        said = f"{_seconds(self.first)} for the first click on a frame, then {_seconds(self.next)}"
        if self.frame is not None:
            said += f"; {_seconds(self.frame)} to follow a frame"
        return said


_measured: dict[tuple[str, Work], float] = {}


def cost(checkpoint: Checkpoint) -> Cost:
    """Return the seconds that were measured in this process, or else an estimate from
    the size."""
    import torch

    area = (checkpoint.side / 1024) ** 2
    cores = min(torch.get_num_threads(), os.cpu_count() or 1)
    power = _GPU if on_gpu() else cores
    million = checkpoint.parameters / 1e6
    estimates: dict[Work, float] = {
        "encode": _ENCODE * million * area / power,
        "click": _CLICK / power,
        "frame": (_ENCODE * million + _FOLLOW) * area / power,
    }
    seconds = {
        work: _measured.get((checkpoint.name, work), estimate)
        for work, estimate in estimates.items()
    }
    load = 0.0 if is_loaded(checkpoint) else _LOAD + _READ * million
    return Cost(
        first=load + seconds["encode"] + seconds["click"],
        next=seconds["click"],
        frame=seconds["frame"] if checkpoint.kind.tracking else None,
    )


@contextmanager
def timing(checkpoint: Checkpoint, work: Work) -> Iterator[None]:
    """Time the block; `cost` returns the seconds that it took last."""
    began = time.perf_counter()
    yield
    _measured[checkpoint.name, work] = time.perf_counter() - began


def _seconds(value: float) -> str:
    if value < 0.95:
        return "less than a second"
    if value < 90:
        return f"about {value:.0f} s"
    return f"about {value / 60:.0f} min"
