"""Pages come, are reloaded and go: when their sessions are kept, and when they are
forgotten."""

import time
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from gradio.routes import App

from regrain.editing.errors import RequestError
from regrain.ui.page.gradio_insides import Page
from regrain.ui.server.media import MAX_AGE
from regrain.ui.session import session_store
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.session_store import MAX_PAGES, SessionStore


@pytest.fixture
def now():
    """The clock of the store, which stands still."""
    return [0.0]


@pytest.fixture
def wait(now):
    """Lets seconds pass, and the store sweep."""

    def wait(visits, seconds):
        now[0] += seconds
        visits.sweep()

    return wait


@pytest.fixture
def store(open_clip, visits_of, now, monkeypatch):
    """Makes a store that forgets a page half a second after it has gone, if it is
    swept."""
    # Slow beside the models of other tests.
    monkeypatch.setattr(session_store.gc, "collect", lambda: None)
    monkeypatch.setattr(SessionStore, "_sweep_until_done", lambda self: None)
    return lambda grace=0.5, **how: visits_of(
        open_clip(), clock=lambda: now[0], grace=grace, **how
    )


def is_forgotten(visits, wait, grace=0.5):
    """Whether a page is there until the grace ends, and no longer."""
    wait(visits, grace - 0.01)
    there = len(visits.sessions())
    wait(visits, 0.02)
    return there and not len(visits.sessions())


def test_a_page_that_lost_its_connection_may_come_back(store, now, wait):
    visits = store()
    first = visits.get("page")
    visits.leave("page")
    assert visits.has_left("page")
    assert visits.arrive("page", "again") is first
    assert not visits.has_left("page")
    wait(visits, 0.8)
    assert visits.get("page") is first
    assert visits.away("page") == visits.away("nobody") == 0
    visits.leave("page", "again")
    now[0] += 0.4
    assert visits.away("page") == pytest.approx(0.4)
    # Gradio goes on with what a closed page had asked, which does not bring it back.
    visits.keep("page")
    assert is_forgotten(visits, wait, 0.1)  # though nothing was heard of it later
    assert first.stop.is_set()


def test_what_a_page_sent_before_it_went_does_not_bring_it_back(store, now, wait):
    visits = store(grace=1.0)
    visits.arrive("page", "connection")
    first = visits.get("page")
    visits.leave("page", "connection")
    assert visits.get("page") is first  # answered, and forgotten all the same
    assert is_forgotten(visits, wait, 1.0)
    visits.arrive("page", "other")
    visits.get("page")
    visits.leave("page", "other")
    now[0] += 0.6  # only its connection is lost
    visits.here("page")
    wait(visits, 0.5)
    assert len(visits.sessions()) == 1


def test_a_page_that_is_open_is_kept_though_nobody_touches_it(store, now, wait):
    visits = store()
    visits.get("page")
    page = visits._pages["page"]
    visits.here("page")  # with its connection it needs no sign of life
    assert page.heard == 0
    visits.leave("page")
    now[0] += 0.4
    visits.here("page")
    visits.here("nobody")
    assert visits.away("page") == 0
    wait(visits, 0.1)
    assert len(visits.sessions()) == 1
    assert page.used == 0  # so that an hour without use ends it all the same
    assert is_forgotten(visits, wait)


@pytest.mark.full
def test_the_store_sweeps_by_itself_while_there_is_something_to_forget(
    open_clip, visits_of
):
    visits = visits_of(open_clip(), grace=0.05)
    for name in ("one", "two"):
        visits.get(name)
        visits.leave(name)
        until = time.monotonic() + 60
        while len(visits.sessions()) and time.monotonic() < until:
            time.sleep(0.01)
        assert len(visits.sessions()) == 0


def test_an_event_that_was_answered_late_does_not_keep_a_closed_page(store, now, wait):
    visits = store()
    visits.get("page")
    visits.leave("page")
    now[0] += 60.0  # on a busy machine
    visits.get("page")
    visits.sweep()
    assert not len(visits.sessions())
    for _ in range(2):  # on a very busy one
        visits.get("page")
        assert is_forgotten(visits, wait)


