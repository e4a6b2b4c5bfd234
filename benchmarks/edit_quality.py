"""Does every region become what its words say? `python -m benchmarks.edit_quality
--scenes 40`.

Edits drawn scenes whose true edit is known (`benchmarks/tasks.py`). All candidates are
drawn anew. A region is right if the requested one is nearest to the edited pixels
(`benchmarks/judge.py`: in its best pose; or, "in pose", in the pose of the source); it
leaks if the one requested of another region is nearest. Also measured: frames nearer to
the true edit than to the source, distance to the true edit, KID (`benchmarks/kid.py`),
changes outside the regions with and without compositing, and how well the edit follows
the true motion. Rows are methods and ablations of VideoGrain; rows "by words" get the
composed prompt without regions and masks; "true edit" is the true one through the
autoencoder, the floor of what an edit can reach. `--masks clicked` makes the masks from
one click per actor and tracking. Rows "tuned" run on the model tuned on each clip.
`--variant` is a row with settings of one's own. Seconds are medians over the scenes;
all rows of a scene are run in turns in one process, each with a cache that begins
empty, but rows that tune share what was learned, which the first pays for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from benchmarks.judge import judge, summary
from benchmarks.kid import Features, features, kid
from benchmarks.tasks import TASKS, Task, clicked_masks, true_masks, with_margin
from regrain.editing import (
    EditRequest,
    Event,
    Finished,
    Tuned,
    edit,
    load_backbone,
    save_adapter,
    tune,
)
from regrain.editing.models.backbone import Backbone
from storybook.rendering import render_frames

FIRST_SEED = 20_000
ROWS: dict[str, dict[str, object]] = {
    "true edit": {"coded": True},
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
    "vid2vid-zero by words": {
        "method": "vid2vid_zero",
        "reconstruct": False,
        "by_words": True,
    },
    "tune-a-video": {"method": "tune_a_video"},
    "tune-a-video, fresh noise": {"method": "tune_a_video", "variation": 1.0},
    "tune-a-video by words": {"method": "tune_a_video", "by_words": True},
    "tune-a-video, untuned": {"method": "tune_a_video", "tune_steps": 0},
    "videograin, tuned": {"tuned": True},
    "fatezero, tuned": {"method": "fatezero", "tuned": True},
    "fresco": {"method": "fresco"},
    "fresco by words": {"method": "fresco", "by_words": True},
    "infedit": {"method": "infedit"},
    # As many rows of the network: at the built-in model's defaults InfEdit's 8 steps take
    # 4 x 8; VideoGrain's 8 + 4 + 2 x 10, with an inversion, features and 2 repeated steps;
    # 0.6 of SDEdit's 27 steps 2 x 16.
    "infedit, 8 steps": {"method": "infedit", "steps": 8},
    "videograin, as long": {"steps": 8},
    "SDEdit, as long": {"method": "sdedit", "strength": 0.6, "steps": 27},
}
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
    "kid": ("KID", ".3f"),
    "seconds": ("seconds", ".1f"),
}


def run(
    task: Task, backbone: Backbone, params: Mapping[str, object]
) -> tuple[np.ndarray, np.ndarray]:
    """Return edited frames, and the same before compositing: uint8 [frames, size, size,
    3] each."""
    own = {
        k: v
        for k, v in params.items()
        if k not in ("method", "by_words", "tuned", "motion", "loras")
    }
    method = str(params.get("method", "videograin"))
    motion = str(params.get("motion", ""))
    quiet = {"preview_every": 0}
    if method == "tune_a_video":
        quiet["tune_preview_every"] = 0
    request = replace(task.request, method=method, params=quiet | own, motion=motion)
    if params.get("by_words"):
        request = replace(
            request, regions=(), labels=None, prompt=task.request.composed.text
        )
    events = (
        edit_tuned(request, backbone)
        if params.get("tuned")
        else edit(request, backbone)
    )
    *_, last = events
    assert isinstance(last, Finished)
    return np.asarray(last.result.frames), np.asarray(last.result.uncomposited)


def coded(task: Task, backbone: Backbone) -> np.ndarray:
    """Return the true edit as the autoencoder renders it, in the regions: uint8 [frames,
    size, size, 3]."""
    source = task.request.clip.read(0, len(task.request.clip))
    truth = render_frames(task.truth, source.shape[1])
    drawn = backbone.decode(backbone.encode(truth))
    inside = np.asarray(task.request.edited_mask)[..., None]
    return np.where(inside, drawn, source)


def edit_tuned(request: EditRequest, backbone: Backbone) -> Iterator[Event]:
    """Edit on the model tuned on the clip; rows of one scene share the tuning through
    the cache."""
    quiet = replace(request, method="tune_a_video", params={"tune_preview_every": 0})
    *_, last = tune(quiet, backbone)
    assert isinstance(last, Tuned)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        save_adapter(last.adapter, path)
        yield from edit(replace(request, adapter=str(path)), backbone)


def params_for(
    task: str, row: Mapping[str, object], backbone: Backbone
) -> dict[str, object]:
    """Return a row's params for a kind of task; FateZero's start from the preset for
    such edits."""
    params: dict[str, object] = {}
    if row.get("method") == "fatezero" and "preset" not in row:
        params["preset"] = FATEZERO.get(task, "shape")
        params |= backbone.defaults.get("fatezero", {})
    return params | row


def begin_worker(cores: Any = None) -> None:
    """Pin a worker to its own core, since some systems put all on one, and end it with
    its parent."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def middle_frames(task: Task, frames: np.ndarray) -> list[np.ndarray]:
    """Return frame 4 of the source, of the edit and of the true edit: uint8 [size,
    size, 3] each."""
    (source,) = task.request.clip.read(4, 5)
    (truth,) = render_frames(task.truth, frames.shape[1], (4,))
    return [source, frames[4], truth]


