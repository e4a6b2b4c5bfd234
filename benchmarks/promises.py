"""The time that the page promises before a run, over the time the run takes.

`python -m benchmarks.promises` edits drawn clips with the built-in model, each on an
empty cache. The first run teaches the speed of this machine and is not counted. Before
each of the others, the promise is noted as the page would show it. All ratios shall lie
between 0.67 and 1.5 on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

from regrain.editing import EditRequest, Finished, edit
from regrain.editing.models.files.facts import facts_of
from regrain.ui.work.catalogue import values
from regrain.ui.work.costs import Costs, left_again
from storybook.__main__ import as_request
from storybook.world import sample_scene

LEAST, MOST = 0.67, 1.5  # of promised over taken
_IN_STEPS = ("inverting", "editing")
# Method, frames and steps of each run; the first is not counted.
RUNS = (
    ("videograin", 8, 8),
    ("videograin", 8, 20),
    ("videograin", 4, 20),
    ("videograin", 16, 10),
    ("videograin", 1, 20),
    ("sdedit", 8, 20),
    ("sdedit", 16, 10),
    ("fatezero", 8, 20),
    ("fatezero", 4, 40),
    ("infedit", 8, 12),
    ("videograin", 8, 50),
)


@dataclass(frozen=True)
class Kept:
    """What one run was promised to take, and took, in seconds."""

    method: str
    frames: int
    steps: int
    promised: float
    off: float
    taken: float

    @property
    def ratio(self) -> float:
        """Promised over taken."""
        return self.promised / self.taken


def make_request(method: str, frames: int, steps: int, size: int) -> EditRequest:
    """Return an edit of a drawn clip, with every parameter as a run would have it."""
    request = as_request(sample_scene(3, frames), size, {"0": "a pig"})
    params = values(method, facts_of("storybook"), {"steps": steps})
    return replace(request, method=method, model="storybook", params=params)


def measure(runs: tuple[tuple[str, int, int], ...], size: int) -> Iterator[Kept]:
    """Run edits, and yield what each was promised to take and took, but the first."""
    costs = Costs()
    watched = costs.watched(edit)
    for method, frames, steps in runs:
        request = make_request(method, frames, steps, size)
        promise = costs.about(request)
        *_, finished = watched(request)
        assert isinstance(finished, Finished)
        if promise is not None:
            yield Kept(
                method,
                frames,
                steps,
                round(promise.left, 3),
                promise.off,
                round(seconds_of(finished.report), 3),
            )


def seconds_of(report: Mapping[str, Any]) -> float:
    """Return the seconds of a run that a promise is about: all but loading and
    tuning."""
    seconds = report["seconds"]
    return left_again(report) + sum(seconds.get(stage, 0.0) for stage in _IN_STEPS)


@contextmanager
def _empty_cache() -> Iterator[None]:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"REGRAIN_CACHE": folder}),
    ):
        yield


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--runs", type=int, default=len(RUNS) - 1)
    parser.add_argument(
        "--steps", type=int, default=0, help="of every run, in place of its own"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/promises"))
    args = parser.parse_args()
    runs = tuple(
        (method, frames, args.steps or steps)
        for method, frames, steps in RUNS[: args.runs + 1]
    )
    kept = []
    with _empty_cache():
        for one in measure(runs, args.size):
            kept.append(one)
            print(
                f"{one.method}, {one.frames} frames, {one.steps} steps: promised "
                f"{one.promised:.1f} s, took {one.taken:.1f} s, ratio {one.ratio:.2f}",
                flush=True,
            )
    inside = sum(LEAST <= one.ratio <= MOST for one in kept)
    print(f"{inside} of {len(kept)} between {LEAST} and {MOST}")
    mean = math.exp(fmean(math.log(one.ratio) for one in kept))
    print(f"geometric mean {mean:.2f}")
    args.out.mkdir(parents=True, exist_ok=True)
    told = [asdict(one) | {"ratio": round(one.ratio, 3)} for one in kept]
    (args.out / "promises.json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
