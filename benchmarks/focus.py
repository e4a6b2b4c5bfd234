"""Does an edit pay that works in a box around what it changes? `python -m
benchmarks.focus --scenes 10`.

`drawn`: scenes at 512 pixels with one small actor, which becomes another kind, edited
in the whole frame and in boxes. An edit is right if what was asked for is nearest to it
of all kinds, drawn anew and compared in a square around the actor, in the best of
several poses. All is measured where the actor is, before or after the true edit; the
warp error is over that of the true edit. `moving`: the same with an actor that crosses
the frame, in a box that follows and in a still one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks.judge import interval, psnr, warp_errors
from benchmarks.tasks import Task, task, true_masks, wish
from regrain.editing import EditRequest, Finished, edit
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.loading.load import load_backbone
from storybook import KINDS, Scene, render, replace, sample_scene, shrink

FIRST_SEED = 610_000
SIZE = 512  # pixels of a side of the drawn scenes
HEIGHTS = 0.15, 0.25  # of the actor, in shares of the frame
SPEED = 0.07  # widths per frame of an actor that crosses the frame
_FIELDS = "method", "motion", "loras"  # of a request, that `--set` may change
_SIDE = 64  # pixels of the pictures that are compared
_AROUND = 0.25  # share of the actor's longer side around it, in what is compared
_SHOWN = 160  # pixels of the pictures of a sheet
_JUDGED = (1, 3, 6)
_MOVES = (-0.1, -0.05, 0.0, 0.05, 0.1)
_SCALES = (0.85, 1.0, 1.15)
_POSES = tuple(product(_MOVES, _MOVES[1:4], _SCALES, (1, -1)))
Row = Mapping[str, Any]
"""Fields of the request that a row changes."""

# A task asks again and again for its own scene, and for that with each other kind.
_drawn = lru_cache(maxsize=1 + len(KINDS))(render)

View = tuple[float, float, float]
"""Middle (x, y) and side of a square, in pixels."""


class Made(NamedTuple):
    """An edit, and what was measured of it."""

    frames: np.ndarray
    figures: dict[str, object]


def small_actor(
    seed: int,
    size: int,
    speed: float | None = None,
    heights: tuple[float, float] = HEIGHTS,
) -> Task:
    """Make a scene with one small actor, which becomes another kind.

    Args:
        seed: Of the scene, and of the height and the wanted kind.
        size: Pixels of a side.
        speed: Widths per frame of the actor, who then crosses the middle; by default in
            proportion to the height.
        heights: Least and greatest height of the actor, in shares of the frame.
    """
    scene = sample_scene(seed, 8, 1, plain=True)
    rng = np.random.default_rng([seed, 11])
    scene = shrink(scene, float(rng.uniform(*heights)))
    if speed is not None:
        scene = cross(scene, speed)
    others = [kind for kind in KINDS if kind != scene.actors[0].kind]
    truth = replace(scene, actor=0, kind=str(rng.choice(others)))
    change = wish(scene, size, 0, truth.actors[0].phrase)
    made = task(scene, truth, size, [change], [], true_masks(0))
    regions = tuple(
        dataclasses.replace(one, margin=None) for one in made.request.regions
    )
    request = dataclasses.replace(made.request, regions=regions)
    return dataclasses.replace(made, request=request)


def cross(scene: Scene, speed: float) -> Scene:
    """Return a scene of one actor, who crosses the middle of the frame at a speed in
    widths per frame."""
    (actor,) = scene.actors
    half = (scene.frames - 1) / 2
    start = 0.5 - actor.facing * speed * half
    crossing = dataclasses.replace(actor, speed=speed, x=start)
    return dataclasses.replace(scene, actors=(crossing,))


def settings(text: str) -> dict[str, Any]:
    """Return the fields of a request that the JSON of `--set` changes: what is no field
    is a parameter."""
    given = json.loads(text)
    fields = {name: given.pop(name) for name in _FIELDS if name in given}
    if "loras" in fields:
        fields["loras"] = tuple(fields["loras"])
    return fields | {"params": {"preview_every": 0} | given}


def run(task: Task, backbone: Backbone, row: Row) -> Made:
    """Edit a scene, and measure the edit."""
    request = dataclasses.replace(task.request, **row)
    began = time.perf_counter()
    *_, last = edit(request, backbone)
    assert isinstance(last, Finished)
    frames = np.asarray(last.result.frames)
    seconds = time.perf_counter() - began
    inside = _actors(task)
    size = frames.shape[1]
    truth = _drawn(task.truth, size)
    source = _drawn(task.source, size)
    boxes: Any = last.report.get("focus", [{}])
    errors = warp_errors(frames, truth.flow).mean(1).numpy()
    own = warp_errors(truth.frames, truth.flow).mean(1).numpy()
    asked = task.truth.actors[0].kind
    figures = {
        "right": nearest(frames, task) == asked,
        "inside_psnr": psnr(truth.frames, frames, inside),
        "warp": float(errors[inside[:-1]].mean() / own[inside[:-1]].mean()),
        "outside_same": _keeps_outside(request, frames, source.frames),
        "seconds": seconds,
        "scale": boxes[0].get("scale"),
    }
    return Made(frames, figures)


def _actors(task: Task) -> np.ndarray:
    """Return where the actor is before or after the true edit, and eight pixels
    around."""
    size = task.request.clip.size[0]
    there = [_drawn(scene, size).labels > 0 for scene in (task.source, task.truth)]
    return _widened(there[0] | there[1], 8)


def _widened(masks: np.ndarray, pixels: int) -> np.ndarray:
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return np.stack([cv2.dilate(one.astype(np.uint8), kernel) > 0 for one in masks])


def _keeps_outside(
    request: EditRequest, frames: np.ndarray, source: np.ndarray
) -> bool:
    """Tell whether an edit is the source, bit for bit, but for its region and three
    pixels around."""
    outside = ~_widened(np.asarray(request.edited_mask), 3)
    return bool((frames == source)[outside].all())


def nearest(frames: np.ndarray, task: Task) -> str:
    """Return the kind that an edit shows in place of the actor."""
    far = {}
    for kind in KINDS:
        candidate = replace(task.truth, actor=0, kind=kind)
        far[kind] = distance(frames, task, candidate)
    return min(far, key=far.__getitem__)


def distance(frames: np.ndarray, task: Task, candidate: Scene) -> float:
    """Return the mean squared difference between an edit and a drawn scene around the
    actor, in its best pose."""
    size = frames.shape[1]
    drawn = _drawn(candidate, size).frames
    inside = _actors(task)
    views = [_view(inside[frame]) for frame in _JUDGED]
    pairs = list(zip(_JUDGED, views, strict=True))
    seen = [_cut(_softened(frames[frame], view), view, STILL) for frame, view in pairs]
    masks = [
        _cut(inside[frame].astype(np.float32), view, STILL) > 0.5
        for frame, view in pairs
    ]
    soft = [_softened(drawn[frame], view) for frame, view in pairs]
    least = np.inf
    for pose in _POSES:
        errors = []
        for picture, view, made, mask in zip(soft, views, seen, masks, strict=True):
            cut = _cut(picture, view, pose)
            errors.append(np.square(cut - made)[mask].mean())
        least = min(least, float(np.mean(errors)))
    return least


STILL = (0.0, 0.0, 1.0, 1)


def _view(mask: np.ndarray) -> View:
    """Return middle and side of a square around a mask."""
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    left, right = columns[0], columns[-1] + 1
    top, bottom = rows[0], rows[-1] + 1
    side = (1 + 2 * _AROUND) * max(right - left, bottom - top)
    return (left + right) / 2, (top + bottom) / 2, float(side)


def _softened(picture: np.ndarray, view: View) -> np.ndarray:
    """Return a picture blurred by about a pixel of the square that is cut from it."""
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), view[2] / _SIDE)


def _cut(
    picture: np.ndarray, view: View, pose: tuple[float, float, float, int]
) -> np.ndarray:
    """Return a square of a picture in a pose: float32 [64, 64, ...]."""
    x, y, side = view
    right, down, scale, mirrored = pose
    zoom = scale * _SIDE / side
    middle = _SIDE / 2
    across = [zoom * mirrored, 0, middle + right * _SIDE - zoom * mirrored * x]
    change = np.array([across, [0, zoom, middle + down * _SIDE - zoom * y]])
    shape = (_SIDE, _SIDE)
    return cv2.warpAffine(picture, change, shape, borderMode=cv2.BORDER_REPLICATE)


def still_box(made: Task) -> str:
    """Return a still square around all that an actor covers, as `focus` takes it."""
    mask = _actors(made).any(0)
    side = min(*mask.shape, round(_view(mask)[2]))
    left, top = _corner(mask, side)
    return f"{side}x{side}+{left}+{top}"


ROWS: dict[str, dict[str, Callable[[Task], Row]]] = {
    "drawn": {
        "whole frame": lambda _: {},
        "box": lambda _: {"focus": "on"},
        "box, more around": lambda _: {"focus": "on 0.5"},
    },
    "moving": {
        "whole frame": lambda _: {},
        "box that follows": lambda _: {"focus": "on"},
        "still box": lambda made: {"focus": still_box(made)},
    },
}


def measure(
    part: str, backbone: Backbone, args: argparse.Namespace
) -> dict[str, dict[str, object]]:
    """Measure all rows of a part on all scenes; print each, and write a sheet of
    pictures."""
    speed = SPEED if part == "moving" else None
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ROWS[part] if name in (args.row or ROWS[part])
    }
    sheet = []
    for seed in range(args.first, args.first + args.scenes):
        made = small_actor(seed, args.pixels, speed, tuple(args.heights))
        pictures = [made.request.clip.read(4, 5)[0]]
        for name in rows:
            row = settings(args.set)
            row["size"] = args.size
            change = ROWS[part][name]
            row |= change(made)
            edited = run(made, backbone, row)
            rows[name].append(edited.figures)
            print(f"{part:8}{name:20}", seed, _line(edited.figures), flush=True)
            pictures.append(edited.frames[4])
        truth = render(made.truth, args.pixels)
        pictures.append(truth.frames[4])
        sheet.append(_strip(made, pictures))
    drawn = Image.fromarray(np.concatenate(sheet))
    drawn.save(args.out / f"{part}.png")
    table = {name: summary(figures) for name, figures in rows.items()}
    for name, row in table.items():
        print(f"{part:8}{name:20}", _line(row), flush=True)
    return table


def _strip(made: Task, pictures: list[np.ndarray]) -> np.ndarray:
    """Return the square around the actor in each picture, beside each other."""
    x, y, side = _view(_actors(made)[4])
    zoom = _SHOWN / side
    middle = _SHOWN / 2
    change = np.array([[zoom, 0, middle - zoom * x], [0, zoom, middle - zoom * y]])
    shape = (_SHOWN, _SHOWN)
    return np.concatenate([cv2.warpAffine(one, change, shape) for one in pictures], 1)


def summary(figures: list[dict[str, Any]]) -> dict[str, object]:
    """Return means over the edits of a row; of right ones with the half width of their
    interval."""
    means: dict[str, object] = {"edits": len(figures)}
    for name in figures[0]:
        values = [one[name] for one in figures if one[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    right = [bool(one["right"]) for one in figures]
    means["right_95"] = interval(right)[1]
    means["each"] = figures
    return means


def _line(row: Mapping[str, Any]) -> str:
    cells = []
    for name, value in row.items():
        if name == "each":
            continue
        cells.append(f"{name} -" if value is None else f"{name} {value:.2f}")
    return "  ".join(cells)


def _corner(mask: np.ndarray, side: int) -> tuple[int, int]:
    """Return the top left corner of a square inside the frame, around a mask."""
    x, y, _ = _view(mask)
    height, width = mask.shape
    left = np.clip(x - side / 2, 0, width - side)
    top = np.clip(y - side / 2, 0, height - side)
    return int(left), int(top)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=ROWS)
    parser.add_argument("--row", action="append", help="default: all")
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument(
        "--first", type=int, default=FIRST_SEED, help="seed of the first scene"
    )
    parser.add_argument("--pixels", type=int, default=SIZE, help="of a scene's side")
    parser.add_argument(
        "--heights",
        type=float,
        nargs=2,
        default=HEIGHTS,
        metavar=("LEAST", "GREATEST"),
        help="of the actor, in shares of the frame",
    )
    parser.add_argument("--size", type=int, help="working size; the model's by default")
    parser.add_argument(
        "--set",
        default="{}",
        help='params of all edits, JSON; may include "method", "motion" and "loras"',
    )
    parser.add_argument("--model", default="storybook")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/focus"))
    return parser.parse_args()


def main() -> None:
    """Command line."""
    args = _arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    loras = settings(args.set).get("loras", ())
    backbone = load_backbone(args.model, loras)
    torch.manual_seed(0)
    parts = {part: measure(part, backbone, args) for part in args.part or ROWS}
    facts = {"size": args.size, "model": args.model, "parts": parts}
    (args.out / "focus.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
