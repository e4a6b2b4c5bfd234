"""How quick is the page, and does it promise the right times? `python -m
benchmarks.page`.

`speed` serves the real app to a real Chromium and measures, in the browser: the time
until the page is up and its first result plays, from choosing an example to its result,
from a click until its mask is painted, from the moment the editor yields a preview
until the browser shows it, and from a drawn clip of one's own to its edit; and whether
all fast clicks are kept.

`promises` runs the built-in model ten times. The time of each run is promised before it
begins, from the examples and from the runs before it, as on the page; the last run has
the settings of the first. The table has the seconds promised over those taken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import browsing
from benchmarks.edit_cost import request_for
from benchmarks.served import chromium, start
from regrain.editing import EditRequest, Finished, edit
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.session.examples import load_examples
from regrain.ui.views.costs import Costs
from regrain.ui.views.settings import values

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
# Method, frames, pixels of the clip's side, parameters.
RUNS: tuple[tuple[str, int, int, dict[str, Any]], ...] = (
    ("videograin", 8, 512, {}),
    ("videograin", 1, 512, {}),
    ("videograin", 8, 512, {"steps": 10}),
    ("videograin", 24, 256, {"steps": 8}),
    ("sdedit", 8, 512, {}),
    ("sdedit", 32, 720, {"steps": 10}),
    ("fatezero", 8, 512, {"steps": 10}),
    ("fresco", 8, 512, {}),
    ("vid2vid_zero", 8, 256, {"steps": 8}),
    ("videograin", 8, 512, {}),
)


def serve(log: Path) -> None:
    """Serve the real app, and log when each preview was made and what its first picture
    is."""
    from regrain.editing.recipe.events import Event, Preview
    from regrain.ui.page import launch
    from regrain.ui.server.media import data_url

    plain_edit = launch.edit

    def noted(request: Any) -> Iterator[Event]:
        for event in plain_edit(request):
            if isinstance(event, Preview):
                picture = data_url(event.frames[0], 160, 76)
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


def measure_promises(
    runs: int, steps: int | None, folder: Path
) -> list[dict[str, Any]]:
    """Compare the times promised with those taken; `folder` takes the cache of the
    runs."""
    os.environ["REGRAIN_CACHE"] = str(folder)
    examples = load_examples(ASSETS / "examples", folder / "media").values()
    made = [
        (one.request, one.opened.made.report) for one in examples if one.opened.made
    ]
    costs = Costs(made)
    print(f"{'run':44}{'promised':>16}{'taken':>8}{'promised / taken':>18}")
    rows = []
    for number, (method, frames, side, given) in enumerate(RUNS[:runs]):
        params = given | {"steps": steps} if steps else given
        # With the same seed, the same run again would come from the cache.
        request = replace(asked(method, frames, side, params), seed=number)
        taken_steps = request.params["steps"]
        name = f"{method}, {frames} frames of {side} px, {taken_steps} steps"
        rows.append(_measure_promise(name, request, costs))
    return rows


def _measure_promise(name: str, request: EditRequest, costs: Costs) -> dict[str, Any]:
    """Compare the time promised for a run with that taken, and print both."""
    promise = costs.about(request)
    promised = promise.left if promise else 0.0
    off = promise.off if promise else 1.0
    told = costs.told(request)
    taken = seconds_taken(request, costs)
    print(f"{name:44}{told:>16}{taken:8.1f}{promised / taken:18.2f}", flush=True)
    return {
        "run": name,
        "promised": promised,
        "off": off,
        "taken": taken,
    }


def asked(method: str, frames: int, side: int, given: dict[str, Any]) -> EditRequest:
    """Return a run of the built-in model with the parameters that the page would
    give."""
    params = values(method, ASSETS / "storybook", given)
    request = request_for(method, frames, side)
    return replace(request, model="storybook", size=None, params=params)


def seconds_taken(request: EditRequest, costs: Costs) -> float:
    """Run, let `costs` note it, and return its seconds without those for loading the
    model."""
    *_, last = costs.watched(edit)(request)
    assert isinstance(last, Finished)
    seconds = last.report["seconds"]
    return sum(seconds.values()) - seconds["loading"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("speed", "promises"), help="default: both")
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
    parser.add_argument(
        "--runs", type=int, default=len(RUNS), help="runs with a promise"
    )
    parser.add_argument(
        "--run-steps", type=int, help="of all of them, in place of their own"
    )
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/page"))
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        if args.part != "promises":
            found |= {"figures": measure_speed(args, Path(name)), "goals": GOALS}
        if args.part != "speed":
            found["promises"] = measure_promises(args.runs, args.run_steps, Path(name))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "page.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
