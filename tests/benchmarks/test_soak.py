"""The soak notices what one session shows of another's, and names what is left
behind."""

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser import ROOT
from faults import Started

import benchmarks.soak
import benchmarks.stopped_runs
import benchmarks.visitor
from benchmarks.leftovers import Held, count, kept
from benchmarks.served import chromium, start
from benchmarks.soak import main
from benchmarks.stopped_runs import stop_after
from benchmarks.visitor import Session, Tally
from regrain.editing import load_backbone

pytestmark = pytest.mark.full

STOPS = 4


@pytest.fixture
def soak(tmp_path, monkeypatch):
    """Names the arguments of a soak; the figures that it leaves."""

    def given(options):
        argv = ["soak", *options.split(), "-o", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", argv)
        return lambda: json.loads((tmp_path / "soak.json").read_text())

    return given


def test_stops_leave_nothing(soak, tmp_path, monkeypatch):
    """In a process of its own: another test's threads are none of this one's."""
    # the second goes further than any stop that is counted
    monkeypatch.setattr(benchmarks.stopped_runs, "_WARM", 2)
    load_backbone("storybook")  # which the child has without loading
    figures = soak(f"--sessions 0 --stops {STOPS}")
    code, printed = Started(main, tmp_path).end()
    assert code == 0, printed
    found = figures()
    assert [*found] == ["stops"]
    before = found["stops"]["before"]
    after = found["stops"]["after"]
    assert all(after[name] <= before[name] for name in ("threads", "files", "children"))
    assert after["memory"] - before["memory"] < 64e6
    assert f"after {STOPS} stops" in printed
    assert "left behind by stopped runs: nothing" in printed


def test_a_run_that_is_not_stopped_ends(own_cache, monkeypatch):
    monkeypatch.setattr(benchmarks.stopped_runs, "STEPS", 1)
    assert stop_after(10_000, seed=0)


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_a_visitor_is_counted(soak, tmp_path, monkeypatch, capsys):
    """Of the page with a made-up editor."""
    page = [ROOT / "tests" / "fake_app.py", tmp_path]
    monkeypatch.setattr(
        benchmarks.soak, "start", lambda _, *given, **how: start(page, *given, **how)
    )
    monkeypatch.setattr(benchmarks.soak, "_CLICKS", 1)
    examples = ("01_two_discs", "02_discs_and_lawn")
    monkeypatch.setattr(benchmarks.visitor, "_EXAMPLES", examples)
    figures = soak("--minutes 0.03 --sessions 1 --warm 0 --wait 0 --stops 0")
    with ThreadPoolExecutor(1) as pool:  # where no other test has a loop
        assert pool.submit(main).result() == 0
    found = figures()
    visitors = found["visitors"]
    assert [*found] == ["visitors"]
    assert visitors["foreign"] == []
    assert sum(visitors["acts"].values()) > 0
    assert visitors["states"] > 0
    assert "left behind by visitors" in capsys.readouterr().out


async def visit(url: str, tally: Tally) -> list[int]:
    """Foreign states seen after two sessions have acted, and once one shows the other's
    name."""
    from playwright.async_api import async_playwright

    counts = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**chromium())
        first, second = (
            Session(number, 2, browser, url, tally, seed=0) for number in range(2)
        )
        for session, more in (
            (first, ("write", "reload", "lose_network")),
            (second, ()),
        ):
            for act in ("open", "click", *more):
                await getattr(session, act)()
                await session.look()
        counts.append(len(tally.foreign))
        await second._fill(".rg-name", first.mark)
        await second.look()
        counts.append(len(tally.foreign))
        await browser.close()
    return counts


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_what_is_another_sessions_is_noticed(server, monkeypatch):
    sleep = asyncio.sleep  # a network is lost for half a minute
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(min(seconds, 0.5)))
    tally = Tally()
    with ThreadPoolExecutor(1) as pool:  # where no other test has a loop
        assert pool.submit(asyncio.run, visit(server.url, tally)).result() == [0, 1]
    assert tally.foreign == ["mine-1-1 saw mine-0-1 of mine-0-1"]
    assert {what.split()[0] for what in tally.owners} >= {"mine-0-1", "point"}
    assert tally.lost == 0
    json.dumps(tally.figures())


def test_what_is_left_behind_is_named():
    before = Held(10, 20, 0, 10**9, 1, 40)
    assert kept(before, Held(12, 22, 0, 10**9 + 10**7), spare=8) == []
    assert kept(before, Held(60, 20, 1, 2 * 10**9, 2, 9), spare=8) == [
        "threads 10 -> 60",
        "children 0 -> 1",
        "memory 1000 -> 2000 MB",
        "2 media folders with 9 files",
    ]
    assert kept(before, Held(12, 20, 0, 10**9)) == ["threads 10 -> 12"]


def test_media_of_pages_are_counted(tmp_path):
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "two").mkdir()
    for name in ("one/a.mp4", "one/deep/b.png"):
        (tmp_path / name).write_bytes(b"")
    held = count(media=tmp_path)
    assert (held.media_folders, held.media_files) == (2, 2)
    assert held.threads >= 1
    assert held.memory > 10**6
