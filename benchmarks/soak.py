"""Many visitors for a long time: `python -m benchmarks.soak` drives the real app in 20 browser sessions.

Each session opens examples, clicks, undoes, types, tracks, runs and stops at random, closes its tab in the
middle of a run, reloads, loses the network, reads slowly. After each act the driver looks for what only one
session may see: the name it typed, its points, its documents and its media folder. Exit status 1 if a session
saw another's, or if the app keeps memory, media, threads, files or processes after all have left.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.app import chromium, start
from benchmarks.stops import Left, count
from benchmarks.visitor import Session, Tally

_LAST = 30  # seconds to end the last act
_GONE = 150  # seconds after which what visitors left must be gone: a page may come back within 120
# Libraries keep arenas, and memory that many threads used is returned in part: what is left must not grow
# with the number of acts. 100 MB are a tenth of what the app has with the model loaded.
_MEMORY = 100e6
_CLICKS = 10
_SPARE = 8  # threads of gradio's pool and open files that come and go


class App:
    """The served app, and what it has: memory, media and the rest."""

    def __init__(self, folder: Path) -> None:
        self.temporary, self.output = folder / "tmp", folder / "output.txt"
        self.temporary.mkdir()
        places = {"TMPDIR": str(self.temporary), "REGRAIN_CACHE": str(folder / "cache")}
        self.process, self.url, _ = start(["app.py"], self.output, **places)
        self.began = time.monotonic()

    def sample(self, when: str) -> tuple[Left, int, int]:
        """Print and return what the app has now: of its process, folders of pages and files in them."""
        left = count(self.process.pid)
        pages = list(self.temporary.glob("regrain-*/media/pages/*"))
        files = sum(path.is_file() for page in pages for path in page.rglob("*"))
        minutes = (time.monotonic() - self.began) / 60
        shown = f"{left.threads:4} threads {left.files:4} open files {left.children:3} children"
        media = f"{len(pages):4} media folders {files:5} files"
        print(
            f"{when:9} {minutes:5.1f} min {left.memory / 1e6:6.0f} MB {shown} {media}", flush=True
        )
        return left, len(pages), files

    def ask(self) -> None:
        """Request something plain."""
        with urllib.request.urlopen(f"{self.url}/gradio_api/app_id") as answer:
            answer.read()

    def tracebacks(self) -> list[str]:
        """The last line of each traceback in the log."""
        parts = self.output.read_text(errors="replace").split("Traceback (most recent call last):")[
            1:
        ]
        return [
            next((line for line in part.splitlines()[1:] if line[:1].strip()), "") for part in parts
        ]


async def visit(app: App, tally: Tally, args: argparse.Namespace) -> tuple[Any, Any]:
    """Drive all sessions; what the app had when all was loaded, and when all had left."""
    from playwright.async_api import async_playwright

    sessions, seconds = args.sessions, 60 * args.minutes

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**chromium())
        app.sample("start")
        visitors = [
            Session(n, sessions, browser, app.url, tally, args.seed) for n in range(sessions)
        ]
        first, second = (
            Session(n, n + 1, browser, app.url, tally, args.seed) for n in (sessions, sessions + 1)
        )
        await first.open()
        for act in (first.click, first.track, first.run) * args.warm:
            await first.attempt(act)
        await _click_beside(first, second)
        before = app.sample("loaded")
        until = time.monotonic() + seconds
        watching = asyncio.create_task(_watch(app, tally))
        living = [asyncio.create_task(visitor.live(until)) for visitor in visitors]
        _, late = await asyncio.wait(living, timeout=seconds + _LAST)
        for task in (*late, watching):  # who still waits for something closes the browser
            task.cancel()
        app.sample("end")
        await browser.close()
    await asyncio.sleep(args.wait)
    app.ask()  # AnyIO lets threads at rest go when it needs one
    await asyncio.sleep(1)
    return before, app.sample("all left")


async def _click_beside(first: Session, second: Session) -> None:
    """Time clicks of one visitor, without and with a run of another; then both leave."""
    await second.open()
    for _ in range(_CLICKS + 1):  # the first of a frame looks at the whole of it
        await second.click()
    _print_seconds("clicks of one visitor, nobody runs", second.tally.alone[-_CLICKS:])
    running = asyncio.create_task(first.run())
    while not second.tally.busy and not running.done():
        await asyncio.sleep(0.1)
    while not running.done():
        await second.click()
    await running
    _print_seconds("clicks of one visitor, another runs", second.tally.clicks)
    second.tally.clicks.clear()
    for session in (first, second):
        await session.page.context.close()


async def _watch(app: App, tally: Tally) -> None:
    """Ask the app for something plain every few seconds, and say every five minutes what it has."""
    printed = time.monotonic()
    while True:
        await asyncio.sleep(5)
        began = time.monotonic()
        try:
            await asyncio.to_thread(app.ask)
            tally.answers.append(time.monotonic() - began)
        except OSError as error:
            tally.errors[f"plain request: {error}"] += 1
        if began - printed >= 300:
            printed = began
            app.sample("")


def report(tally: Tally, tracebacks: list[str]) -> None:
    """Print what was counted."""
    acts = ", ".join(f"{name} {n}" for name, n in sorted(tally.acts.items()))
    print(f"acts: {tally.acts.total()}: {acts}")
    _list("errors shown", tally.errors)
    _list("acts that got stuck", tally.stuck)
    _list("tracebacks in the log", collections.Counter(tracebacks))
    _list("foreign states seen", collections.Counter(tally.foreign))
    print(f"states that only one session may see: {len(tally.owners)}")
    print(f"work lost after a reload or a lost connection: {tally.lost}")
    _print_seconds("clicks while runs went on", tally.clicks)
    _print_seconds("runs", tally.runs)
    _print_seconds("plain requests", tally.answers)
    print(
        "queued behind another:",
        ", ".join(f"{n} runs ({k} times)" for n, k in sorted(tally.queued.items())),
    )
    print(
        "positions told:",
        ", ".join(f"{place} ({n} times)" for place, n in sorted(tally.positions.items())),
    )


def _print_seconds(title: str, seconds: list[float]) -> None:
    if len(seconds) > 1:
        median, most = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
        shown = f"median {median:.2f} s, 95% {most:.2f} s, longest {max(seconds):.2f} s"
        print(f"{title}: {len(seconds)}, {shown}", flush=True)


def _list(title: str, counted: collections.Counter[str]) -> None:
    print(
        f"{title}: {counted.total()}",
        *(f"    {n} x {text[:200]}" for text, n in counted.items()),
        sep="\n",
    )


def kept(before: tuple[Left, int, int], after: tuple[Left, int, int]) -> list[str]:
    """What the app has still, though all have left."""
    (old, _, _), (new, folders, files) = before, after
    counts = (("threads", _SPARE), ("files", _SPARE), ("children", 0))
    pairs = [(name, getattr(old, name), getattr(new, name), spare) for name, spare in counts]
    left = [f"{name} {a} -> {b}" for name, a, b, spare in pairs if b > a + spare]
    if new.memory > old.memory + _MEMORY:
        left.append(f"memory {old.memory / 1e6:.0f} -> {new.memory / 1e6:.0f} MB")
    if folders or files:
        left.append(f"{folders} media folders with {files} files")
    return left


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Drive the app in many browser sessions.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--warm", type=int, default=3, help="runs before what the app has is counted"
    )
    parser.add_argument(
        "--wait", type=float, default=_GONE, help="seconds before what is left is counted"
    )
    args = parser.parse_args()
    tally = Tally()
    with TemporaryDirectory() as name:
        app = App(Path(name))
        try:
            before, after = asyncio.run(visit(app, tally, args))
        finally:
            app.process.terminate()
            app.process.wait(60)
        report(tally, app.tracebacks())
    left = kept(before, after)
    print("left behind:", ", ".join(left) or "nothing")
    return int(bool(tally.foreign or (left and args.wait >= _GONE)))


if __name__ == "__main__":
    sys.exit(main())
