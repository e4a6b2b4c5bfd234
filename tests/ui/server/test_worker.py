"""A run in a thread: in order, stopped when closed, errors passed on, one at a time."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from regrain.ui.server.worker import in_thread


def items(iterator):
    return [item for item in iterator if item is not None]


def test_items_arrive_in_order_and_an_error_after_them():
    def work():
        yield from range(1, 50)
        raise KeyError("x")

    seen = []
    with pytest.raises(KeyError):
        seen.extend(in_thread(work, pulse=5))
    assert items(seen) == list(range(1, 50))


def test_closing_stops_at_the_next_item():
    ended, steps = threading.Event(), []

    def work():
        try:
            for step in range(1000):
                time.sleep(0.01)
                steps.append(step)
                yield step
        finally:
            ended.set()

    run = in_thread(work)
    next(run)
    run.close()
    assert ended.wait(600)
    assert len(steps) < 1000


def test_a_pulse_while_there_is_nothing_new():
    release = threading.Event()

    def work():
        release.wait(600)
        yield 1

    run = in_thread(work, pulse=0.01)
    assert next(run) is None
    release.set()
    assert items(run) == [1]


def test_runs_take_turns():
    running = []

    def work():
        running.append(1)
        yield len(running)
        time.sleep(0.05)
        running.pop()

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(lambda _: items(in_thread(work)), range(3))] == [[1]] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_a_run_and_what_it_starts_give_way_to_clicks():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def run():
        yield niceness()
        helper = threading.Thread(target=lambda: found.append(niceness()))
        helper.start()
        helper.join()

    found = []
    (own,) = in_thread(run)
    assert [own, *found] == [max(niceness(), 10)] * 2
