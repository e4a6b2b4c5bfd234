"""A visitor of the page in a real browser, who acts at random, and a tally of what many
of them see."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from benchmarks.browsing import OPEN_CARD
from benchmarks.served import SHARED, VIEWPORT

_EXAMPLES = ("01_two_animals", "02_one_animal", "03_animals_and_place")
_WORDS = (
    "a panda",
    "a robot",
    "a pig",
    "a fox",
    "a red car",
    "a blue rabbit",
    "an astronaut",
)
# seconds that an act may take; one that takes longer is counted as stuck
_PATIENCE = 240
_APART = 3  # seconds between the first visits
# Methods of `Session`, and how often each is chosen.
_ACTS = {
    "choose": 2,
    "click": 8,
    "undo": 2,
    "write": 3,
    "track": 2,
    "run": 3,
    "queue": 2,
    "stop": 1,
    "close": 1,
    "reload": 1,
    "lose_network": 1,
    "be_slow": 1,
}
# Rates of the network, as Chromium takes them: bytes a second; -1 does not limit.
_FAST = {
    "offline": False,
    "latency": 0,
    "downloadThroughput": -1,
    "uploadThroughput": -1,
}
_SLOW = {"offline": False, "latency": 200, "uploadThroughput": 2000}

_WATCH = """() => {
  if (window.answers) return;
  const { editor } = regrain;
  let since = 0;
  window.answers = [];
  document.querySelector(".rg-canvas-stage canvas").addEventListener("pointerup", () => (since = performance.now()), true);
  regrain.on("masks", () => {
    if (since && !editor.pending.length) answers.push((performance.now() - since) / 1000), (since = 0);
  });
}"""  # noqa: E501
# the words at the mask, or its tools, may lie over a place of the frame
_ON_FRAME = (
    "([x, y]) => document.elementFromPoint(x, y)?.matches('.rg-canvas-stage canvas')"
)
_LONGER = "count => document.querySelectorAll('#queue li').length > count"
_LOOK = """() => {
  const { editor } = regrain, seen = [];
  const fields = [...document.querySelectorAll("input, textarea")].map((one) => one.value);
  const links = [...document.querySelectorAll("[src], [href]")].map((one) => one.src || one.href);
  for (const text of [document.body.innerText, ...fields]) seen.push(...(text.match(/mine-\\d+-\\d+/g) ?? []));
  for (const link of links) seen.push(...(String(link).match(/pages\\/[\\w-]+/g) ?? []));
  for (const entries of Object.values(editor.masks))
    for (const { points } of Object.values(entries)) seen.push(...points.map(([x, y]) => "point " + x + "," + y));
  if (editor.id) seen.push("document " + editor.id);
  const alerts = document.querySelectorAll("[role=alert], .toast-text");
  const busy = document.querySelector("#stop")?.checkVisibility() ?? false;
  return { seen: [...new Set(seen)], busy, errors: [...alerts].map((one) => one.innerText.trim()).filter(Boolean),
    queue: Number(document.querySelector(".rg-detail")?.innerText.match(/^(\\d+) runs? before yours/)?.[1] ?? 0) };
}"""  # noqa: E501


class Tally:
    """Counts over all sessions.

    Attributes:
        owners: The session that first showed a thing which only one may show.
        foreign: Sentences about sessions that showed another's.
        acts: Acts that ended well, by name.
        errors: Errors that pages showed.
        stuck: Acts that did not end, with the reason.
        lost: Times that work was gone after a reload or a lost connection.
        clicks: Seconds from a click to its mask while runs go on.
        alone: Seconds of the other clicks.
        runs: Seconds from pressing Run to the result.
        answers: Seconds to the answer of a plain request.
        queued: Times that so many runs of one page waited behind another.
        positions: Times that a page was told so many runs before its own.
        busy: Sessions whose run goes on or waits.
    """

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.foreign: list[str] = []
        self.acts = Counter[str]()
        self.errors = Counter[str]()
        self.stuck = Counter[str]()
        self.lost = 0
        self.clicks: list[float] = []
        self.alone: list[float] = []
        self.runs: list[float] = []
        self.answers: list[float] = []
        self.queued = Counter[int]()
        self.positions = Counter[int]()
        self.busy = set[int]()

    def figures(self) -> dict[str, Any]:
        """Return the counts as JSON takes them."""
        names = (
            "foreign",
            "acts",
            "errors",
            "stuck",
            "lost",
            "clicks",
            "alone",
            "runs",
            "answers",
        )
        figures = {
            name: getattr(self, name) for name in (*names, "queued", "positions")
        }
        return figures | {"states": len(self.owners)}

    def claim(self, what: str, owner: str) -> None:
        """Note that a session has shown something that only one may show."""
        first = self.owners.setdefault(what, owner)
        if first != owner:
            self.foreign.append(f"{owner} saw {what} of {first}")


class Session:
    """One visitor, who has one tab after the other.

    Args:
        number: From 0.
        of: Number of visitors: each clicks in a column of its own.
        browser: Playwright's browser.
        url: Address of the page.
        tally: Counts of all visitors.
        seed: Decides, with the number, what the visitor does.
    """

    def __init__(
        self, number: int, of: int, browser: Any, url: str, tally: Tally, seed: int
    ) -> None:
        self.number = number
        self.of = of
        self.url = url
        self.tally = tally
        self._browser = browser
        self.random = random.Random(seed * 1000 + number)
        self.tab = 0
        self.page: Any = None
        self.word = ""  # that was typed last
        self.errors = set[str]()  # as last shown
        self.place = 0  # in the queue, as last shown

    @property
    def mark(self) -> str:
        """A name that nobody else may see."""
        return f"mine-{self.number}-{self.tab}"

    async def live(self, until: float) -> None:
        """Come when others have come, act until a time, then leave."""
        await asyncio.sleep(_APART * self.number)
        await self.attempt(self.open)
        while time.monotonic() < until:
            (act,) = self.random.choices(list(_ACTS), list(_ACTS.values()))
            await self.attempt(getattr(self, act))
            await asyncio.sleep(self.random.uniform(0.2, 3))
        await self.page.context.close()

    async def attempt(self, act: Callable[[], Awaitable[None]]) -> None:
        """Act, then look; after an act that got stuck, open a new tab."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await act()
                await self.look()
            self.tally.acts[act.__name__] += 1
        except Exception as error:  # whatever Playwright waited for in vain
            message, *_ = str(error).splitlines() or [""]
            self.tally.stuck[f"{act.__name__}: {type(error).__name__} {message}"] += 1
            if act != self.open:
                await self.attempt(self.open)

    async def look(self) -> None:
        """Check that everything the page shows is this session's own, and note what it
        says."""
        shown = await self.page.evaluate(_LOOK)
        for what in shown["seen"]:
            self.tally.claim(what, self.mark)
        errors = {*shown["errors"]}
        self.tally.errors.update(errors - self.errors)
        self.errors = errors
        if shown["busy"]:
            self.tally.busy.add(self.number)
        else:
            self.tally.busy.discard(self.number)
        place = shown["queue"]
        if place and place != self.place:
            self.tally.positions[place] += 1
        self.place = place

    async def open(self) -> None:
        """Open the page in a new browser session."""
        if self.page:
            await self.page.context.close()
        self.tab += 1
        self.tally.claim(self.mark, self.mark)
        # Videos that play in 20 windows at once would leave the app nothing of a small
        # machine.
        context = await self._browser.new_context(
            viewport=VIEWPORT, reduced_motion="reduce"
        )
        await context.add_init_script(SHARED)
        self.page = await context.new_page()
        self.page.set_default_timeout(_PATIENCE * 1000)
        self.page.on(
            "pageerror", lambda error: self.tally.errors.update([f"page: {error}"])
        )
        await self.page.goto(self.url)
        await self._settle()
        await self._name()

    async def _settle(self) -> None:
        """Wait until the page is there with everything it had."""
        await self.page.wait_for_selector(".rg-card")
        await self.page.wait_for_function(
            "window.regrain?.restored && regrain.editor?.clip && regrain.editor.loaded"
        )

    async def _name(self) -> None:
        self.word = ""
        await self._fill(".rg-name", self.mark)

    async def _fill(self, field: str, text: str) -> None:
        """Write into the first field of a kind, which may be in a closed card."""
        await self.page.evaluate(OPEN_CARD, field)
        await self.page.locator(field).first.fill(text)

    async def choose(self) -> None:
        """Open an example, and put the mark on it."""
        before = await self.page.evaluate("regrain.editor.id")
        await self.page.click(".rg-opener")
        await self.page.click(f"[data-name='{self.random.choice(_EXAMPLES)}']")
        await self.page.wait_for_function(
            "id => regrain.editor.id !== id && regrain.editor.loaded", arg=before
        )
        await self.page.wait_for_selector(".rg-card")
        await self._name()

    async def click(self) -> None:
        """Click the frame, and wait for the mask."""
        await self.page.click("#tabs >> text=Masks")
        await self.page.evaluate(_WATCH)
        canvas = self.page.locator(".rg-canvas-stage canvas")
        before = await self.page.evaluate("answers.length")
        await canvas.scroll_into_view_if_needed()
        box = await canvas.bounding_box()
        x, y = self._place_in(box)
        while not await self.page.evaluate(_ON_FRAME, [x, y]):
            x, y = self._place_in(box)
        await self.page.mouse.click(x, y)
        await self.page.wait_for_function("count => answers.length > count", arg=before)
        kind = self.tally.clicks if self.tally.busy else self.tally.alone
        answers = await self.page.evaluate("answers")
        kind.append(answers[-1])

    def _place_in(self, box: Mapping[str, float]) -> tuple[float, float]:
        """Draw a place in the stripe of the frame where this session clicks."""
        across = (self.number + self.random.random()) / self.of
        down = self.random.random()
        x = box["x"] + across * box["width"]
        y = box["y"] + down * box["height"]
        return x, y

    async def undo(self) -> None:
        """Undo the last change, if there is one."""
        if await self.page.evaluate("regrain.editor.undo"):
            rev = await self.page.evaluate("regrain.editor.rev")
            await self.page.click("#tabs >> text=Masks")
            await self.page.click("[aria-label^='Undo'], [title^='Undo']")
            await self.page.wait_for_function(
                "rev => regrain.editor.rev > rev", arg=rev
            )

    async def write(self) -> None:
        """Type what the first region should become."""
        self.word = self.random.choice(_WORDS)
        await self._fill("#rg-prompt-0", self.word)

    async def track(self) -> None:
        """Track the regions through the clip, or cancel a tracking that goes on."""
        await self.page.click("#tabs >> text=Masks")
        await self.page.click(".rg-track")
        if self.random.random() < 0.7:
            await self.page.wait_for_function("!regrain.editor.tracking")

    async def _press(self) -> bool:
        """Begin a try of the frame that is shown; return whether it has begun."""
        if await self.page.locator("#stop").is_visible():
            return False
        await self.page.click("#tries >> text=Quick try")
        await self.page.wait_for_function(
            "document.querySelector('#stop')?.checkVisibility() || document.querySelector('[role=alert]')"
        )
        await self.look()
        return await self.page.locator("#stop").is_visible()

    async def _wait(self) -> None:
        """Wait for the end of the run, and note meanwhile how many come before."""
        while await self.page.locator("#stop").is_visible():
            await self.look()
            await asyncio.sleep(1)

    async def run(self) -> None:
        """Run and wait for the result."""
        began = time.monotonic()
        if await self._press():
            await self._wait()
            self.tally.runs.append(time.monotonic() - began)

    async def queue(self) -> None:
        """Put runs behind one, move or remove one of them, and wait for the others."""
        from playwright.async_api import TimeoutError as TooLate

        if not await self._press():
            return
        for word in self.random.sample(_WORDS, 2):
            self.word = word
            await self._fill("#rg-prompt-0", self.word)
            count = await self.page.locator("#queue li").count()
            await self.page.click("#run")
            # the run before may have ended, so that this one has begun
            with suppress(TooLate):
                await self.page.wait_for_function(_LONGER, arg=count, timeout=10_000)
            self.tally.queued[await self.page.locator("#queue li").count()] += 1
        tools = await self.page.locator("#queue button:not([disabled])").all()
        if tools:
            with suppress(TooLate):  # its run may have begun
                await self.random.choice(tools).click(timeout=2000)
        await self._wait()

    async def stop(self) -> None:
        """Stop a run, somewhere."""
        if await self._press():
            await asyncio.sleep(self.random.uniform(0, 8))
            if await self.page.locator("#stop").is_visible():
                await self.page.click("#stop")
            await self._wait()

    async def close(self) -> None:
        """Close the tab in the middle of a run, and come back as another visitor."""
        await self._press()
        await asyncio.sleep(self.random.uniform(0, 8))
        await self.open()

    async def reload(self) -> None:
        """Reload, mostly in the middle of a run; nothing is lost."""
        if self.random.random() < 0.6:
            await self._press()
        await self.page.reload()
        await self._settle()
        await self._check_kept()

    async def lose_network(self) -> None:
        """Lose the network for a moment, mostly in the middle of a run; nothing is
        lost."""
        if self.random.random() < 0.6:
            await self._press()
        await self.page.context.set_offline(True)
        await self.write()
        await asyncio.sleep(self.random.uniform(1, 15))
        await self.page.context.set_offline(False)
        await asyncio.sleep(5)  # the page finds out by itself
        await self._settle()
        await self._check_kept()

    async def _check_kept(self) -> None:
        """Count a loss if the name or the word is gone."""
        name = await self.page.locator(".rg-name").first.input_value()
        word = await self.page.input_value("#rg-prompt-0")
        name_is_gone = name != self.mark
        word_is_gone = self.word and word != self.word
        if name_is_gone or word_is_gone:
            self.tally.lost += 1

    async def be_slow(self) -> None:
        """Read what the server sends at 2 kB/s or hardly at all, while a run goes
        on."""
        network = await self.page.context.new_cdp_session(self.page)
        slow = _SLOW | {"downloadThroughput": self.random.choice((2000, 50))}
        await network.send("Network.enable")
        began = await self._press()
        await network.send("Network.emulateNetworkConditions", slow)
        await asyncio.sleep(self.random.uniform(10, 30))
        await network.send("Network.emulateNetworkConditions", _FAST)
        await network.detach()
        if began:
            await self._wait()
