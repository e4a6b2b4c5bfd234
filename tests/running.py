"""Running a recipe in a test."""

from collections.abc import Generator
from typing import TypeVar

import torch

from regrain.editing.recipe.events import Event

Result = TypeVar("Result")


def finish(events: Generator[Event, None, Result]) -> Result:
    """Run a recipe, or a part of one, to its end; what it returns."""
    # Types are checked around a recipe, which hides from its own `no_grad` that it is a generator.
    with torch.no_grad():
        try:
            while True:
                next(events)
        except StopIteration as stop:
            return stop.value
