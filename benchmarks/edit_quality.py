"""Does every region become what its words say? `python -m benchmarks.edit_quality --scenes 40`.

Edits drawn scenes whose true edit is known (`benchmarks/tasks.py`). All candidates are drawn anew. A region
is right if the requested one is nearest to the edited pixels (`benchmarks/judge.py`: in its best pose; or,
"in pose", in the pose of the source); it leaks if the one requested of another region is nearest. Also
measured: frames nearer to the true edit than to the source, distance to the true edit, changes outside the
regions with and without compositing, how well the edit follows the true motion, and how crisp it is
(`benchmarks/outlines.py`). Rows are methods and
ablations of VideoGrain; rows "by words" get the composed prompt without regions and masks. `--masks
clicked` makes the masks from one click per actor and tracking. Rows "tuned" run on the model tuned on each
clip. `--ablation` runs VideoGrain or FRESCO with its settings changed one at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from benchmarks.judge import judge, summary
from benchmarks.outlines import crispness
from benchmarks.tasks import TASKS, Task, clicked_masks, true_masks, with_margin
from regrain.editing import EditRequest, Event, Finished, Tuned, edit, load_backbone, save_adapter, tune
from regrain.editing.models.backbone import Backbone
from storybook.world import render_frames

FIRST_SEED = 20_000
ROWS: dict[str, dict[str, object]] = {
    "videograin": {},
    "no modulation": {"cross_strength": 0.0, "self_strength": 0.0},
    "cross only": {"self_strength": 0.0},
    "per frame": {"attention_span": "own_frame"},
    "SDEdit": {
        "method": "sdedit",
        "strength": 0.6,
        "steps": 20,
        "guidance_scale": 5.0,
        "blend": False,
        "feather": 0.0,
    },
    "fatezero": {"method": "fatezero"},
    "fatezero by words": {"method": "fatezero", "by_words": True},
    "vid2vid-zero": {"method": "vid2vid_zero", "reconstruct": False},
    "vid2vid-zero by words": {"method": "vid2vid_zero", "reconstruct": False, "by_words": True},
    "tune-a-video": {"method": "tune_a_video"},
    "tune-a-video, fresh noise": {"method": "tune_a_video", "variation": 1.0},
    "tune-a-video by words": {"method": "tune_a_video", "by_words": True},
    "tune-a-video, untuned": {"method": "tune_a_video", "tune_steps": 0},
    "videograin, tuned": {"tuned": True},
    "fatezero, tuned": {"method": "fatezero", "tuned": True},
    "fresco": {"method": "fresco"},
    "fresco by words": {"method": "fresco", "by_words": True},
}
# `--ablation`: one setting at a time; regions start from the source's own noise, as in the paper.
_SOURCE_NOISE: dict[str, object] = {"variation": 0.0, "inject_until": 0.4}
ABLATION: dict[str, dict[str, object]] = {
    name: _SOURCE_NOISE | params
    for name, params in {
        "source's noise": {},
        "cross only": {"self_strength": 0.0},
        "no modulation": {"cross_strength": 0.0, "self_strength": 0.0},
        "uncond half": {"guidance_half": "uncond"},
        "both halves": {"guidance_half": "both"},
        "size term": {"size_term": True},
        "coarse levels": {"levels": "coarse"},
        "steps 10": {"steps": 10},
        "guidance 2.5": {"guidance_scale": 2.5},
        "guidance 7": {"guidance_scale": 7.0},
        "fresh noise": {"variation": 0.8, "inject_until": 0.5},
    }.items()
}
# `--ablation fresco`: the parts of FRESCO, as in the paper's Table 2 and each off, sampled as released.
_ANCESTRAL: dict[str, object] = {"method": "fresco", "by_words": True, "step_noise": "own"}
_LOSSES = {"flow_weight": 0.0, "similarity_weight": 0.0}
_UNGUIDED = {"spatial_steps": 0, "temporal_until": 0.0}  # the paper's baseline has cross-frame attention
_ATTENTION = {"cross_frame": "own"} | _UNGUIDED
FRESCO: dict[str, dict[str, object]] = {
    "fresco by words": {"method": "fresco", "by_words": True},
    "all parts off": {"method": "fresco", "by_words": True} | _LOSSES | _ATTENTION,
} | {
    name: _ANCESTRAL | params
    for name, params in {
        "own noise per step": {},
        "SDEdit, per frame": {"first_noise": "own"} | _LOSSES | _ATTENTION,
        "baseline": _LOSSES | _UNGUIDED,
        "with temporal": {"similarity_weight": 0.0, "spatial_steps": 0},
        "with spatial": {"flow_weight": 0.0, "temporal_until": 0.0},
        "with attention": _LOSSES,
        "with optimisation": _UNGUIDED,
        "no motion loss": {"flow_weight": 0.0},
        "no similarity loss": {"similarity_weight": 0.0},
        "no spatial attention": {"spatial_steps": 0},
        "no cross-frame": {"cross_frame": "own"},
        "no temporal attention": {"temporal_until": 0.0},
    }.items()
}
ABLATIONS = {"videograin": ABLATION, "fresco": FRESCO}
# FateZero's presets suit kinds of edits; the model's recommendations override them.
FATEZERO = {"style": "style", "color": "attribute", "background": "attribute"}
_SHEET = 24  # edits on a contact sheet
_COLUMNS = {
    "right": ("right", ".2f"),
    "right_95": ("+-", ".2f"),
    "right_in_pose": ("in pose", ".2f"),
    "leaked": ("leak", ".2f"),
    "leaked_95": ("+-", ".2f"),
    "reached": ("reached", ".2f"),
    "inside_psnr": ("inside", ".1f"),
    "outside_psnr": ("outside", ".1f"),
    "outside_psnr_uncomposited": ("uncomp", ".1f"),
    "outside_median_error": ("median", ".1f"),
    "warp_error_ratio": ("warp", ".2f"),
    "sharpness": ("sharp", ".2f"),
    "outline_f": ("outline", ".2f"),
    "old_outline": ("ghost", ".2f"),
}


def run(task: Task, backbone: Backbone, params: Mapping[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Edited frames, and the same before compositing: uint8 [frames, size, size, 3] each."""
    own = {k: v for k, v in params.items() if k not in ("method", "by_words", "tuned")}
    method, quiet = str(params.get("method", "videograin")), {"preview_every": 0}
    if method == "tune_a_video":
        quiet["tune_preview_every"] = 0
    given = replace(task.request, method=method, params=quiet | own)
    if params.get("by_words"):
        given = replace(given, regions=(), labels=None, prompt=task.request.composed.text)
    for event in edit_tuned(given, backbone) if params.get("tuned") else edit(given, backbone):
        if isinstance(event, Finished):
            return np.asarray(event.result.frames), np.asarray(event.result.uncomposited)
    raise RuntimeError("the run ended without a result")


