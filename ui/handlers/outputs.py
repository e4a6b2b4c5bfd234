"""Handlers declare, where they answer, which components they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from regrain.ui.handlers.base import Components

Outputs = Callable[[Components], list[Any]]
Handler = TypeVar("Handler", bound=Callable[..., Any])
_NAME = "changed_components"


def changes(outputs: Outputs) -> Callable[[Handler], Handler]:
    """Declare the components that a handler may change: `@changes(lambda p: [p.canvas, p.cards])`."""

    def declare(handler: Handler) -> Handler:
        setattr(handler, _NAME, outputs)
        return handler

    return declare


def outputs_of(handler: Callable[..., Any], parts: Components) -> list[Any]:
    """Return the components of a page that a handler has declared to change."""
    return getattr(handler, _NAME)(parts)
