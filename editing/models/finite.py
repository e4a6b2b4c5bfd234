"""Results that must be finite: each check waits for the device, so a step that makes
several calls of a model may check them together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from regrain.editing.diffusion.schedule import Step
from regrain.editing.models.turns import diverged

_together: ContextVar[list[Tensor] | None] = ContextVar("together", default=None)


@contextmanager
def checked_together(step: Step) -> Iterator[None]:
    """Check the results of all calls of a model inside by one wait, at the end.

    Raises:
        DivergedError: One of them has NaN or Inf; which layer made it is not known.
    """
    found: list[Tensor] = []
    token = _together.set(found)
    try:
        yield
    finally:
        _together.reset(token)
    if found and not torch.stack(found).all():
        raise diverged("latents", step)


def is_finite(result: Tensor) -> bool:
    """Check that a result has no NaN or Inf; within `checked_together` that is found
    later."""
    found = _together.get()
    every = result.isfinite().all()
    if found is None:
        return bool(every)
    found.append(every)
    return True
