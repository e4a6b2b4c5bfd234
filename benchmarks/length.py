"""What length does to an edit: memory, seams, drift, frames between key frames, and time.

`python -m benchmarks.length` edits drawn clips whose true edit is known.

- `memory`: peak memory of runs by the command line, of clips of two lengths, each in its own process.
- `windows`: a clip in several windows. `seams` is the warp error across their borders over that inside them;
  `first` and `last` are the shares of regions that show what was asked for in the first and the last second;
  `drift` is the distance between a region's colours in the first and the last second over that in the true
  edit, and `growth` the same for how many times that distance exceeds the one between the first two seconds;
  `left` is the time left that is said when the second window begins over what the rest took.
- `keys`: every 8th frame is edited, the others are filled. dB to the true edit inside the regions for both,
  and how many times faster this is than editing all frames.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.edit_quality import FIRST_SEED, params_for
from benchmarks.judge import nearest, warp_errors
from benchmarks.tasks import FRAMES, TASKS, Task, true_masks
from regrain.editing import edit, load_backbone, save_project
from regrain.editing.cli.commands import parse_settings
from regrain.editing.models.backbone import Backbone
from regrain.editing.pipeline.metrics import psnr
from regrain.editing.recipe.events import EditResult, Finished, Progress, WindowStarted
from storybook import render

KINDS = {  # the kind of edit by which each method is measured
    "videograin": "instance", "fresco": "instance", "fatezero": "color", "vid2vid_zero": "color",
    "tune_a_video": "color",
}  # fmt: skip
QUIET: dict[str, dict[str, object]] = {"tune_a_video": {"tune_preview_every": 0}}
SECOND, SIZE, MARGIN = 8, 128, 6  # frames; pixels
_BINS = 6  # of each colour


def memory(method: str, frames: int, settings: Sequence[str]) -> int:
    """Peak memory in bytes of a run by the command line, on an empty cache."""
    task = TASKS[KINDS[method]](FIRST_SEED, SIZE, true_masks(MARGIN), frames)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_project(replace(task.request, method=method), folder / "project")
        command = [
            sys.executable,
            "-m",
            "editing",
            "run",
            str(folder / "project"),
            "-o",
            str(folder / "out"),
        ]
        command += [part for setting in settings for part in ("--set", setting)]
        environment = os.environ | {"REGRAIN_CACHE": str(folder / "cache")}
        run = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode:
            raise RuntimeError(f"{method}: exit code {run.returncode}")
    return usage.ru_maxrss * 1024


class Run(NamedTuple):
    """An edit on an empty cache: its result, its seconds without loading the model, and the time left.

    `left` is what was said after the first window over what the rest took; NaN without a second window.
    """

    result: EditResult
    seconds: float
    left: float


def run(task: Task, backbone: Backbone, method: str, **given: object) -> Run:
    """Edit a clip."""
    params = params_for(KINDS[method], {"method": method}, backbone)
    params = {**params, **QUIET.get(method, {}), "preview_every": 0, **given}
    params.pop("method")
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"REGRAIN_CACHE": folder}):
        began, window, predicted, at, last = time.perf_counter(), 0, float("nan"), 0.0, None
        for last in edit(replace(task.request, method=method, params=params), backbone):
            window = last.number if isinstance(last, WindowStarted) else window
            if (
                window == 2
                and not at
                and isinstance(last, Progress)
                and last.seconds_left is not None
            ):
                predicted, at = last.seconds_left, time.perf_counter()
        ended = time.perf_counter()
    assert isinstance(last, Finished)
    return Run(last.result, ended - began, predicted / (ended - at))


def in_windows(task: Task, result: EditResult) -> dict[str, float]:
    """Figures of an edit in several windows."""
    assert result.plan is not None
    frames, truth = np.asarray(result.frames), render(task.truth, SIZE)
    inside, last = np.asarray(task.request.edited_mask), len(frames) - 1
    change = warp_errors(frames, truth.flow).mean(1).numpy()
    errors = np.array([pair[area].mean() for pair, area in zip(change, inside, strict=False)])
    at = [window.keys[0] - 1 for window in result.plan.windows[1:]]
    seams = errors[at].mean() / np.delete(errors, at).mean()
    first, final = (tuple(t + shift for t in (1, 3, 6)) for shift in (0, last + 1 - SECOND))
    asked = [target.asked for target in task.targets]
    right = [np.equal(nearest(frames, task, at=when), asked) for when in (first, final)]
    places = [np.asarray(target.place) for target in task.targets]
    far, near = (
        [sum(_apart(x, place, when) for place in places) for x in (frames, truth.frames)]
        for when in (last + 1 - SECOND, SECOND)
    )
    return {"seams": float(seams), "first": float(np.mean(right[0])), "last": float(np.mean(right[1])),
            "drift": far[0] / far[1], "growth": far[0] / far[1] / (near[0] / near[1])}  # fmt: skip


def _apart(frames: np.ndarray, place: np.ndarray, start: int) -> float:
    """Distance (L1, 0..2) of a region's colour histograms in the first second and in the one from `start`."""
    looks = []
    for part in (slice(0, SECOND), slice(start, start + SECOND)):
        cells = (frames[part][place[part]].astype(int) * _BINS // 256) @ (_BINS**2, _BINS, 1)
        looks.append(np.bincount(cells, minlength=_BINS**3) / len(cells))
    return float(np.abs(looks[0] - looks[1]).sum())


def with_keys(task: Task, result: EditResult) -> dict[str, float]:
    """dB to the true edit inside the regions, of key frames and of the frames between them."""
    assert result.plan is not None
    frames, truth = np.asarray(result.frames), render(task.truth, SIZE).frames
    inside, keys = np.asarray(task.request.edited_mask), list(result.plan.keys)
    between = np.setdiff1d(np.arange(len(frames)), keys)
    return {name: float(psnr(truth[own], frames[own], inside[own]) or 0.0)
            for name, own in (("keys", keys), ("between", between))}  # fmt: skip


def measure(
    method: str, args: argparse.Namespace, backbone: Backbone
) -> Iterator[tuple[str, dict[str, float]]]:
    """The figures of one method, part by part."""
    size = "frames_at_once" if method == "fresco" else "window"
    tuning = [f"tune_steps={min(args.tune_steps, 4)}"] if method == "tune_a_video" else []
    if "memory" in args.part:
        short, long = (memory(method, n, ["steps=4", f"{size}=8", *tuning]) for n in args.lengths)
        yield "memory", {"short": short / 2**20, "long": long / 2**20, "ratio": long / short}
    given = {size: args.window, **parse_settings(args.set)}
    given |= {"tune_steps": args.tune_steps} if method == "tune_a_video" else {}
    parts: dict[str, list[dict[str, float]]] = {"windows": [], "keys": []}
    for seed in range(FIRST_SEED, FIRST_SEED + args.scenes):
        task, seconds = TASKS[KINDS[method]](seed, SIZE, true_masks(MARGIN), args.frames), 0.0
        if {"windows", "keys"} & set(args.part):
            result, seconds, left = run(task, backbone, method, **given)
            parts["windows"].append({**in_windows(task, result), "left": left})
        if "keys" in args.part:
            result, fewer, _ = run(task, backbone, method, **given, keyframes=f"every {args.every}")
            parts["keys"].append({**with_keys(task, result), "faster": seconds / fewer})
    for part, rows in parts.items():
        if rows:
            yield part, {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--part", nargs="+", choices=["memory", "windows", "keys"],
                        default=["memory", "windows", "keys"])  # fmt: skip
    parser.add_argument(
        "--lengths", type=int, nargs=2, default=[24, 240], help="of the clips for memory"
    )
    parser.add_argument("--frames", type=int, default=12 * FRAMES)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--scenes", type=int, default=2)
    parser.add_argument("--tune-steps", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/length"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    backbone, table = load_backbone("storybook", dtype=getattr(torch, args.dtype)), {}
    args.out.mkdir(parents=True, exist_ok=True)
    for method in args.methods:
        for part, figures in measure(method, args, backbone):
            table[f"{method} {part}"] = figures
            shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            print(f"{method:14}{part:9}{shown}", flush=True)
            (args.out / "length.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
