"""What one click that takes away does to a mask that covers too much: `python -m
benchmarks.remove_click`.

The masks are true ones of drawn scenes, and a wrong part: the other thing, its upper
half, a round spot beside the thing, or what has like colours there. The click on the
thing and the one on the wrong part are at their deepest places. Prints the overlap
(intersection over union) with the true mask before and after, and how often it fell by
more than .02.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.lazy_frames import Mask, Rgb
from regrain.masks import segment
from regrain.masks.draw import deepest, iou
from regrain.masks.models.finders import CUTS
from storybook import render
from storybook.world import sample_scene

FIRST = 700_000  # seed of the first scene
_SIZE = 256
_LEAST = 60  # pixels of a wrong part
_ALIKE = 18  # steps of colour in Lab, summed over channels
_FALL = 0.02
KINDS = ("other thing", "half of it", "spot", "like colours")


class Case(NamedTuple):
    """A clip of drawings whose first frame has a mask with a wrong part."""

    kind: str
    frames: np.ndarray
    thing: Mask
    wrong: Mask


def cases(count: int) -> Iterator[Case]:
    """Yield as many cases, each kind in turn."""
    rng = np.random.default_rng(0)
    made = 0
    seed = FIRST
    while made < count:
        seed += 1
        kind = KINDS[made % len(KINDS)]
        drawn = render(sample_scene(seed, 8, 2), _SIZE)
        frames = np.round(drawn.frames).clip(0, 255).astype(np.uint8)
        thing, other = (drawn.labels[0] == label for label in (1, 2))
        if not thing.any() or not other.any():
            continue
        wrong = _wrong_part(kind, frames[0], thing, other, rng)
        if wrong.sum() >= _LEAST:
            made += 1
            yield Case(kind, frames, thing, wrong)


def _wrong_part(
    kind: str, image: Rgb, thing: Mask, other: Mask, rng: np.random.Generator
) -> Mask:
    free = ~thing
    if kind == "other thing":
        return other & free
    if kind == "half of it":
        middle = np.flatnonzero(other.any(1)).mean()
        upper = np.arange(_SIZE) < middle
        return other & free & upper[:, None]
    free = free & ~other
    around = np.ones((5, 5), np.uint8)
    near = cv2.dilate(thing.astype(np.uint8), around) > 0
    places = np.argwhere(near & free)
    chosen = rng.integers(len(places))
    row, column = places[chosen]
    radius = rng.uniform(0.04, 0.15) * _SIZE
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    away = np.hypot(rows - row, columns - column)
    if kind == "spot":
        return free & (away < radius)
    colors = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(float)
    difference = np.abs(colors - colors[row, column]).sum(-1)
    alike = difference < _ALIKE
    close = away < 2.5 * radius
    wrong = free & alike & close
    _, numbers = cv2.connectedComponents(wrong.astype(np.uint8))
    piece = numbers == numbers[row, column]
    return piece & wrong


def overlaps(case: Case, method: str) -> tuple[float, float]:
    """Return the overlap with the true mask before and after the click."""
    before = case.thing | case.wrong
    points = np.array([deepest(case.thing), deepest(case.wrong)], np.float32)
    clip = ArrayClip(case.frames) if method == CUTS else None
    after = segment(
        case.frames[0], points, [1, 0], previous=before, method=method, clip=clip
    )
    return iou(before, case.thing), iou(after, case.thing)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--method", nargs="+", default=["sam", CUTS])
    parser.add_argument("-o", "--out", type=Path, default=Path("out/remove_click"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = {}
    for method in args.method:
        found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for case in cases(args.cases):
            found[case.kind].append(overlaps(case, method))
        found["all"] = sum(found.values(), [])
        for kind, pairs in found.items():
            before, after = np.array(pairs or [(np.nan, np.nan)]).T
            gains = after - before
            falls = int((gains < -_FALL).sum())
            table[f"{method}, {kind}"] = [before.mean(), after.mean(), falls]
            print(
                f"{method:5}{kind:14}{before.mean():.3f} -> {after.mean():.3f}, "
                f"{falls} of {len(pairs)} fell"
            )
    (args.out / "remove_click.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
