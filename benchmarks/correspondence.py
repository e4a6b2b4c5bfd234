"""What mapping tokens along the motion costs: `python -m benchmarks.correspondence`.

Compares `token_maps` with its definition, token by token, in turns in one process, after checking that both
are equal. Times are given as ratios, since others may use the machine: the median over rounds of the ratio
within a round, in processor time of one thread. The motion is random, with ties and tokens that are occluded
or leave the frame.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.attention import seconds
from regrain.editing.motion.correspondence import token_maps


def sequential(backward: Tensor, appeared: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """The definition of `token_maps`: one pair after the other, one token after the other."""
    maps, links = [], []
    for pair in range(len(backward)):
        here, there = colours[pair].numpy(), colours[pair + 1].numpy()
        order, linked = _sequential_pair(backward[pair].numpy(), appeared[pair].numpy(), here, there)
        maps.append(order)
        links.append(linked)
    return torch.tensor(maps), torch.tensor(links)


def _sequential_pair(
    backward: np.ndarray, appeared: np.ndarray, here: np.ndarray, there: np.ndarray
) -> tuple[list[int], list[bool]]:
    height, width = appeared.shape
    best: dict[int, tuple[float, int]] = {}
    for y in range(height):
        for x in range(width):
            column, row = round(x + backward[0, y, x]), round(y + backward[1, y, x])
            if appeared[y, x] or not (0 <= column < width and 0 <= row < height):
                continue
            red, green, blue = np.square(there[y, x] - here[row, column])
            place, found = row * width + column, (red + green + blue, y * width + x)
            best[place] = min(best.get(place, found), found)
    used = {token for _, token in best.values()}
    left = iter([token for token in range(height * width) if token not in used])
    tokens = range(height * width)
    return [best[p][1] if p in best else next(left) for p in tokens], [p in best for p in tokens]


def case(frames: int, side: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth motion, few colours so that there are ties, and a tenth of the tokens occluded."""
    generator = torch.Generator().manual_seed(seed)
    coarse = 3 * torch.randn(frames - 1, 2, 5, 5, generator=generator)
    backward = F.interpolate(coarse, (side, side), mode="bilinear")
    appeared = torch.rand(frames - 1, side, side, generator=generator) < 0.1
    colours = torch.randint(0, 3, (frames, side, side, 3), generator=generator) * 40.3
    return backward, appeared, colours


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--side", type=int, default=64, help="tokens in a row; a frame has as many rows")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/correspondence"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    values = case(args.frames, args.side)
    ours, definition = token_maps(*values), sequential(*values)
    if not all(torch.equal(a, b) for a, b in zip(ours, definition, strict=True)):
        sys.exit("the maps differ from their definition")
    runs = {"sequential": lambda: sequential(*values)[0], "ours": lambda: token_maps(*values)[0]}
    taken = [{name: seconds(run, "cpu") for name, run in runs.items()} for _ in range(args.rounds)]
    ratio = statistics.median(t["sequential"] / t["ours"] for t in taken)
    took = {name: statistics.median(t[name] for t in taken) for name in runs}
    sys.stdout.write(
        f"{args.side**2} tokens x {args.frames} frames, equal: token by token {took['sequential']:.3f} s, "
        f"ours {took['ours']:.4f} s, {ratio:.0f} times faster\n"
    )
    args.out.mkdir(parents=True, exist_ok=True)
    found = {"tokens": args.side**2, "frames": args.frames, "seconds": took, "ratio": ratio}
    (args.out / "correspondence.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
