"""Running a recipe in a test."""

from collections.abc import Generator
from typing import TypeVar

import torch

from regrain.editing.recipe.events import Event

Result = TypeVar("Result")


def followed(events: Generator[Event, None, Result]) -> tuple[Result, list[Event]]:
    """Run a recipe, or a part of one, to its end; what it returns, and its events."""
    seen = []
    # Types are checked around a recipe, which hides from its own `no_grad` that it is a
    # generator.
    with torch.no_grad():
        try:
            while True:
                seen.append(next(events))
        except StopIteration as stop:
            return stop.value, seen


def finish(events: Generator[Event, None, Result]) -> Result:
    """What a recipe, or a part of one, returns."""
    return followed(events)[0]
