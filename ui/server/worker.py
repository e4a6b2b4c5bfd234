"""A run in a thread of its own, so that the page can stop it and never waits for it."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")

_one_at_a_time = threading.Lock()
_END = object()
_NICENESS = 10  # a tenth of the time of a processor that a click wants too


def in_thread(
    start: Callable[[], Iterator[T]], pulse: float = 0.5, turn: threading.Lock = _one_at_a_time
) -> Generator[T | None, None, None]:
    """Iterate in a thread; closing this generator closes the iterator at its next item.

    Runs of all pages take turns: one that was stopped may still be inside its last step when the next begins.

    Args:
        start: Makes the iterator, in the thread; what it raises is raised here.
        pulse: Seconds after which None is yielded while there is nothing new, so that a close is noticed.
        turn: Held while the thread iterates.
    """
    items: queue.SimpleQueue[object] = queue.SimpleQueue()
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            # Clicks do not wait for runs, nor for threads that they start.
            os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
        try:
            with turn:
                _drain(start, items, stop)
        except BaseException as error:  # noqa: BLE001 - raised again where the run is read
            failures.append(error)
        finally:
            items.put(_END)

    threading.Thread(target=work, name="edit", daemon=True).start()
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


@contextmanager
def free_turn() -> Iterator[bool]:
    """Whether no run is going on; a run that begins meanwhile waits for the end of this block."""
    free = _one_at_a_time.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _one_at_a_time.release()


def _drain(
    start: Callable[[], Iterator[T]], items: queue.SimpleQueue[object], stop: threading.Event
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