def edit_tuned(request: EditRequest, backbone: Backbone) -> Iterator[Event]:
    """Edit on the model tuned on the clip; rows of one scene share the tuning through the cache."""
    quiet = replace(request, method="tune_a_video", params={"tune_preview_every": 0})
    *_, last = tune(quiet, backbone)
    assert isinstance(last, Tuned)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_adapter(last.adapter, path)
        yield from edit(replace(request, adapter=str(path)), backbone)


def params_for(task: str, row: Mapping[str, object], backbone: Backbone) -> dict[str, object]:
    """A row's params for a kind of task; FateZero's start from the preset for such edits."""
    preset = {}
    if row.get("method") == "fatezero" and "preset" not in row:
        preset = {"preset": FATEZERO.get(task, "shape"), **backbone.defaults.get("fatezero", {})}
    return preset | dict(row)


def begin_worker(cores: Any = None) -> None:
    """Pin a worker to its own core, since some systems put all on one, and end it with its parent."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@lru_cache(maxsize=1)
def _model(name: str, dtype: str, threads: int) -> Backbone:
    if threads:
        torch.set_num_threads(threads)
    return load_backbone(name, dtype=getattr(torch, dtype))


def one(
    seed: int,
    task: str,
    masks: str,
    grow: int,
    margin: int | Literal["default"],
    size: int,
    model: str,
    dtype: str,
    threads: int,
    row: Mapping[str, object],
) -> tuple[dict[str, list], dict[str, object], list[np.ndarray]]:
    """One edit: its figures, the params used, and frames of the source, the edit and the true edit."""
    backbone = _model(model, dtype, threads)
    made = TASKS[task](seed, size, {"true": true_masks, "clicked": clicked_masks}[masks](grow))
    made = with_margin(made, None if margin == "default" else margin)
    params = params_for(task, row, backbone)
    frames, uncomposited = run(made, backbone, params)
    shown = [made.request.clip.read(4, 5)[0], frames[4], render_frames(made.truth, size, (4,))[0]]
    return judge(made, frames, uncomposited) | crispness(made, frames), params, shown


def line(task: str, name: str, row: Mapping[str, float | None]) -> str:
    """One line of the table."""
    cells = (("-" if row[key] is None else format(row[key], form)) for key, (_, form) in _COLUMNS.items())
    return f"{task:11s}{name:22s}" + "".join(f"{cell:>9s}" for cell in cells) + "\n"


def _margin(text: str) -> int | Literal["default"]:
    return "default" if text == "default" else int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first scene")
    parser.add_argument("--task", action="append", choices=tuple(TASKS), help="default: all")
    parser.add_argument("--row", action="append", choices=tuple(ROWS), help="default: all")
    parser.add_argument(
        "--ablation",
        nargs="?",
        const="videograin",
        choices=tuple(ABLATIONS),
        help="a method with its settings changed one at a time; default VideoGrain",
    )
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:JSON",
        help='params of another row; may include "method"',
    )  # fmt: skip
    parser.add_argument("--masks", choices=("true", "clicked"), default="true")
    parser.add_argument("--grow", type=int, default=6, help="pixels by which the masks are grown")
    parser.add_argument(
        "--margin", type=_margin, default=0, help='pixels an edit may reach beyond its mask, or "default"'
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=1, help="edits in parallel; one thread each if several")
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/edit_quality"))
    return parser.parse_args()


def main() -> None:
    """Command line."""
    args = _arguments()
    first = {"videograin": ["videograin"], "fresco": []}.get(args.ablation, ROWS)
    named = args.row or ([] if args.variant else first)
    rows = {name: ROWS[name] for name in named} | ABLATIONS.get(args.ablation, {})
    rows |= {name: json.loads(text) for name, _, text in (v.partition(":") for v in args.variant)}
    args.out.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(" " * 33 + "".join(f"{title:>9s}" for title, _ in _COLUMNS.values()) + "\n")
    threads = 1 if args.jobs > 1 else 0  # 0: all
    settings = {"masks": args.masks, "grow": args.grow, "margin": args.margin, "size": args.size}
    settings |= {"model": args.model, "dtype": args.dtype}
    seeds, table = range(args.first, args.first + args.scenes), {}
    context = get_context("spawn")
    cores = context.Queue()
    for job in range(args.jobs):
        cores.put(job % (os.cpu_count() or 1))
    own_core = (cores,) if args.jobs > 1 else ()
    with ProcessPoolExecutor(args.jobs, context, initializer=begin_worker, initargs=own_core) as pool:
        for task in args.task or TASKS:
            table[task], sheet = {}, []
            for row, given in rows.items():
                began = time.perf_counter()
                edit_one = partial(one, task=task, threads=threads, row=given, **settings)
                found = list(pool.map(edit_one, seeds))
                seconds = (time.perf_counter() - began) / len(seeds)
                facts = {"params": found[0][1], "seconds_per_edit": seconds}
                table[task][row] = summary([figures for figures, _, _ in found]) | facts
                columns = [
                    np.concatenate(column) for column in zip(*(s for *_, s in found[:_SHEET]), strict=True)
                ]
                sheet = [columns[0], *sheet[1:-1], columns[1], columns[2]]
                sys.stdout.write(line(task, row, table[task][row]))
                sys.stdout.flush()
            Image.fromarray(np.concatenate(sheet, 1)).save(args.out / f"{task}.png")
    text = json.dumps(settings | {"tasks": table}, indent=2)
    (args.out / "edit_quality.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
