"""How quick is the page? `python -m benchmarks.app`: the real app, a real Chromium, the first example.

Measures in the browser: the time until the page is up and its first result plays, from a click until its mask
is painted, from the moment the editor yields a preview until the browser shows it, and from a drawn clip of
one's own to its edit; and whether all fast clicks are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
GOALS = {
    "page_up_s": 5.0,
    "first_result_s": 2.0,
    "choice_s": 2.0,
    "acknowledged_ms": 100.0,
    "click_ms": 150.0,
    "points_of_10": 10,
    "preview_ms": 100.0,
    "own_clicks": 3,
}
# Puts what the page's components share, which is a module's, on the window, to be looked at.
SHARED = """document.addEventListener("DOMContentLoaded", async () => {
  const link = document.querySelector("link[rel=modulepreload][href$='/shared/hub.js']");
  if (link) window.regrain = (await import(link.href)).hub;
});"""
VIEWPORT = {"width": 1280, "height": 900}
_PLAYS = "(v => v?.readyState >= 2 && !v.paused)(document.querySelector('video.edited'))"
_PRESSED = """name => new Promise((done) => {
  const card = document.querySelector(`[data-name='${name}']`), since = performance.now();
  const seen = () => requestAnimationFrame(() => done(performance.now() - since));
  new MutationObserver((_, all) => { all.disconnect(); seen(); }).observe(card,
    { attributes: true, attributeFilter: ["aria-pressed"] });
  card.click();
})"""
_WATCH = """() => {
  const editor = document.querySelector(".rg-editor").editor, seen = (window.bench = { clicks: [], previews: [] });
  let since = 0;
  document.querySelector(".rg-canvas-stage canvas").addEventListener("pointerup", () => { since = performance.now(); }, true);
  // Two frames on, what the first of them painted is on the screen.
  const shown = (act) => requestAnimationFrame(() => requestAnimationFrame(act));
  regrain.on("masks", () => { if (since && !editor.pending.length) shown(() => { seen.clicks.push(performance.now() - since); since = 0; }); });
  let last = "";
  new MutationObserver(() => {
    const picture = document.querySelector(".rg-strip img")?.src ?? "";
    if (!picture || picture === last) return;
    last = picture;
    shown(() => seen.previews.push([picture, Date.now()]));
  }).observe(document.querySelector("#live"), { subtree: true, childList: true, attributes: true });
}"""  # noqa: E501


def serve(log: Path) -> None:
    """Serve the real app, and log when each preview was made and what its first picture is."""
    from regrain.editing.recipe.events import Event, Preview
    from regrain.ui.page import launch
    from regrain.ui.server.media import data_url

    edit = launch.edit

    def noted(request: Any) -> Iterator[Event]:
        for event in edit(request):
            if isinstance(event, Preview):
                picture = data_url(event.frames[0], 160, 76)
                with log.open("a") as file:
                    file.write(json.dumps([picture, time.time() * 1000]) + "\n")
            yield event

    launch.edit = noted
    launch.main()


def start(
    command: Sequence[object], output: Path, **environment: str
) -> tuple[subprocess.Popen, str, float]:
    """Start the app with arguments of Python's; its process, its address, and the seconds until it answered.

    Raises:
        RuntimeError: It ended before it answered; the message is what it wrote to `output`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"} | environment,
        stdout=output.open("w"),
        stderr=subprocess.STDOUT,
    )
    url = f"http://127.0.0.1:{port}"
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return process, url, time.monotonic() - began
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(output.read_text())


def chromium() -> dict[str, Any]:
    """How Playwright starts the Chromium of this machine."""
    kinds = "chromium", "chromium-browser", "chromium-headless-shell"
    found = next(filter(None, map(shutil.which, kinds)), None)
    return {"executable_path": found, "args": ["--no-sandbox", "--disable-dev-shm-usage"]}


def measure_opening(browser: Any, url: str) -> float:
    """Seconds from opening the page in a browser that has not seen it to the first result that plays."""
    context = browser.new_context(viewport=VIEWPORT)
    page = context.new_page()
    began = time.monotonic()
    page.goto(url)
    page.wait_for_function(_PLAYS)
    seconds = time.monotonic() - began
    context.close()
    return seconds


def measure_choice(page: Any) -> dict[str, Any]:
    """Seconds from choosing an example to its result, and milliseconds until the click is acknowledged."""
    opened = time.monotonic()
    source = page.evaluate("document.querySelector('video.edited').src")
    name = page.evaluate("document.querySelectorAll('.rg-example')[1].dataset.name")
    acknowledged = page.evaluate(_PRESSED, name)
    page.wait_for_function(
        f"src => {_PLAYS} && document.querySelector('video.edited').src !== src", arg=source
    )
    chosen = time.monotonic()
    page.locator(".rg-example").first.click()
    page.wait_for_function(
        f"src => {_PLAYS} && document.querySelector('video.edited').src === src", arg=source
    )
    page.click("#tabs >> text=Masks")
    return {"choice_s": chosen - opened, "acknowledged_ms": acknowledged}


def set_steps(page: Any, steps: int) -> None:
    """Set the number of steps of the next run."""
    page.click("#settings button")
    field = page.locator("#settings input[type=number]").first
    field.fill(str(steps))
    field.press("Tab")
    page.wait_for_timeout(500)


