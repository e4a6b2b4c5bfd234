"""How quick is the page? `python -m benchmarks.page`.

Serves the real app to a real Chromium and measures, in the browser: the time
until the page is up and its first result plays, from choosing an example to its result,
from a click until its mask is painted, from Enter in the words at a mask until the tried
frame stands in its place, from the moment the editor yields a preview
until the browser shows it, and from a drawn clip of one's own to its edit; and whether
all fast clicks are kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import browsing
from benchmarks.served import chromium, start

GOALS = {
    "page_up_s": 5.0,
    "first_result_s": 2.0,
    "choice_s": 2.0,
    "acknowledged_ms": 100.0,
    "click_ms": 150.0,
    "points_of_10": 10,
    "try_s": 2.0,
    "preview_ms": 100.0,
    "own_clicks": 3,
}


def serve(log: Path) -> None:
    """Serve the real app, and log when each preview was made and what its first picture
    is."""
    from regrain.editing.recipe.events import Event, Preview
    from regrain.ui.page import launch
    from regrain.ui.views.attention_views import live

    plain_edit = launch.edit

    def noted(request: Any) -> Iterator[Event]:
        for event in plain_edit(request):
            if isinstance(event, Preview):
                picture, *_ = live(event, request).frames
                with log.open("a") as file:
                    file.write(json.dumps([picture, time.time() * 1000]) + "\n")
            yield event

    launch.edit = noted
    launch.main()


def measure_speed(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Serve the app and measure what a visitor waits for; `folder` takes its files."""
    from playwright.sync_api import sync_playwright

    log = folder / "previews.jsonl"
    log.touch()
    command = ["-m", "benchmarks.page", "--serve", log]
    process, url, seconds = start(command, folder / "output.txt")
    figures: dict[str, Any] = {"page_up_s": seconds}
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(**chromium())
            openings = [
                browsing.measure_opening(browser, url) for _ in range(args.openings)
            ]
            figures["first_result_s"] = statistics.median(openings)
            page = browsing.open_page(browser, url)
            figures |= browsing.measure_choice(page)
            figures |= browsing.measure_clicks(page, args.clicks)
            figures |= browsing.measure_tries(page)
            figures |= browsing.measure_previews(page, log, args.steps)
            figures |= browsing.measure_own(browser, url, folder, args.own_steps)
            browser.close()
    finally:
        process.terminate()
        process.wait(30)
    for name, value in figures.items():
        shown = f"{value:.1f}" if isinstance(value, float) else str(value)
        goal = f"goal {GOALS[name]:g}" if name in GOALS else ""
        print(f"{name:16s}{shown:>28s}   {goal}", flush=True)
    return figures


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--openings", type=int, default=5, help="browsers that open the page"
    )
    parser.add_argument("--clicks", type=int, default=12, help="clicks that are timed")
    parser.add_argument(
        "--steps", type=int, default=10, help="of the run whose previews are timed"
    )
    parser.add_argument(
        "--own-steps", type=int, help="of the edit of a clip of one's own"
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/page"))
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    with tempfile.TemporaryDirectory() as name:
        found = {"figures": measure_speed(args, Path(name)), "goals": GOALS}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "page.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
