"""Effects of length and size on an edit: memory, seams, drift, frames between key frames,
and time.

`python -m benchmarks.length` edits drawn clips whose true edit is known.

- `memory`: peak memory of runs by the command line, of clips of two lengths, each in its own process.
- `windows`: a clip in several windows. `seams` is the warp error across their borders over that inside them;
  `first` and `last` are the shares of regions that show what was asked for in the first and the last second;
  `drift` is the distance between a region's colours in the first and the last second over that in the true
  edit.
- `keys`: every 8th frame is edited, the others are filled. dB to the true edit inside the regions for both,
  and how many times faster this is than editing all frames.
- `plates`: peak memory of opening a clip as the page does, and of editing a box of it and writing the result,
  of two heights, each in its own process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.edit_quality import FIRST_SEED, params_for
from benchmarks.judge import JUDGED, nearest, psnr, warp_errors
from benchmarks.tasks import FRAMES, TASKS, Task, true_masks
from regrain.editing import edit, load_backbone, save_project
from regrain.editing.cli.commands import parse_settings
from regrain.editing.media.writing import write_video
from regrain.editing.models.backbone import Backbone
from regrain.editing.pipeline.outputs import write_outputs
from regrain.editing.recipe.events import EditResult, Finished
from regrain.editing.request.edit import Edit
from regrain.masks.draw import pack
from regrain.ui.session.build_request import build_request
from regrain.ui.session.clips import open_upload
from regrain.ui.session.session import Session
from regrain.ui.values.layers import MaskLayer
from storybook import render

# The kind of edit by which each method is measured.
KINDS = {
    "videograin": "instance",
    "fresco": "instance",
    "fatezero": "color",
    "vid2vid_zero": "color",
    "tune_a_video": "color",
}
QUIET: dict[str, dict[str, object]] = {"tune_a_video": {"tune_preview_every": 0}}
SECOND = 8  # frames
SIZE, MARGIN = 128, 6  # pixels
_BINS = 6  # of each colour
_FRAMES = 4  # of a plate


def memory(method: str, frames: int, settings: Sequence[str]) -> int:
    """Return the peak memory in bytes of a run by the command line, on an empty
    cache."""
    task = TASKS[KINDS[method]](FIRST_SEED, SIZE, true_masks(MARGIN), frames)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project = folder / "project"
        save_project(replace(task.request, method=method), project)
        command = [
            sys.executable,
            "-m",
            "editing",
            "run",
            project,
            "-o",
            folder / "out",
        ]
        for setting in settings:
            command += ["--set", setting]
        environment = os.environ | {"REGRAIN_CACHE": str(folder / "cache")}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        run = subprocess.Popen(command, env=environment, **quiet)
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode:
            raise RuntimeError(f"{method}: exit code {run.returncode}")
    return usage.ru_maxrss * 1024


def run(
    task: Task, backbone: Backbone, method: str, **given: object
) -> tuple[EditResult, float]:
    """Edit a clip on an empty cache; returns its seconds without loading the model,
    too."""
    params = params_for(KINDS[method], {"method": method}, backbone)
    del params["method"]
    params |= QUIET.get(method, {})
    params |= {"preview_every": 0, **given}
    request = replace(task.request, method=method, params=params)
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"REGRAIN_CACHE": folder}),
    ):
        began = time.perf_counter()
        *_, last = edit(request, backbone)
        ended = time.perf_counter()
    assert isinstance(last, Finished)
    return last.result, ended - began


def in_windows(task: Task, result: EditResult) -> dict[str, float]:
    """Return the figures of an edit in several windows."""
    frames = np.asarray(result.frames)
    truth = render(task.truth, SIZE)
    last_second = len(frames) - SECOND
    return {
        "seams": _seams(task, result, truth.flow),
        "first": _right(task, frames, 0),
        "last": _right(task, frames, last_second),
        "drift": _drift(task, frames, truth.frames, last_second),
    }


def _seams(task: Task, result: EditResult, flow: np.ndarray) -> float:
    """Return the warp error inside the regions across the borders of windows, over that
    elsewhere."""
    assert result.plan is not None
    changes = warp_errors(np.asarray(result.frames), flow).mean(1).numpy()
    inside = np.asarray(task.request.edited_mask)[: len(changes)]
    pairs = zip(changes, inside, strict=True)
    errors = np.array([change[area].mean() for change, area in pairs])
    borders = [window.keys[0] - 1 for window in result.plan.windows[1:]]
    return float(errors[borders].mean() / np.delete(errors, borders).mean())


def _right(task: Task, frames: np.ndarray, start: int) -> float:
    """Return the share of regions that show what was asked for in the second from frame
    `start`."""
    judged = tuple(start + frame for frame in JUDGED)
    asked = [target.asked for target in task.targets]
    return float(np.mean(np.equal(nearest(frames, task, at=judged), asked)))


def _drift(task: Task, frames: np.ndarray, truth: np.ndarray, start: int) -> float:
    """Return how far colours are from those of the first second, over how far they are
    in the true edit."""
    places = [np.asarray(target.place) for target in task.targets]
    edited = sum(_apart(frames, place, start) for place in places)
    true = sum(_apart(truth, place, start) for place in places)
    return edited / true


def _apart(frames: np.ndarray, place: np.ndarray, start: int) -> float:
    """Return the L1 distance, 0 to 2, of a region's colours in the first second and in
    that from `start`."""
    first = _histogram(frames[:SECOND], place[:SECOND])
    later = _histogram(frames[start : start + SECOND], place[start : start + SECOND])
    return float(np.abs(first - later).sum())


def _histogram(frames: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the shares of the colours, in `_BINS` steps each of red, green and blue:
    [bins]."""
    steps = frames[place].astype(int) * _BINS // 256
    cells = steps @ (_BINS**2, _BINS, 1)
    return np.bincount(cells, minlength=_BINS**3) / len(cells)


