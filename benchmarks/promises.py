"""Does a run take what the page promises? `python -m benchmarks.promises`: ten runs of the built-in model.

Each is promised before it begins, from the examples and from the runs before it, as on the page; the last has
the settings of the first. The table has the seconds promised over those taken.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.edit_cost import request_for
from regrain.editing import EditRequest, edit
from regrain.editing.storage.local_models import ASSETS
from regrain.ui.session.examples import load_examples
from regrain.ui.views.costs import Costs
from regrain.ui.views.settings import values

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


def asked(method: str, frames: int, side: int, given: dict[str, Any]) -> EditRequest:
    """A run of the built-in model with every parameter as it takes it."""
    params = values(method, ASSETS / "storybook", given)
    return replace(request_for(method, frames, side), model="storybook", size=None, params=params)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=len(RUNS), help="how many of them")
    parser.add_argument("--steps", type=int, default=0, help="in place of their own")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/promises"))
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REGRAIN_CACHE"] = folder
        examples = load_examples(ASSETS / "examples", Path(folder, "media")).values()
        costs = Costs((one.request, one.opened.made.report) for one in examples if one.opened.made)
        print(f"{'run':44}{'promised':>16}{'taken':>8}{'promised / taken':>18}")
        for number, (method, frames, side, given) in enumerate(RUNS[: args.runs]):
            request = asked(
                method, frames, side, given | ({"steps": args.steps} if args.steps else {})
            )
            request = replace(request, seed=number)  # the same again would come from the cache
            (promised, off, _), told = costs.about(request) or (0.0, 1.0, None), costs.told(request)
            *_, last = costs.watched(edit)(request)
            seconds = last.report["seconds"]
            taken = sum(seconds.values()) - seconds["loading"]
            name = f"{method}, {frames} frames of {side} px, {request.params['steps']} steps"
            rows.append({"run": name, "promised": promised, "off": off, "taken": taken})
            print(f"{name:44}{told:>16}{taken:8.1f}{promised / taken:18.2f}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "promises.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
