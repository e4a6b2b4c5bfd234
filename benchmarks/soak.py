"""Long use, and what it leaves behind: `python -m benchmarks.soak`, 20 visitors and 100
stopped runs.

The visitors are browser sessions on the real app, for 30 minutes. Each opens examples,
clicks, undoes, types, tracks, runs and stops at random, closes its tab in the middle of
a run, reloads, loses the network, reads slowly. After each act the driver looks for
what only one session may see: the name it typed, its points, its documents and its
media folder. Then runs are stopped in this process, each at another place.

Exit status 1 if a session saw another's, or if the app keeps memory, media, threads,
files or processes after all have left, or this process after the stopped runs. `--stops
0` leaves out the stopped runs, `--sessions 0` the visitors.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import json
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.leftovers import Held, count, kept
from benchmarks.served import chromium, start
from benchmarks.stopped_runs import stop_often
from benchmarks.visitor import Session, Tally

_LAST = 30  # seconds to end the last act
# seconds after which what visitors left must be gone: a page may come back within 120
_GONE = 150
_CLICKS = 10
_SPARE = 8  # threads of gradio's pool and open files that come and go


class App:
    """The served app, and what it holds."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.output = folder / "output.txt"
        places = {"TMPDIR": str(self.temporary), "REGRAIN_CACHE": str(folder / "cache")}
        self.process, self.url, _ = start(["app.py"], self.output, **places)
        self.began = time.monotonic()

    def sample(self, when: str) -> Held:
        """Print and return what the app holds now."""
        media = next(self.temporary.glob("regrain-*/media/pages"), None)
        held = count(self.process.pid, media)
        minutes = (time.monotonic() - self.began) / 60
        print(
            f"{when:9} {minutes:5.1f} min {held.memory / 1e6:6.0f} MB"
            f" {held.threads:4} threads {held.files:4} open files {held.children:3} children"
            f" {held.media_folders:4} media folders {held.media_files:5} files",
            flush=True,
        )
        return held

    def ask(self) -> None:
        """Request something plain."""
        with urllib.request.urlopen(f"{self.url}/gradio_api/app_id") as answer:
            answer.read()

    def tracebacks(self) -> list[str]:
        """Return the last line of each traceback in the log."""
        log = self.output.read_text(errors="replace")
        _, *parts = log.split("Traceback (most recent call last):")
        return [_error_of(part) for part in parts]


def _error_of(traceback: str) -> str:
    """Return the first line that is not indented: the error."""
    for line in traceback.splitlines()[1:]:
        if line[:1].strip():
            return line
    return ""


async def visit(app: App, tally: Tally, args: argparse.Namespace) -> tuple[Held, Held]:
    """Drive all sessions; return what the app held when all was loaded, and when all
    had left."""
    from playwright.async_api import async_playwright

    seconds = 60 * args.minutes
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**chromium())
        app.sample("start")
        await _warm_up(browser, app, tally, args)
        before = app.sample("loaded")
        until = time.monotonic() + seconds
        watching = asyncio.create_task(_watch(app, tally))
        living = []
        for number in range(args.sessions):
            session = Session(number, args.sessions, browser, app.url, tally, args.seed)
            living.append(asyncio.create_task(session.live(until)))
        _, late = await asyncio.wait(living, timeout=seconds + _LAST)
        # a session that still waits for something is cut off
        for task in (*late, watching):
            task.cancel()
        app.sample("end")
        await browser.close()
    await asyncio.sleep(args.wait)
    app.ask()  # AnyIO lets threads at rest go when it needs one
    await asyncio.sleep(1)
    return before, app.sample("all left")


async def _warm_up(
    browser: Any, app: App, tally: Tally, args: argparse.Namespace
) -> None:
    """Load what the app loads once, and time the clicks of one visitor beside a run of
    another."""
    number = args.sessions
    first = Session(number, number + 1, browser, app.url, tally, args.seed)
    second = Session(number + 1, number + 2, browser, app.url, tally, args.seed)
    await first.open()
    for act in (first.click, first.track, first.run) * args.warm:
        await first.attempt(act)
    await second.open()
    for _ in range(_CLICKS + 1):  # the first of a frame looks at the whole of it
        await second.click()
    _print_seconds("clicks of one visitor, nobody runs", tally.alone[-_CLICKS:])
    running = asyncio.create_task(first.run())
    while not tally.busy and not running.done():
        await asyncio.sleep(0.1)
    while not running.done():
        await second.click()
    await running
    _print_seconds("clicks of one visitor, another runs", tally.clicks)
    tally.clicks.clear()
    for session in (first, second):
        await session.page.context.close()


