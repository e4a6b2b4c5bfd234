"""The soak notices what one session shows of another's, and what is left behind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.app import chromium
from benchmarks.soak import kept
from benchmarks.stops import Left
from benchmarks.visitor import Session, Tally


async def visit(url: str, tally: Tally) -> list[int]:
    """Foreign states seen after two sessions have acted, and once one shows the other's name."""
    from playwright.async_api import async_playwright

    counts = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**chromium())
        first, second = (Session(number, 2, browser, url, tally, seed=0) for number in range(2))
        for session, more in ((first, ("write", "reload", "lose_network")), (second, ())):
            for act in ("open", "click", *more):
                await getattr(session, act)()
                await session.look()
        counts.append(len(tally.foreign))
        await second.page.locator(".rg-name").first.fill(first.mark)
        await second.look()
        counts.append(len(tally.foreign))
        await browser.close()
    return counts


@pytest.mark.browser
@pytest.mark.usefixtures("chromium_there")
def test_what_is_another_sessions_is_noticed(server):
    tally = Tally()
    with ThreadPoolExecutor(1) as pool:  # where no other test has a loop
        assert pool.submit(asyncio.run, visit(server.url, tally)).result() == [0, 1]
    assert tally.foreign == ["mine-1-1 saw mine-0-1 of mine-0-1"]
    assert {what.split()[0] for what in tally.owners} >= {"mine-0-1", "point"}
    assert tally.lost == 0


def test_what_is_left_behind_is_named():
    before = (Left(10, 20, 0, 10**9), 1, 40)
    assert kept(before, (Left(12, 22, 0, 10**9 + 10**7), 0, 0)) == []
    named = [
        "threads 10 -> 60",
        "children 0 -> 1",
        "memory 1000 -> 2000 MB",
        "2 media folders with 9 files",
    ]
    assert kept(before, (Left(60, 20, 1, 2 * 10**9), 2, 9)) == named
