"""What runs leave behind that are stopped: `python -m benchmarks.stops` stops 100, each at another place.

Every run is in a thread of its own, as the page has it, and is closed after some of its events: while it
loads, inverts, edits or decodes. The table shows threads, open files, child processes and memory before and
after.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from regrain.editing import EditRequest, edit, load_backbone
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.worker import in_thread
from storybook.__main__ import as_request
from storybook.world import sample_scene

FRAMES, SIZE, STEPS = 4, 64, 4
_turns = RunQueue()
_WARM = 5  # stops before the first count: libraries keep what they load once


class Left(NamedTuple):
    """What a process has: numbers of threads, open files and child processes, and bytes of memory."""

    threads: int
    files: int
    children: int
    memory: int


def count(process: int | None = None) -> Left:
    """What a process has now; None for this one, whose threads are counted that Python knows."""
    gc.collect()
    folder = Path("/proc", str(process or "self"))
    tasks = list((folder / "task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in tasks)
    pages = int((folder / "statm").read_text().split()[1])
    threads = len(tasks) if process else threading.active_count()
    return Left(
        threads, len(os.listdir(folder / "fd")), children, pages * os.sysconf("SC_PAGE_SIZE")
    )


def make_request(seed: int) -> EditRequest:
    """A short edit of a drawn clip."""
    request = as_request(sample_scene(3, FRAMES), SIZE, {"0": "a pig"})
    return dataclasses.replace(request, params={"steps": STEPS}, seed=seed)


def stop_after(events: int, seed: int) -> bool:
    """Begin a run and stop it after so many events; whether it ended before."""
    turn = _turns.enter_first()
    with turn, closing(in_thread(lambda: edit(make_request(seed)), turn, pulse=0.05)) as run:
        for event in run:
            events -= event is not None
            if events <= 0:
                return False
        return True


def stop_often(stops: int) -> tuple[Left, Left]:
    """What there is before and after so many stopped runs."""
    load_backbone("storybook")
    for number in range(_WARM):
        stop_after(4 * number + 1, number)
    _wait_for_runs()
    before = count()
    for number in range(stops):
        stop_after(number % 17 + 1, number)
    _wait_for_runs()
    return before, count()


def _wait_for_runs(seconds: float = 60) -> None:
    """A run that was told to stop first ends its step; one that never does is counted."""
    until = time.monotonic() + seconds
    while (
        any(thread.name == "edit" for thread in threading.enumerate()) and time.monotonic() < until
    ):
        time.sleep(0.05)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Stop runs, and count what they leave.")
    parser.add_argument("--stops", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["REGRAIN_CACHE"] = name
        before, after = stop_often(args.stops)
    print(f"after {args.stops} stops\n{'':10}{'before':>10}{'after':>10}")
    for key in ("threads", "files", "children"):
        print(f"{key:10}{getattr(before, key):10}{getattr(after, key):10}")
    print(f"{'memory, MB':10}{before.memory / 1e6:10.1f}{after.memory / 1e6:10.1f}")


if __name__ == "__main__":
    main()