class Made(NamedTuple):
    """An edit of a scene.

    Attributes:
        figures: What was measured, by name.
        params: The params used.
        pictures: The `middle_frames`.
        seconds: Wall time, without loading the model.
        seen: Features of the edited regions, and of the same ones in the true edit.
    """

    figures: dict[str, list]
    params: dict[str, object]
    pictures: list[np.ndarray]
    seconds: float
    seen: tuple[Features, Features]


def edit_scene(
    seed: int,
    task: str,
    rows: Mapping[str, Mapping[str, object]],
    args: argparse.Namespace,
) -> dict[str, Made]:
    """Edit a scene by every row, one after the other."""
    if args.jobs > 1:
        torch.set_num_threads(1)
    makers = {"true": true_masks, "clicked": clicked_masks}
    masks = makers[args.masks](args.grow)
    made = with_margin(TASKS[task](seed, args.size, masks), args.margin)
    edits = {}
    with TemporaryDirectory() as folder:
        for number, (name, row) in enumerate(rows.items()):
            tunes = row.get("tuned") or row.get("method") == "tune_a_video"
            cache = Path(folder, "tuned" if tunes else str(number))
            with patch.dict(os.environ, {"REGRAIN_CACHE": str(cache)}):
                edits[name] = edit_one(made, task, row, args)
    return edits


def edit_one(
    made: Task, task: str, row: Mapping[str, object], args: argparse.Namespace
) -> Made:
    """Edit a scene by one row."""
    loras: Any = row.get("loras", [])
    dtype = getattr(torch, args.dtype)
    backbone = load_backbone(args.model, loras, dtype=dtype)
    params = params_for(task, row, backbone)
    began = time.perf_counter()
    if row.get("coded"):
        frames = uncomposited = coded(made, backbone)
    else:
        frames, uncomposited = run(made, backbone, params)
    seconds = time.perf_counter() - began
    figures = judge(made, frames, uncomposited)
    truth = render_frames(made.truth, args.size)
    seen = features(frames, made), features(truth, made)
    return Made(figures, params, middle_frames(made, frames), seconds, seen)


