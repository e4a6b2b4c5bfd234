"""Does every region become what its words say? `python -m benchmarks.edit_quality --scenes 40`.

Drawn scenes whose true edit is known (`benchmarks/tasks.py`). A region is right if, among all candidates
rendered in the same pose, the one asked for is nearest to the edited pixels (analysis by synthesis); it leaks
if what was asked of another region is nearest. Beside it: frames nearer to the true edit than to the source,
distance to the true edit, what changed outside the regions with and without compositing, and how well the
edit follows the true motion. Rows are methods and ablations of VideoGrain; those "by words" get the composed
prompt without regions and masks. `--masks clicked` makes the masks by one click per actor and tracking.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.tasks import TASKS, Task, clicked_masks, true_masks
from editing import Finished, edit, load_backbone
from editing.backbones import Backbone
from editing.diffusion import add_noise, advance, guide
from editing.flow import warp
from editing.metrics import psnr, ssim
from storybook import render
from storybook.world import render_frames

FIRST_SEED = 20_000
SDEDIT_STRENGTH, SDEDIT_STEPS, SDEDIT_GUIDANCE = 0.6, 20, 5.0
ROWS: dict[str, dict[str, object]] = {
    "videograin": {},
    "no modulation": {"cross_strength": 0.0, "self_strength": 0.0},
    "cross only": {"self_strength": 0.0},
    "per frame": {"attention_span": "own_frame"},
    "SDEdit": {"method": "sdedit"},
    "fatezero": {"method": "fatezero"},
    "fatezero by words": {"method": "fatezero", "by_words": True},
    "vid2vid-zero": {"method": "vid2vid_zero", "reconstruct": False},
    "vid2vid-zero by words": {"method": "vid2vid_zero", "reconstruct": False, "by_words": True},
}
# FateZero's presets are for kinds of edits; what a model recommends outweighs them.
FATEZERO = {"style": "style", "color": "attribute", "background": "attribute"}
JUDGED = (1, 3, 6)  # frames in which the nearest candidate is looked for


def run(task: Task, backbone: Backbone, params: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Edited frames, and the same before compositing: uint8 [frames, size, size, 3] each."""
    if params.get("method") == "sdedit":
        frames = sdedit(task, backbone)
        source = task.request.clip.read(0, len(task.request.clip))
        return np.where(task.request.edited_mask[..., None], frames, source), frames
    given = replace(
        task.request,
        method=str(params.get("method", "videograin")),
        params={"preview_every": 0} | {k: v for k, v in params.items() if k not in ("method", "by_words")},
    )
    if params.get("by_words"):
        given = replace(given, regions=(), labels=None, prompt=task.request.composed.text)
    for event in edit(given, backbone):
        if isinstance(event, Finished):
            return event.result.frames, event.result.uncomposited
    raise RuntimeError("the run ended without a result")


def params_for(task: str, row: Mapping[str, object], backbone: Backbone) -> dict[str, object]:
    """A row's params for a kind of task: those of FateZero begin with the preset for such edits."""
    preset = {}
    if row.get("method") == "fatezero" and "preset" not in row:
        preset = {"preset": FATEZERO.get(task, "shape"), **backbone.defaults.get("fatezero", {})}
    return preset | dict(row)


@torch.no_grad()
def sdedit(task: Task, backbone: Backbone) -> np.ndarray:
    """Noise the clip part of the way and denoise it with the target prompt (Meng et al. 2022).

    Every frame alone, the same noise in all.
    """
    steps = backbone.schedule.sampling(SDEDIT_STEPS)
    steps = [s for s in steps if s.t <= SDEDIT_STRENGTH * len(backbone.schedule.alphas_cumprod)]
    clean = backbone.encode(task.request.clip.read(0, len(task.request.clip)))
    noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(0)).expand_as(clean)
    x = add_noise(clean, noise, steps[0])
    text = backbone.embed(["", task.request.composed.text]).vectors
    for step in steps:
        x0, eps = backbone.predict(torch.cat([x, x]), step, text)
        x = advance(*(guide(*both.chunk(2), SDEDIT_GUIDANCE) for both in (x0, eps)), step)
    return backbone.decode(x)


def nearest(frames: np.ndarray, task: Task) -> list[str]:
    """For each target the candidate whose rendering is nearest in its place."""
    out = []
    for target in task.targets:
        inside, seen = target.place[list(JUDGED)], frames[list(JUDGED)]
        errors = {}
        for name, scene in target.candidates.items():
            drawn = render_frames(scene, frames.shape[1], JUDGED)
            errors[name] = float(np.square(drawn[inside].astype(float) - seen[inside]).mean())
        out.append(min(errors, key=errors.__getitem__))
    return out


def warp_error(frames: np.ndarray, flow: np.ndarray) -> float:
    """Mean absolute change along the true motion, 0..1."""
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    back = warp(x[1:], torch.from_numpy(flow))
    return float((back - x[:-1]).abs().mean())


def reached(frames: np.ndarray, task: Task) -> list[bool]:
    """For each frame whether its edited pixels are nearer to the true edit than to the source."""
    size, inside = frames.shape[1], task.request.edited_mask
    errors = [
        np.square(render(scene, size).frames.astype(float) - frames).mean(-1)
        for scene in (task.truth, task.source)
    ]
    return [bool(a[w].mean() < b[w].mean()) for a, b, w in zip(*errors, inside, strict=True)]


