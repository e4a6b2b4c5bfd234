"""Stopped runs leave nothing."""

import os
import subprocess
import sys

import pytest

from benchmarks.stops import stop_after

STOPS = 8


@pytest.mark.slow
def test_stops_leave_nothing():
    """In a process of its own: another test's threads and memory are none of this one's."""
    command = [sys.executable, "-m", "benchmarks.stops", "--stops", str(STOPS)]
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=os.environ, check=True
    )
    found = [row.rsplit(maxsplit=2) for row in told.stdout.splitlines()[2:]]
    rows = {name: (float(before), float(after)) for name, before, after in found}
    assert set(rows) == {"threads", "files", "children", "memory, MB"}
    assert all(after <= before for name, (before, after) in rows.items() if name != "memory, MB"), (
        rows
    )
    before, after = rows["memory, MB"]
    assert after - before < 64, rows


@pytest.mark.slow
def test_a_run_that_is_not_stopped_ends(own_cache):
    assert stop_after(10_000, seed=0)