def test_a_page_that_was_closed_before_it_was_heard_is_forgotten(store, wait):
    visits = store()
    visits.leave("page", "connection")
    assert visits.arrive("page", "connection") is None
    visits.get("page")
    assert is_forgotten(visits, wait)
    first = visits.get("reloaded")
    visits.leave("reloaded", "second")  # before the event says that it has come
    assert visits.arrive("reloaded", "second") is first
    assert is_forgotten(visits, wait)


def test_all_connections_of_a_page_end_with_it(store, wait):
    ended = []
    visits = store(ended=ended.append)
    visits.arrive("stranger", "third")
    visits.leave("stranger", "third")  # without a session
    assert ended == ["third"]
    visits.arrive("page", "first")
    visits.get("page")
    visits.arrive("page", "second")  # reloaded
    visits.leave("page", "first")
    visits.leave("page", "second")
    assert ended == ["third"]  # it may come back
    assert is_forgotten(visits, wait)
    assert sorted(ended) == ["first", "second", "third"]
    visits.get("page")  # answered late: gradio has made the session anew
    assert is_forgotten(visits, wait)
    assert len(ended) == 5


def test_gradio_keeps_nothing_of_a_session_that_has_ended():
    with Page() as page:
        gr.Slider()
    page.drop_session("early")  # before it is served
    App.create_app(page)
    assert page.state_holder["session"]
    page.drop_session("session")
    assert "session" not in page.state_holder
    assert "session" not in page.state_holder.time_last_used


def test_a_page_loses_its_session_after_an_hour_or_when_many_come(store, now):
    visits = store()
    first = visits.get("first")
    assert visits.get("first") is first
    now[0] = MAX_AGE + 1
    visits.get("second")
    assert visits.get("first") is not first
    for number in range(MAX_PAGES + 5):
        visits.get(str(number))
    assert len(visits.sessions()) == MAX_PAGES
    visits.forget("0")


def test_what_is_drawn_outlasts_many_pages_that_only_look(
    monkeypatch, open_clip, visits_of, now
):
    monkeypatch.setattr(session_store, "MAX_PAGES", 3)
    monkeypatch.setattr(session_store.gc, "collect", lambda: None)
    monkeypatch.setattr(session_store, "return_freed", lambda: None)
    example = replace(open_clip(), name="01_example")
    visits = visits_of(example, clock=lambda: now[0])
    session = visits.get("drawing")
    with session.lock:
        session.add_region()
    for number in range(10):
        now[0] += 1
        visits.get(str(number))
    assert visits.find("drawing") is session
    # where something is drawn on all, the new one is not thrown out at once
    for _, other in visits.sessions():
        with other.lock:
            other.add_region()
    now[0] += 1
    new = visits.get("new")
    assert visits.get("new") is new


@pytest.mark.parametrize("said", [5, "x", [1], None, {"id": [1]}, {"have": {}}])
def test_an_event_that_is_no_object_is_refused_in_one_line(store, said):
    visits = store()
    visits.get("page")
    with pytest.raises(RequestError), visits.held("page", said):
        pass
    files = ClipFiles(visits, visits.media)
    with pytest.raises(RequestError, match="must be whole numbers"):
        files.trim("page", said)


@pytest.mark.parametrize("name", ["start", "stride", "frames"])
@pytest.mark.parametrize("value", [None, "1", 1.5, -1, 10**6])
def test_a_part_of_a_clip_is_three_whole_numbers(store, name, value):
    visits = store()
    session = visits.get("page")
    session.opened = replace(session.opened, file=Path("walk.mp4"))
    part = {"start": 0, "stride": 1, "frames": 1, name: value}
    with pytest.raises(RequestError, match="must be whole numbers"):
        ClipFiles(visits, visits.media).trim("page", part)


@pytest.mark.parametrize("label", [[1], {}, None, "1", 1.5])
def test_a_label_that_is_none_is_left_out(store, label):
    session = store().get("page")
    made = session.add_region()
    entries = [{"label": label, "prompt": "a fox"}, {"label": made, "prompt": "a cat"}]
    session.describe({"regions": entries})
    assert [region.prompt for region in session.state.regions.values()] == ["a cat"]
