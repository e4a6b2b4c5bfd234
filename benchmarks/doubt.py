"""How often a click's mask is doubted, by how good it is: `python -m benchmarks.doubt`.

Things of drawn scenes are clicked once at a random place. Prints how many masks overlap
the true one by less than .5 (intersection over union) and by more than .8, and which
shares of both are doubted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from regrain.editing.media.clip import ArrayClip
from regrain.masks import segment
from regrain.masks.draw import iou
from regrain.masks.models.finders import CUTS
from storybook import render
from storybook.world import sample_scene

FIRST = 730_000  # seed of the first scene
_SIZE = 256
_LEAST = 150  # pixels of a thing
_WRONG = 0.5
_RIGHT = 0.8


def clicks(count: int, method: str) -> Iterator[tuple[float, bool]]:
    """Yield the overlap of a mask with the true one, and whether it is doubted."""
    rng = np.random.default_rng(0)
    seed = FIRST
    made = 0
    while made < count:
        seed += 1
        drawn = render(sample_scene(seed, 8, 2), _SIZE)
        frames = np.round(drawn.frames).clip(0, 255).astype(np.uint8)
        clip = ArrayClip(frames) if method == CUTS else None
        for label in (1, 2):
            thing = drawn.labels[0] == label
            if thing.sum() < _LEAST or made == count:
                continue
            made += 1
            places = np.argwhere(thing)
            at = places[rng.integers(len(places))][::-1] + 0.5
            doubts: list[bool] = []
            mask = segment(
                frames[0],
                [at],
                [1],
                method=method,
                clip=clip,
                doubt=lambda doubts=doubts: doubts.append(True),
            )
            yield iou(mask, thing), bool(doubts)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--method", nargs="+", default=["sam", CUTS])
    parser.add_argument("-o", "--out", type=Path, default=Path("out/doubt"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = {}
    for method in args.method:
        overlaps, doubted = np.array([*clicks(args.cases, method)]).T
        for kind, here in (
            ("wrong", overlaps < _WRONG),
            ("right", overlaps > _RIGHT),
        ):
            told = int(doubted[here].sum())
            table[f"{method}, {kind}"] = [told, int(here.sum())]
            print(f"{method:5}{kind}: {told} of {here.sum()} doubted")
    (args.out / "doubt.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