def interval(hits: Sequence[bool]) -> tuple[float, float]:
    """Share and the half width of its 95 % interval (Wilson)."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    return p, z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def judge(task: Task, frames: np.ndarray, uncomposited: np.ndarray) -> dict[str, list]:
    """Every figure of one edit."""
    found, outside = nearest(frames, task), ~task.request.edited_mask
    drawn, truth = render(task.source, frames.shape[1]), render(task.truth, frames.shape[1])
    own = warp_error(drawn.frames, drawn.flow)
    return {
        "right": [f == t.asked for f, t in zip(found, task.targets, strict=True)],
        "leaked": [f in t.elsewhere for f, t in zip(found, task.targets, strict=True) if t.elsewhere],
        "reached": reached(frames, task),
        "inside_psnr": [psnr(truth.frames, frames, task.request.edited_mask)],
        "outside_psnr": [psnr(drawn.frames, frames, outside)],
        "outside_psnr_uncomposited": [psnr(drawn.frames, uncomposited, outside)],
        "outside_median_error": [median_error(drawn.frames, uncomposited, outside)],
        "outside_ssim_uncomposited": [ssim(drawn.frames, uncomposited, outside)],
        "warp_error_ratio": [warp_error(frames, truth.flow) / own],
    }


def median_error(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float | None:
    """Median absolute difference over the pixels `where`, of 255; None for no pixel."""
    return float(np.median(np.abs(a[where].astype(float) - b[where]))) if where.any() else None


def summary(figures: Sequence[Mapping[str, list]]) -> dict[str, float | None]:
    """Means over the edits of a row; shares with the half width of their interval."""
    out: dict[str, float | None] = {"edits": len(figures)}
    for name in figures[0]:
        values = [v for f in figures for v in f[name] if v is not None]
        if name in ("right", "leaked"):
            out[name], out[name + "_95"] = interval(values) if values else (None, None)
        else:
            out[name] = float(np.mean(values)) if values else None
    return out


def line(task: str, name: str, row: Mapping[str, float | None]) -> str:
    """One line of the table."""

    def cell(key: str, form: str) -> str:
        value = row[key]
        return "-" if value is None else format(value, form)

    return (
        f"{task:11s}{name:22s}{cell('right', '.2f'):>6s} +- {cell('right_95', '.2f')}"
        f"{cell('leaked', '.2f'):>7s}{cell('reached', '.2f'):>8s}{cell('inside_psnr', '.1f'):>7s}"
        f"{cell('outside_psnr', '.1f'):>9s}{cell('outside_psnr_uncomposited', '.1f'):>7s}"
        f"{cell('outside_median_error', '.1f'):>8s}{cell('warp_error_ratio', '.2f'):>7s}\n"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first scene")
    parser.add_argument("--task", action="append", choices=tuple(TASKS), help="default: all")
    parser.add_argument("--row", action="append", choices=tuple(ROWS), help="default: all")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:JSON",
        help='params of another row, "method" among them',
    )  # fmt: skip
    parser.add_argument("--masks", choices=("true", "clicked"), default="true")
    parser.add_argument("--grow", type=int, default=6, help="pixels the masks are wider than the things")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/edit_quality"))
    args = parser.parse_args()
    rows = {name: ROWS[name] for name in (args.row or ([] if args.variant else ROWS))}
    rows |= {name: json.loads(text) for name, _, text in (v.partition(":") for v in args.variant)}
    masks = {"true": true_masks, "clicked": clicked_masks}[args.masks](args.grow)
    backbone, table = load_backbone(args.model), {}
    args.out.mkdir(parents=True, exist_ok=True)
    head = f"{'task':11s}{'row':22s}{'right':>6s}{'leak':>15s} reached inside  outside uncomp  median   warp"
    sys.stdout.write(head + "\n")
    for name in args.task or TASKS:
        tasks = [TASKS[name](args.first + i, args.size, masks) for i in range(args.scenes)]
        sheet = [np.concatenate([t.request.clip.read(4, 5)[0] for t in tasks])]
        table[name] = {}
        for row, given in rows.items():
            params = params_for(name, given, backbone)
            began, figures, column = time.perf_counter(), [], []
            for task in tasks:
                frames, uncomposited = run(task, backbone, params)
                figures.append(judge(task, frames, uncomposited))
                column.append(frames[4])
            seconds = (time.perf_counter() - began) / len(tasks)
            table[name][row] = summary(figures) | {"params": params, "seconds_per_edit": seconds}
            sheet.append(np.concatenate(column))
            sys.stdout.write(line(name, row, table[name][row]))
            sys.stdout.flush()
        sheet.append(np.concatenate([render_frames(t.truth, args.size, (4,))[0] for t in tasks]))
        Image.fromarray(np.concatenate(sheet, 1)).save(args.out / f"{name}.png")
    facts = {"model": args.model, "masks": args.masks, "grow": args.grow, "size": args.size}
    (args.out / "edit_quality.json").write_text(json.dumps(facts | {"tasks": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
