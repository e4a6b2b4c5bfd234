"""Handlers declare, where they answer, which components they change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gradio.blocks import Block

from regrain.ui.handlers.base import Components

Outputs = Callable[[Components], list[Block]]
Handler = TypeVar("Handler", bound=Callable[..., object])
_NAME = "declared_outputs"


def outputs(choose: Outputs) -> Callable[[Handler], Handler]:
    """Declare the components that a handler may change: `@outputs(lambda p: [p.canvas,
    p.cards])`."""

    def declare(handler: Handler) -> Handler:
        setattr(handler, _NAME, choose)
        return handler

    return declare


def outputs_of(handler: Callable[..., object], parts: Components) -> list[Block]:
    """Return the components of a page that a handler has declared to change."""
    return getattr(handler, _NAME)(parts)