def line(task: str, name: str, row: Mapping[str, float | None]) -> str:
    """Return one line of the table."""
    text = f"{task:11s}{name:22s}"
    for key, (_, form) in _COLUMNS.items():
        value = row[key]
        cell = "-" if value is None else format(value, form)
        text += f"{cell:>9s}"
    return text


def _margin(text: str) -> int | None:
    return None if text == "default" else int(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument(
        "--first", type=int, default=FIRST_SEED, help="seed of the first scene"
    )
    parser.add_argument(
        "--task", action="append", choices=tuple(TASKS), help="default: all"
    )
    parser.add_argument(
        "--row", action="append", choices=tuple(ROWS), help="default: all"
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME:JSON",
        help='params of another row; may include "method", "motion" and "loras"',
    )
    parser.add_argument("--masks", choices=("true", "clicked"), default="true")
    parser.add_argument(
        "--grow", type=int, default=6, help="pixels by which the masks are grown"
    )
    parser.add_argument(
        "--margin",
        type=_margin,
        default=0,
        help='pixels an edit may reach beyond its mask, or "default"',
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="edits in parallel; one thread each if several",
    )
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/edit_quality"))
    return parser.parse_args()


def measure_task(
    task: str,
    rows: Mapping[str, dict[str, object]],
    seeds: range,
    pool: Executor,
    args: argparse.Namespace,
) -> dict[str, dict[str, object]]:
    """Measure all rows of a task; print each, and write the contact sheet."""
    edit = partial(edit_scene, task=task, rows=rows, args=args)
    scenes = list(pool.map(edit, seeds))
    table = {}
    source = truth = np.zeros(0)
    columns = []
    for row in rows:
        edits = [scene[row] for scene in scenes]
        seconds = statistics.median(made.seconds for made in edits)
        shown, true = zip(*(made.seen for made in edits), strict=True)
        means = summary([made.figures for made in edits])
        means |= {"seconds": seconds, "kid": kid(shown, true)}
        table[row] = means | {"params": edits[0].params}
        pictures = [made.pictures for made in edits[:_SHEET]]
        sources, edited, truths = zip(*pictures, strict=True)
        source = np.concatenate(sources)
        truth = np.concatenate(truths)
        columns.append(np.concatenate(edited))
        print(line(task, row, means), flush=True)
    sheet = np.concatenate([source, *columns, truth], 1)
    Image.fromarray(sheet).save(args.out / f"{task}.png")
    return table


def rows_from(args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Return the rows that the command line names: all if it names none and has no
    variant."""
    names = args.row or ([] if args.variant else [*ROWS])
    rows = {name: ROWS[name] for name in names}
    for variant in args.variant:
        name, _, text = variant.partition(":")
        rows[name] = json.loads(text)
    return rows


def worker_pool(jobs: int) -> Executor:
    """Return a pool of processes; several have a core each."""
    context = get_context("spawn")
    cores = context.Queue()
    for job in range(jobs):
        cores.put(job % (os.cpu_count() or 1))
    own_core = (cores,) if jobs > 1 else ()
    return ProcessPoolExecutor(
        jobs, context, initializer=begin_worker, initargs=own_core
    )


def main() -> None:
    """Command line."""
    args = _arguments()
    rows = rows_from(args)
    args.out.mkdir(parents=True, exist_ok=True)
    titles = "".join(f"{title:>9s}" for title, _ in _COLUMNS.values())
    print(" " * 33 + titles, flush=True)
    seeds = range(args.first, args.first + args.scenes)
    tasks = {}
    with worker_pool(args.jobs) as pool:
        for task in args.task or TASKS:
            tasks[task] = measure_task(task, rows, seeds, pool, args)
    _write_facts(args, tasks)


def _write_facts(args: argparse.Namespace, tasks: dict[str, Any]) -> None:
    """Write the tables of all tasks, and the arguments that decided them."""
    facts: dict[str, object] = {}
    for name in ("masks", "grow", "margin", "size", "model", "dtype"):
        facts[name] = getattr(args, name)
    facts["tasks"] = tasks
    text = json.dumps(facts, indent=2)
    (args.out / "edit_quality.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
