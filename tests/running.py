"""Running a recipe in a test."""

from collections.abc import Generator
from typing import TypeVar

from editing.events import Event

Result = TypeVar("Result")


def finish(events: Generator[Event, None, Result]) -> Result:
    """Run a recipe, or a part of one, to its end; what it returns."""
    try:
        while True:
            next(events)
    except StopIteration as stop:
        return stop.value
