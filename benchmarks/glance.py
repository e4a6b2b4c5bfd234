"""Can a reader tell edits from drawings? `python -m benchmarks.glance`, look, then `--read LRRL...`.

Draws 48 pairs, twelve to a sheet: the edit of a drawn scene and the drawing of the same scene with what was
asked, one beside the other in an order drawn from the seed. The reader says for each pair on which side the
edit is. The share of right answers is 1 for edits that are told apart at once, and 0.5 for perfect ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.edit_quality import middle_frames, run
from benchmarks.tasks import TASKS, true_masks, with_margin
from regrain.editing import load_backbone

_ENLARGED, _GAP, _ACROSS, _SHEET = 2, 8, 3, 12


def sides(count: int, seed: int) -> str:
    """On which side of each pair the edit is: L or R."""
    return "".join(np.random.default_rng(seed).choice(list("LR"), count))


def share(answers: str, truth: str) -> float:
    """Share of right answers.

    Raises:
        ValueError: There is not one answer, L or R, to each pair.
    """
    answers = answers.upper()
    if len(answers) != len(truth) or set(answers) - set("LR"):
        raise ValueError(f"expected {len(truth)} letters, each L or R")
    return float(np.mean([a == b for a, b in zip(answers, truth, strict=True)]))


def sheet(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Pairs of uint8 [h, w, 3] side by side, at most three to a row, enlarged; black where a row is short."""
    cells = []
    for pair in pairs:
        large = [
            cv2.resize(p, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
            for p in pair
        ]
        cells.append(np.pad(np.concatenate(large, 1), ((_GAP, _GAP), (_GAP, _GAP), (0, 0))))
    across = min(_ACROSS, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % across)
    return np.concatenate(
        [np.concatenate(cells[i : i + across], 1) for i in range(0, len(cells), across)]
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first", type=int, default=30_000, help="seed of the first scene")
    parser.add_argument("--count", type=int, default=48, help="pairs")
    parser.add_argument("--task", default="instance")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, help="of the edits; default: as the model recommends")
    parser.add_argument("--motion", default="", help="a motion adapter of the edits")
    parser.add_argument("--seed", type=int, default=0, help="decides the sides")
    parser.add_argument("--read", metavar="LR...", help="a reader's answers; nothing is drawn")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/glance"))
    args = parser.parse_args()
    truth = sides(args.count, args.seed)
    if args.read:
        print(f"told apart: {share(args.read, truth):.2f} of {args.count}")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    backbone, given = load_backbone("storybook"), {"motion": args.motion}
    given |= {"steps": args.steps} if args.steps else {}
    for start in range(0, args.count, _SHEET):
        pairs = []
        for number in range(start, min(start + _SHEET, args.count)):
            task = with_margin(
                TASKS[args.task](args.first + number, args.size, true_masks(0)), None
            )
            _, edit, drawn = middle_frames(task, run(task, backbone, given)[0])
            pairs.append((edit, drawn) if truth[number] == "L" else (drawn, edit))
        path = args.out / f"pairs_{start // _SHEET + 1}.png"
        Image.fromarray(sheet(pairs)).save(path)
        print(path, flush=True)


if __name__ == "__main__":
    main()
