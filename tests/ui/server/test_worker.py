"""A run in a thread: in order, stopped when closed, errors passed on, one at a time."""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from regrain.ui.server import worker
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.server.worker import in_thread


def items(iterator):
    return [item for item in iterator if item is not None]


@pytest.fixture
def turn():
    return RunQueue().enter_first()


def test_items_arrive_in_order_and_an_error_after_them(turn):
    def work():
        yield from range(1, 50)
        raise KeyError("x")

    seen = []
    with pytest.raises(KeyError):
        seen.extend(in_thread(work, turn, pulse=5))
    assert items(seen) == list(range(1, 50))


def test_closing_stops_at_the_next_item(turn):
    ended, steps = threading.Event(), []

    def work():
        try:
            for step in range(1000):
                time.sleep(0.01)
                steps.append(step)
                yield step
        finally:
            ended.set()

    run = in_thread(work, turn)
    next(run)
    run.close()
    assert ended.wait(600)
    assert len(steps) < 1000


def test_a_pulse_while_there_is_nothing_new(turn):
    release = threading.Event()

    def work():
        release.wait(600)
        yield 1

    run = in_thread(work, turn, pulse=0.01)
    assert next(run) is None
    release.set()
    assert items(run) == [1]


def test_runs_take_turns():
    turns, running = RunQueue(), []

    def work():
        running.append(1)
        yield len(running)
        time.sleep(0.05)
        running.pop()

    def run(_):
        with turns.enter_first() as turn:
            return items(in_thread(work, turn, pulse=0.01))

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(run, range(3))] == [[1]] * 3


def test_work_that_nobody_waits_for_any_more_never_begins():
    turns = RunQueue()
    first, second = turns.enter_first(), turns.enter_first()
    assert first.wait(0)
    run = in_thread(lambda: pytest.fail("it began"), second, pulse=0.01)
    assert next(run) is None
    run.close()
    second.leave()
    first.leave()
    assert turns.enter_first().wait(600)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a thread has no priority of its own"
)
def test_a_run_and_what_it_starts_give_way_to_clicks(turn):
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def run():
        yield niceness()
        helper = threading.Thread(target=lambda: found.append(niceness()))
        helper.start()
        helper.join()

    found = []
    (own,) = in_thread(run, turn)
    assert [own, *found] == [max(niceness(), 10)] * 2


@pytest.mark.parametrize("what", ["priority", "turn", "work"])
def test_whatever_fails_in_the_thread_is_raised_and_frees_the_turn(what, monkeypatch):
    def fail(*_):
        raise PermissionError("not permitted")

    turns = RunQueue()
    work = fail if what == "work" else lambda: iter([1])
    with turns.enter_first() as turn:
        if what == "priority":
            monkeypatch.setattr("os.setpriority", fail)
        elif what == "turn":
            monkeypatch.setattr(turn, "wait", fail)
        with pytest.raises(PermissionError):
            [*islice(in_thread(work, turn, pulse=0.01), 500)]
    assert turns.enter_first().wait(0)


def test_where_no_thread_can_be_had_the_turn_is_free_again(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    turns = RunQueue()
    monkeypatch.setattr(worker, "start_thread", refuse)
    with turns.enter_first() as turn, pytest.raises(RuntimeError):
        next(in_thread(lambda: iter([1]), turn))
    assert turns.enter_first().wait(0)
