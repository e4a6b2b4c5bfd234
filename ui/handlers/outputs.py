"""Handlers declare, where they answer, which components they change, and answer by the
names of these."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from functools import wraps
from typing import Any, TypeVar

import gradio as gr
from gradio.blocks import Block

from regrain.ui.handlers.base import Components
from regrain.ui.server.runs import Changes

Handler = TypeVar("Handler", bound=Callable[..., object])
_NAME = "declared_outputs"
Shown = dict[Block, object]
"""What components show."""


def outputs(*names: str) -> Callable[[Handler], Handler]:
    """Declare the components that a handler may change, by name."""

    def declare(handler: Handler) -> Handler:
        setattr(handler, _NAME, names)
        return handler

    return declare


def answering(handler: Any) -> tuple[Callable[..., object], list[Block]]:
    """Return a method of `Handlers` as Gradio calls it, which answers by component, and
    the components of its page that it has declared to change."""
    parts: Components = handler.__self__.parts
    names: tuple[str, ...] = getattr(handler, _NAME)
    changed: dict[str, Block] = {name: getattr(parts, name) for name in names}
    first, *_ = changed.values()

    def by_component(changes: Changes) -> Shown:
        # without a word, gradio would empty all that may change
        named = {changed[name]: shown for name, shown in changes.items()}
        return named or {first: gr.skip()}

    def answer(*values: object) -> Shown:
        return by_component(handler(*values))

    def steps(*values: object) -> Iterator[Shown]:
        with closing(handler(*values)) as answers:
            for changes in answers:
                yield by_component(changes)

    async def waits(*values: object) -> AsyncIterator[Shown]:
        async with aclosing(handler(*values)) as answers:
            async for changes in answers:
                yield by_component(changes)

    called: Callable[..., object] = answer
    if inspect.isgeneratorfunction(handler):
        called = steps
    elif inspect.isasyncgenfunction(handler):
        called = waits
    return wraps(handler)(called), [*changed.values()]