async def _watch(app: App, tally: Tally) -> None:
    """Ask the app for something plain every few seconds, and print every five minutes
    what it holds."""
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
    _print_counts(f"acts: {tally.acts.total()}:", tally.acts)
    _list("errors shown", tally.errors)
    _list("acts that got stuck", tally.stuck)
    _list("tracebacks in the log", collections.Counter(tracebacks))
    _list("foreign states seen", collections.Counter(tally.foreign))
    print(f"states that only one session may see: {len(tally.owners)}")
    print(f"work lost after a reload or a lost connection: {tally.lost}")
    _print_seconds("clicks while runs went on", tally.clicks)
    _print_seconds("runs", tally.runs)
    _print_seconds("plain requests", tally.answers)
    _print_counts("runs queued behind another, and how often:", tally.queued)
    _print_counts("positions told, and how often:", tally.positions)


def _print_seconds(title: str, seconds: list[float]) -> None:
    if len(seconds) < 2:
        return
    median = statistics.median(seconds)
    most = statistics.quantiles(seconds, n=20)[-1]
    print(
        f"{title}: {len(seconds)}, median {median:.2f} s, 95% {most:.2f} s,"
        f" longest {max(seconds):.2f} s",
        flush=True,
    )


def _print_counts(title: str, counted: collections.Counter) -> None:
    print(
        title, ", ".join(f"{what} {times}" for what, times in sorted(counted.items()))
    )


def _list(title: str, counted: collections.Counter[str]) -> None:
    print(f"{title}: {counted.total()}")
    for text, times in counted.items():
        print(f"    {times} x {text[:200]}")


def soak_visitors(args: argparse.Namespace) -> dict[str, Any]:
    """Drive the app in many sessions; return what was counted."""
    tally = Tally()
    with TemporaryDirectory() as name:
        app = App(Path(name))
        try:
            before, after = asyncio.run(visit(app, tally, args))
        finally:
            app.process.terminate()
            app.process.wait(60)
        tracebacks = app.tracebacks()
    report(tally, tracebacks)
    left = kept(before, after, _SPARE)
    print("left behind by visitors:", ", ".join(left) or "nothing")
    return {
        "minutes": args.minutes,
        "sessions": args.sessions,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
        "left": left,
        "tracebacks": tracebacks,
        **tally.figures(),
    }


def soak_stops(stops: int) -> dict[str, Any]:
    """Stop runs in this process; print and return what it held before and after."""
    before, after = stop_often(stops)
    left = kept(before, after)
    print(f"after {stops} stops")
    print(f"{'':10}{'before':>10}{'after':>10}")
    for name in ("threads", "files", "children"):
        print(f"{name:10}{getattr(before, name):10}{getattr(after, name):10}")
    print(f"{'memory, MB':10}{before.memory / 1e6:10.1f}{after.memory / 1e6:10.1f}")
    print("left behind by stopped runs:", ", ".join(left) or "nothing")
    return {
        "stops": stops,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
        "left": left,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--minutes", type=float, default=30, help="how long visitors act"
    )
    parser.add_argument(
        "--sessions", type=int, default=20, help="visitors; 0 leaves them out"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="decides the visitors' acts"
    )
    parser.add_argument(
        "--warm", type=int, default=3, help="runs before the app is first counted"
    )
    parser.add_argument(
        "--wait", type=float, default=_GONE, help="seconds before its last count"
    )
    parser.add_argument(
        "--stops", type=int, default=100, help="stopped runs; 0 leaves them out"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/soak"))
    args = parser.parse_args()
    figures = {}
    failed = False
    if args.sessions:
        visitors = figures["visitors"] = soak_visitors(args)
        too_early = args.wait < _GONE  # what is left may still go
        failed = bool(visitors["foreign"] or (visitors["left"] and not too_early))
    if args.stops:
        stops = figures["stops"] = soak_stops(args.stops)
        failed = failed or bool(stops["left"])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "soak.json").write_text(json.dumps(figures, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