def measure_own(browser: Any, url: str, folder: Path, steps: int | None) -> dict[str, Any]:
    """From a drawn clip of one's own to an edit of two regions, as fast as a script can type.

    One click on each of its two actors and one on Run, the key N between them, and six texts. `steps` None
    leaves them as they are.
    """
    import storybook
    from regrain.editing.media.writing import write_video
    from regrain.masks.draw import deepest

    scene = storybook.sample_scene(30_003, plain=True)
    film = storybook.render(scene, size=256)
    write_video(folder / "own.mp4", film.frames, Fraction(8))
    editor, clicks = "document.querySelector('.rg-editor').editor", 0
    page = browser.new_page(viewport=VIEWPORT)
    page.add_init_script(SHARED)
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_function(_PLAYS)
    began = time.monotonic()
    page.set_input_files("#upload", folder / "own.mp4")
    loaded = "(e => e?.clip && e.loaded === e.clip.count && !regrain.regions.length)"
    page.wait_for_function(f"{loaded}({editor})")
    box = page.locator(".rg-canvas-stage canvas").bounding_box()
    for number in (1, 2):
        if number > 1:
            page.keyboard.press("n")
        x, y = deepest(film.labels[0] == number)
        side = box["width"] / film.labels.shape[-1]
        page.mouse.click(box["x"] + (x + 0.5) * side, box["y"] + (y + 0.5) * side)
        clicks += 1
        masked = f"{editor}.masks[0][regrain.active]?.points.length && regrain.regions.length === {number}"
        page.wait_for_function(f"!{editor}.pending.length && {masked}")
    page.fill("#rg-source", scene.caption)
    for row, (actor, wish) in enumerate(
        zip(reversed(scene.actors), ("a robot", "a panda"), strict=True)
    ):
        page.fill(f"#rg-source-{row}", actor.phrase)
        page.fill(f"#rg-prompt-{row}", wish)
    if steps:
        set_steps(page, steps)
    ready = time.monotonic()
    page.click("#run")
    page.wait_for_selector(".rg-files a", state="detached")
    page.wait_for_selector(".rg-files a", timeout=1_200_000)
    return {
        "own_clicks": clicks + 1,
        "own_ready_s": ready - began,
        "own_edit_s": time.monotonic() - began,
    }


def measure(page: Any, log: Path, clicks: int, steps: int) -> dict[str, Any]:
    """Measure everything on a page that has just been opened."""
    page.wait_for_function(
        "(e => e?.clip && e.loaded === e.clip.count)(document.querySelector('.rg-editor')?.editor)"
    )
    page.evaluate(_WATCH)
    canvas = page.locator(".rg-canvas-stage canvas")
    box = canvas.bounding_box()
    state = "document.querySelector('.rg-editor').editor"

    def click(i: int, n: int) -> None:
        across, down = 0.2 + 0.6 * ((i * 0.618) % 1), 0.25 + 0.5 * (i + 0.5) / n
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])

    answered = set()
    for number in range(clicks):
        click(number, clicks)
        page.wait_for_function(f"bench.clicks.length === {number + 1}")
        answered.add(page.evaluate(f"{state}.masks[0][regrain.active]?.by"))
        page.keyboard.press("Control+z")
        page.wait_for_function(
            f"!{state}.pending.length && !{state}.masks[0][regrain.active]?.points.length"
        )
    first, *rest = page.evaluate("bench.clicks")
    for number in range(10):
        click(number, 10)
    page.wait_for_function(f"!{state}.pending.length")
    points = page.evaluate(f"{state}.masks[0][regrain.active]?.points.length ?? 0")
    while page.evaluate(f"{state}.undo"):
        rev = page.evaluate(f"{state}.rev")
        page.keyboard.press("Control+z")
        page.wait_for_function(f"{state}.rev > {rev}")

    set_steps(page, steps)
    page.click("#run")
    page.wait_for_selector("#stop")
    page.wait_for_selector("#stop", state="hidden", timeout=1_200_000)
    made = dict(json.loads(line) for line in log.read_text().splitlines())
    delays = [
        at - made[picture] for picture, at in page.evaluate("bench.previews") if picture in made
    ]
    return {
        "answered_by": sorted(filter(None, answered)),
        "first_click_ms": first,
        "click_ms": statistics.median(rest),
        "points_of_10": points,
        "preview_ms": statistics.median(delays) if delays else None,
        "previews_made": len(made),
        "previews_shown": len(delays),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument(
        "--steps", type=int, default=10, help="steps of the run whose previews are timed"
    )
    parser.add_argument("--openings", type=int, default=5, help="browsers that open the page")
    parser.add_argument("--own-steps", type=int, help="steps of the edit of a clip of one's own")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/app"))
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        log = Path(folder) / "previews.jsonl"
        log.touch()
        command = ["-m", "benchmarks.app", "--serve", log]
        process, url, seconds = start(command, Path(folder) / "output.txt")
        try:
            browser = playwright.chromium.launch(**chromium())
            page = browser.new_page(viewport=VIEWPORT)
            page.add_init_script(SHARED)
            page.set_default_timeout(120_000)
            openings = [measure_opening(browser, url) for _ in range(args.openings)]
            figures = {"page_up_s": seconds, "first_result_s": statistics.median(openings)}
            page.goto(url)
            page.wait_for_function(_PLAYS)
            figures |= measure_choice(page)
            figures |= measure(page, log, args.clicks, args.steps)
            figures |= measure_own(browser, url, Path(folder), args.own_steps)
            browser.close()
        finally:
            process.terminate()
            process.wait(30)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "app.json").write_text(json.dumps({"figures": figures, "goals": GOALS}, indent=2))
    for name, value in figures.items():
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        goal = f"goal {GOALS[name]:g}" if name in GOALS else ""
        print(f"{name:16s}{shown:>28s}   {goal}")


if __name__ == "__main__":
    main()
