"""Stopped runs leave nothing."""

import pytest

from benchmarks.stops import stop_after, stop_often


@pytest.mark.slow
def test_stops_leave_nothing(own_cache):
    before, after = stop_often(8)
    assert after.threads <= before.threads
    assert after.files <= before.files
    assert after.children <= before.children
    assert after.memory - before.memory < 64_000_000, (before, after)


@pytest.mark.slow
def test_a_run_that_is_not_stopped_ends(own_cache):
    assert stop_after(10_000, seed=0)
