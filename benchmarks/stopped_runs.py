"""Runs that are stopped, each at another place, as the page stops them.

Every run is in a thread of its own, and is closed after some of its events: while it
loads, inverts, edits or decodes.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import threading
import time
from contextlib import closing

from benchmarks.leftovers import Held, count
from regrain.editing import EditRequest, edit, load_backbone
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.worker import in_thread
from storybook.__main__ import as_request
from storybook.world import sample_scene

FRAMES, SIZE, STEPS = 4, 64, 4
_turns = RunQueue()
_WARM = 5  # stops before the first count: libraries keep what they load once


def stop_often(stops: int) -> tuple[Held, Held]:
    """Stop runs, and return what this process held before and after."""
    cache = os.environ.get("REGRAIN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REGRAIN_CACHE"] = folder
        try:
            load_backbone("storybook")
            for number in range(_WARM):
                stop_after(4 * number + 1, number)
            _wait_for_runs()
            before = count()
            for number in range(stops):
                stop_after(number % 17 + 1, number)
            _wait_for_runs()
            return before, count()
        finally:
            os.environ.pop("REGRAIN_CACHE")
            if cache is not None:
                os.environ["REGRAIN_CACHE"] = cache


def stop_after(events: int, seed: int) -> bool:
    """Begin a run and stop it after so many events; return whether it ended before."""
    turn = _turns.enter_first()
    with (
        turn,
        closing(in_thread(lambda: edit(make_request(seed)), turn, pulse=0.05)) as run,
    ):
        for event in run:
            if event is not None:
                events -= 1
            if events <= 0:
                return False
        return True


def make_request(seed: int) -> EditRequest:
    """Return a short edit of a drawn clip."""
    request = as_request(sample_scene(3, FRAMES), SIZE, {"0": "a pig"})
    return dataclasses.replace(request, params={"steps": STEPS}, seed=seed)


def _wait_for_runs(seconds: float = 60) -> None:
    """Wait until stopped runs have ended their last step; one that never does is
    counted."""
    until = time.monotonic() + seconds
    while _any_runs() and time.monotonic() < until:
        time.sleep(0.05)


def _any_runs() -> bool:
    return any(thread.name == "edit" for thread in threading.enumerate())
