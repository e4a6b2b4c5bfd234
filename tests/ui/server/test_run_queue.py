"""Whose run is next, and how long the others wait."""

import threading
from types import SimpleNamespace

import pytest

from regrain.editing.errors import ResourceError
from regrain.editing.recipe.events import Progress
from regrain.ui.server.run_queue import (
    GONE,
    MAX_WAITING,
    PER_ADDRESS,
    PER_PAGE,
    RunQueue,
    Visitor,
)


def page(name, address="10.0.0.1"):
    return Visitor(name, address)


def program(address):
    return Visitor(f"programs at {address}", address, 3)


@pytest.fixture
def turns():
    return RunQueue()


@pytest.fixture
def enter(turns):
    """Lets the visitor of a page wait for a turn."""
    return lambda *visitor: turns.enter(page(*visitor))


def order(waiting):
    """Names in the order in which these runs get their turn."""
    found, left = [], list(waiting)
    while left:
        (turn,) = (one for one in left if one.wait(0))
        left.remove(turn)
        found.append(turn.visitor.name)
        turn.leave(finished=True)
    return found


def test_a_second_run_waits_for_the_first_of_all_others(turns, enter):
    greedy = [turns.enter(program("a")) for _ in range(3)]
    others = [enter("x"), enter("y")]
    first = greedy[0].visitor.name
    assert order([*greedy, *others]) == [first, "x", "y", first, first]


def test_what_runs_counts_as_the_first_of_its_visitor(turns, enter):
    running, second = turns.enter(program("a")), turns.enter(program("a"))
    assert running.wait(0)
    other = enter("x")
    assert (other.before()[0], second.before()[0]) == (1, 2)
    assert running.before() == (0, 0.0)
    running.leave(finished=True)
    assert order([second, other]) == ["x", second.visitor.name]


def test_who_had_a_run_comes_after_who_had_none(enter):
    first, other = enter("x"), enter("y")
    assert first.wait(0)
    first.leave(finished=True)
    again, late = enter("x"), enter("z")
    assert order([again, other, late]) == ["y", "z", "x"]


def test_places_are_limited_for_each_visitor_each_address_and_all(turns, enter):
    for _ in range(PER_PAGE):
        enter("x")
    with pytest.raises(ResourceError, match="You already have 6 runs"):
        enter("x")
    for _ in range(3):
        turns.enter(program("10.0.0.1"))
    with pytest.raises(ResourceError, match="You already have 3 runs"):
        turns.enter(program("10.0.0.1"))
    for number in range(PER_ADDRESS - PER_PAGE - 3):
        enter(f"class {number}")
    with pytest.raises(ResourceError, match="from your network"):
        enter("late")
    for number in range(MAX_WAITING - PER_ADDRESS):
        enter(f"elsewhere {number}", f"10.0.1.{number}")
    with pytest.raises(ResourceError, match=f"{MAX_WAITING} runs are waiting"):
        enter("last", "10.0.2.1")


def test_a_stopped_run_frees_its_place_and_makes_room_for_the_next_of_its_page(enter):
    running, waiting, behind = (enter(name) for name in "xyz")
    assert running.wait(0)
    waiting.stop()
    assert behind.before()[0] == 1
    running.stop()  # still inside its last step
    again = enter("x")
    assert not behind.wait(0)
    running.leave()
    assert order([behind, again]) == ["z", "x"]


def test_runs_of_one_page_move_up(enter):
    running, *waiting = (enter("x") for _ in range(5))
    assert running.wait(0)
    waiting[1].stop()
    waiting[2].stop()
    last, other = enter("x"), enter("y")
    running.leave(finished=True)
    places = [turn.before()[0] for turn in (other, waiting[0], waiting[3], last)]
    assert places == [0, 1, 2, 3]


def test_how_long_others_take_is_told():
    clock = SimpleNamespace(now=0.0)
    turns = RunQueue(lambda: clock.now)
    first = turns.enter(page("a"))
    assert first.wait(0)
    second, third = turns.enter(page("b")), turns.enter(page("c"))
    assert second.before() == (1, None)  # nobody knows yet
    first.follow(Progress("editing", 1, 4, 30.0))
    clock.now = 10.0
    assert second.before() == (1, 20.0)
    assert third.before() == (2, None)
    clock.now = 60.0
    first.leave(finished=True)
    assert second.wait(0)
    assert third.before() == (1, 60.0)  # as long as the one before
    clock.now = 100.0
    assert third.before() == (1, 20.0)


def test_waiting_ends_when_the_turn_comes(enter):
    first, second = enter("a"), enter("b")
    assert first.wait(0)
    came = threading.Event()
    threading.Thread(target=lambda: second.wait(60) and came.set(), daemon=True).start()
    first.leave(finished=True)
    assert came.wait(30)


def test_who_has_gone_makes_room_for_those_who_are_there(turns):
    away = {"x": 0.0, "y": 0.0, "z": 0.0}
    come = lambda name: turns.enter(Visitor(name, name, away=lambda: away[name]))  # noqa: E731
    running, waiting, behind = map(come, "xyz")
    assert running.wait(0)
    away |= {"x": GONE, "y": GONE + 1}  # one may only have lost the connection
    assert not behind.wait(0)
    assert not running.ending
    assert behind.before()[0] == 1
    away["x"] = GONE + 1
    assert not waiting.wait(0)
    assert not running.ending, "nobody is there who waits"
    assert not behind.wait(0)
    assert running.ending
    running.leave()
    assert not waiting.wait(0)
    assert behind.wait(0)


def test_errands_come_before_all_visitors_and_count_for_none(turns, enter):
    first, second = enter("x"), enter("x")
    assert first.wait(0)
    errand = turns.enter_first()
    assert second.before()[0] == 2
    assert not errand.wait(0)
    assert not first.ending
    for _ in range(PER_PAGE - 2):
        enter("x")
    first.leave(finished=True)
    with errand:
        assert not second.wait(0)
        assert errand.wait(0)
    assert second.wait(0)


def test_a_turn_is_held_until_no_thread_shares_it(enter):
    first, second = enter("x"), enter("y")
    assert first.wait(0)
    first.share()
    first.unshare()
    assert (first.ending, second.wait(0)) == (False, False)
    first.share()
    first.leave(finished=True)
    assert (first.ending, second.wait(0)) == (True, False)
    first.unshare()
    assert second.wait(0)
