"""Can a reader tell edits from drawings? `python -m benchmarks.glance`, look, then `--read LRRL...`.

Draws 48 pairs, twelve to a sheet: the edit of a drawn scene and the drawing of the same scene with what was
asked, one beside the other in an order drawn from the seed. The reader says for each pair on which side the
edit is. The share of right answers is 1 for edits that are told apart at once, and 0.5 for perfect ones.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.edit_quality import one

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
    """Pairs of uint8 [h, w, 3] side by side, three to a row, enlarged."""
    cells = []
    for pair in pairs:
        large = [cv2.resize(p, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC) for p in pair]
        cells.append(np.pad(np.concatenate(large, 1), ((_GAP, _GAP), (_GAP, _GAP), (0, 0))))
    return np.concatenate([np.concatenate(cells[i : i + _ACROSS], 1) for i in range(0, len(cells), _ACROSS)])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first", type=int, default=30_000, help="seed of the first scene")
    parser.add_argument("--count", type=int, default=48, help="pairs: up to three, or a multiple of three")
    parser.add_argument("--task", default="instance")
    parser.add_argument("--seed", type=int, default=0, help="decides the sides")
    parser.add_argument("--read", metavar="LR...", help="a reader's answers; nothing is drawn")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/glance"))
    args = parser.parse_args()
    truth = sides(args.count, args.seed)
    if args.read:
        sys.stdout.write(f"told apart: {share(args.read, truth):.2f} of {args.count}\n")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    for start in range(0, args.count, _SHEET):
        pairs = []
        for number in range(start, min(start + _SHEET, args.count)):
            _, _, (_, edit, drawn) = one(
                args.first + number, args.task, "true", 0, "default", 128, "storybook", "float32", 0, {}
            )
            pairs.append((edit, drawn) if truth[number] == "L" else (drawn, edit))
        path = args.out / f"pairs_{start // _SHEET + 1}.png"
        Image.fromarray(sheet(pairs)).save(path)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
