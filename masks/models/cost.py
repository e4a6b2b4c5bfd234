"""What a published SAM costs on this machine: estimated from its size, then measured as it is used."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from regrain.masks.models.checkpoints import Checkpoint, is_loaded

# Seconds of one core of a server, measured with random weights: SAM 2.1 tiny (39 M numbers) encodes a frame
# in 5.7 s and answers a click in 0.15 s; following one region adds 3 s on the first frames, 7 s later.
_ENCODE = 0.15  # per million numbers, of a square of 1024 pixels
_CLICK, _FOLLOW = 0.15, 6.0
_LOAD = 6.0  # importing transformers and reading a small checkpoint
_READ = 0.003  # reading a million numbers from disk
_GPU = 150  # cores that a graphics card is worth
What = Literal["encode", "click", "frame"]


class Cost(NamedTuple):
    """Seconds on this machine.

    Attributes:
        first: For the first click on a frame.
        next: For each click after it.
        frame: For following one region to the next frame; None if it cannot.
        measured: Whether a click was timed; estimated otherwise.
    """

    first: float
    next: float
    frame: float | None
    measured: bool

    def in_words(self) -> str:
        """What a person wants to know before the first use."""
        said = f"{_seconds(self.first)} for the first click on a frame, then {_seconds(self.next)}"
        return (
            f"{said}; {_seconds(self.frame)} to follow a frame" if self.frame is not None else said
        )


_measured: dict[tuple[str, What], float] = {}


def cost(checkpoint: Checkpoint) -> Cost:
    """What a checkpoint takes here: measured in this process, or else estimated from its size."""
    area, power = (checkpoint.side / 1024) ** 2, _power()
    million = checkpoint.parameters / 1e6
    known = {
        what: seconds for (name, what), seconds in _measured.items() if name == checkpoint.name
    }
    encode = known.get("encode", _ENCODE * million * area / power)
    click = known.get("click", _CLICK / power)
    frame = known.get("frame", (_ENCODE * million + _FOLLOW) * area / power)
    load = 0.0 if is_loaded(checkpoint) else _LOAD + _READ * million
    return Cost(
        load + encode + click, click, frame if checkpoint.kind.tracking else None, "encode" in known
    )


@contextmanager
def timing(checkpoint: Checkpoint, what: What) -> Iterator[None]:
    """Time what is done in this block; what it took last is what it is said to take."""
    began = time.perf_counter()
    yield
    _measured[checkpoint.name, what] = time.perf_counter() - began


def _power() -> float:
    """What this machine is worth in cores."""
    import torch

    return float(
        _GPU if torch.cuda.is_available() else min(torch.get_num_threads(), os.cpu_count() or 1)
    )


def _seconds(value: float) -> str:
    if value < 0.95:
        return "less than a second"
    if value < 90:
        return f"about {value:.0f} s"
    return f"about {value / 60:.0f} min"