def with_keys(task: Task, result: EditResult) -> dict[str, float]:
    """Return dB to the true edit inside the regions, of key frames and of the frames
    between them."""
    assert result.plan is not None
    frames = np.asarray(result.frames)
    truth = render(task.truth, SIZE).frames
    inside = np.asarray(task.request.edited_mask)
    keys = list(result.plan.keys)
    between = np.setdiff1d(np.arange(len(frames)), keys)
    figures = {}
    for name, own in (("keys", keys), ("between", between)):
        true = truth[own]
        made = frames[own]
        figures[name] = float(psnr(true, made, inside[own]) or 0.0)
    return figures


def measure(
    method: str, args: argparse.Namespace, backbone: Backbone
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the figures of one method, part by part."""
    if "memory" in args.part:
        yield "memory", measure_memory(method, args)
    if not {"windows", "keys"} & {*args.part}:
        return
    given = {_window(method): args.window} | parse_settings(args.set)
    if method == "tune_a_video":
        given["tune_steps"] = args.tune_steps
    parts: dict[str, list[dict[str, float]]] = {"windows": [], "keys": []}
    make = TASKS[KINDS[method]]
    for seed in range(FIRST_SEED, FIRST_SEED + args.scenes):
        task = make(seed, SIZE, true_masks(MARGIN), args.frames)
        whole, seconds = run(task, backbone, method, **given)
        parts["windows"].append(in_windows(task, whole))
        if "keys" in args.part:
            interval = f"every {args.every}"
            fewer, less = run(task, backbone, method, **given, keyframes=interval)
            figures = with_keys(task, fewer)
            parts["keys"].append(figures | {"faster": seconds / less})
    for part, rows in parts.items():
        if rows:
            yield part, _means(rows)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _window(method: str) -> str:
    """Return the parameter that says how many frames are edited together."""
    return "frames_at_once" if method == "fresco" else "window"


def measure_memory(method: str, args: argparse.Namespace) -> dict[str, float]:
    """Return peak MiB of a short and of a long clip in windows of 8, and their
    ratio."""
    settings = ["steps=4", f"{_window(method)}=8"]
    if method == "tune_a_video":
        settings.append(f"tune_steps={min(args.tune_steps, 4)}")
    short, long = (memory(method, frames, settings) for frames in args.lengths)
    return {
        "short": short / 2**20,
        "long": long / 2**20,
        "ratio": long / short,
    }


def measure_plates(heights: Sequence[int]) -> dict[str, float]:
    """Return peak MiB of opening, and of editing and writing, a low and a high clip, and
    the ratios."""
    peaks = [_in_own_process(height) for height in heights]
    figures = {}
    for place, name in enumerate(("opened", "written")):
        low, high = (peak[place] / 2**20 for peak in peaks)
        figures |= {f"{name} low": low, f"{name} high": high}
        figures[f"{name} ratio"] = high / low
    return figures


def _in_own_process(height: int) -> tuple[int, int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as process,
    ):
        file = Path(folder) / "plate.mp4"
        write_video(file, _plate(height), Fraction(24), preset="ultrafast")
        return process.submit(_edit_plate, file, Path(folder)).result()


def _plate(height: int) -> Iterator[np.ndarray]:
    """Yield frames of 16 to 9 in which a square moves."""
    width = height * 16 // 9
    side = height // 5
    for number in range(_FRAMES):
        frame = np.full((height, width, 3), (60, 110, 80), np.uint8)
        left = width // 3 + number * side // 8
        frame[side : 2 * side, left : left + side] = (170, 90, 60)
        yield frame


def _edit_plate(file: Path, folder: Path) -> tuple[int, int]:
    """Open a clip and edit it; return the peak memory in bytes before and after the
    edit."""
    os.environ["REGRAIN_CACHE"] = str(folder / "cache")
    backbone = load_backbone("storybook")
    opened, _ = open_upload(file, folder / "opened", any_size=True)
    session = Session(opened)
    label = session.add_region()
    said = {"label": label, "prompt": "a fox"}
    session.describe({"regions": [said]})
    track = {}
    for number, frame in enumerate(opened.frames):
        red, green, _ = np.moveaxis(frame, 2, 0)
        track[number] = pack(red > green)
    layer = MaskLayer({}, track, dict.fromkeys(track, 1.0))
    session.commit(session.state.with_layer(label, layer))
    before = _peak()
    params = {"steps": 2, "preview_every": 0, "cuts": "none"}
    asked = Edit(method="sdedit", params=params, focus="auto")
    request = build_request(session, asked)
    *_, last = edit(request, backbone)
    assert isinstance(last, Finished)
    write_outputs(last.result, request, last.report, folder / "out")
    return before, _peak()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=KINDS, default=list(KINDS))
    parts = ["memory", "windows", "keys", "plates"]
    parser.add_argument("--part", nargs="+", choices=parts, default=parts)
    parser.add_argument(
        "--lengths",
        type=int,
        nargs=2,
        default=[24, 240],
        help="of the clips for memory",
    )
    parser.add_argument(
        "--heights", type=int, nargs=2, default=[720, 2160], help="of the plates"
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
    backbone = load_backbone("storybook", dtype=getattr(torch, args.dtype))
    table = {}
    args.out.mkdir(parents=True, exist_ok=True)

    def note(what: str, part: str, figures: dict[str, float]) -> None:
        table[f"{what} {part}"] = figures
        shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        print(f"{what:14}{part:9}{shown}", flush=True)
        (args.out / "length.json").write_text(json.dumps(table, indent=2) + "\n")

    if "plates" in args.part:
        note("sdedit", "plates", measure_plates(args.heights))
    for method in args.methods:
        for part, figures in measure(method, args, backbone):
            note(method, part, figures)


if __name__ == "__main__":
    main()
