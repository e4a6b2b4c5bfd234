"""Threads for what is around a network, each of which does all of its work itself.

Each piece is so small that the threads of PyTorch would wait for each other,
longest on a busy machine. OpenCV, NumPy and PyTorch let other threads go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier, current_thread
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")
_NAME = "regrain-alone"


def each(work: Callable[[T], Result], items: Iterable[T]) -> list[Result]:
    """Do a piece of work for each item, on all cores, and return the results in order;
    within such a piece one after the other.

    If one fails, those that have begun have ended, and the others do not begin.
    """
    import torch

    if current_thread().name.startswith(_NAME):
        return [work(item) for item in items]
    begun = [alone(torch.get_num_threads()).submit(work, item) for item in items]
    try:
        return [one.result() for one in begun]
    finally:
        for one in begun:
            one.cancel()
        wait(begun)


@cache
def alone(count: int) -> ThreadPoolExecutor:
    """Return so many threads that work alone."""
    import torch

    usual = torch.get_num_threads()
    ready = Barrier(count)

    def begin() -> None:
        torch.set_num_threads(1)
        # A thread has what was set last, in whichever thread, when it first asks.
        torch.get_num_threads()
        ready.wait()

    threads = ThreadPoolExecutor(count, _NAME, begin)
    list(threads.map(int, range(count)))  # begins all of them
    torch.set_num_threads(usual)
    return threads


if hasattr(os, "register_at_fork"):  # which Windows does not have
    os.register_at_fork(after_in_child=alone.cache_clear)
