"""Work in threads of their own, so that a page can stop it and never waits for it."""

from __future__ import annotations

import contextvars
import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from regrain.ui.server.run_queue import Ticket

T = TypeVar("T")

_END = object()
_NICENESS = 10  # a tenth of the time of a processor that a click wants too


def start_thread(work: Callable[[], object], name: str) -> None:
    """Begin work in a thread that sees the context of its caller: ZeroGPU reads there
    whose request it is."""
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()


def in_thread(
    start: Callable[[], Iterator[T]], turn: Ticket, pulse: float = 0.5
) -> Generator[T | None, None, None]:
    """Iterate in a thread once a turn has come; closing this generator closes the
    iterator at its next item.

    Args:
        start: Makes the iterator, in the thread; what it raises is raised here.
        turn: Shared until the iterator has ended, which may be after this generator was
            closed.
        pulse: Seconds after which None is yielded while there is nothing new, so that a
            close is noticed.
    """
    items: queue.SimpleQueue[object] = queue.SimpleQueue()
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            if sys.platform == "linux":  # elsewhere a thread has no priority of its own
                # Lower than that of clicks, also of the threads that this one starts.
                niceness = max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
            while not stop.is_set():  # until nobody wants the work any more
                if turn.wait(pulse):
                    _drain(start, items, stop)
                    break
        except BaseException as error:  # noqa: BLE001 - raised again where the items are read
            failures.append(error)
        finally:
            turn.unshare()
            items.put(_END)

    turn.share()
    try:
        start_thread(work, "edit")
    except BaseException:  # no thread can be had: nobody else gives the share back
        turn.unshare()
        raise
    try:
        while True:
            item: Any = None
            with suppress(queue.Empty):
                item = items.get(timeout=pulse)
            if item is _END:
                break
            yield item
    finally:
        stop.set()
    if failures:
        raise failures[0]


def _drain(
    start: Callable[[], Iterator[T]],
    items: queue.SimpleQueue[object],
    stop: threading.Event,
) -> None:
    if stop.is_set():
        return
    iterator = start()
    try:
        for item in iterator:
            items.put(item)
            if stop.is_set():
                return
    finally:
        if close := getattr(iterator, "close", None):
            close()
