"""A run of a page in its thread: it knows who asked for it, and gives its turn back at
its end."""

import threading
import time
from contextlib import closing
from contextvars import ContextVar

import pytest

from regrain.ui.server.run_queue import RunQueue, Visitor
from regrain.ui.server.runs import RunThread
from regrain.ui.server.worker import in_thread

VISITOR = ContextVar("visitor", default="nobody")


def wait_until(true, seconds=60):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def turns():
    return RunQueue()


def test_a_run_and_the_work_it_hands_on_see_the_context_of_who_asked(turns):
    run = RunThread(turns.enter(Visitor("page", "")))

    def steps():
        yield {"run": VISITOR.get()}
        assert run.turn.wait(60)
        with closing(in_thread(lambda: iter([VISITOR.get()]), run.turn)) as items:
            yield from ({"edit": item} for item in items if item)

    VISITOR.set("somebody")
    run.begin(steps())
    VISITOR.set("somebody else")
    wait_until(lambda: run.over)
    assert run.since(0)[1] == {"run": "somebody", "edit": "somebody"}
    wait_until(lambda: turns.enter_first().wait(0))


def test_a_page_is_done_with_its_run_at_once_and_the_next_begins_after_the_last_step(
    turns,
):
    first, second = (
        RunThread(turns.enter(Visitor("a", ""))),
        turns.enter(Visitor("b", "")),
    )
    inside, release = threading.Event(), threading.Event()

    def work():
        yield "busy"
        inside.set()
        release.wait(60)
        yield "over"

    def steps():
        assert first.turn.wait(60)
        with closing(in_thread(work, first.turn, pulse=0.01)) as items:
            for item in items:
                yield {"run": item}

    first.begin(steps())
    assert inside.wait(60)
    first.stop({"run": "stopped"})
    assert (first.over, first.shows("run")) == (True, "stopped")
    assert not second.wait(0.1)
    assert first.turn.ending
    assert second.before() == (0, 0.0), "it is about to begin"
    release.set()
    assert second.wait(60)
