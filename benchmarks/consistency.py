"""What optimising features costs: `python -m benchmarks.consistency`.

Compares the gradient of the similarity term with the dense form, the loss of stored similarities by autograd,
in turns in one process. Times are given as ratios, since others may use the machine: the median over rounds
of the ratio within a round, in processor time of one thread. Peak memory is what the allocator handed out
beyond the features and the source's, as PyTorch's profiler counts it: results, and the stored similarities
of the dense form, included. Then it times whole calls at the sizes of the built-in model, and runs FRESCO on
clips of as many frames as a batch holds, each in a process of its own: what of the peak is new since the
model was loaded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.attention import peak_bytes, seconds
from benchmarks.edit_cost import request_for
from regrain.editing.attention.feature_optimization import Agreement, Distance, optimize_features, unit_slope
from regrain.editing.motion.correspondence import Motion

DISTANCES: tuple[Distance, ...] = ("absolute", "squared")
WHOLE = ((16, 128, 16), (16, 256, 8))  # rows, channels and places in a row: both halves of 8 frames
_RELEASED = Agreement(
    flow=1.0, similarity=50.0, circular=True, distance="absolute", rounds=20, learning_rate=0.2, restore=True
)
WANTED = {
    "paper": replace(_RELEASED, circular=False, distance="squared", learning_rate=0.4),
    "released": _RELEASED,
}


def dense(u: Tensor, similarities: Tensor, distance: Distance) -> Tensor:
    """The gradient by autograd, with all similarities of the source at hand."""
    off = u @ u.mT - similarities
    (slope,) = torch.autograd.grad((off.abs() if distance == "absolute" else off.square()).mean(), [u])
    return slope


def step(places: int, channels: int, distance: Distance, rounds: int) -> dict[str, float]:
    """Ours and the dense form on the same features."""
    generator = torch.Generator().manual_seed(0)
    u, source = normalize(torch.randn(2, 1, places, channels, generator=generator), dim=-1)
    u.requires_grad_(True)
    similarities = source @ source.mT
    runs = {
        "dense": lambda: dense(u, similarities, distance),
        "ours": lambda: unit_slope(u.detach(), source, distance),
    }
    expected, found = (run() for run in runs.values())
    error = float((found - expected).norm() / expected.norm())
    taken = [{name: seconds(run, "cpu") for name, run in runs.items()} for _ in range(rounds)]
    peak = {name: peak_bytes(run, "cpu") for name, run in runs.items()}
    peak["dense"] += similarities.nbytes
    return {
        "dense seconds": statistics.median(t["dense"] for t in taken),
        "ours seconds": statistics.median(t["ours"] for t in taken),
        "times faster": statistics.median(t["dense"] / t["ours"] for t in taken),
        "dense bytes": peak["dense"],
        "ours bytes": peak["ours"],
        "times less memory": peak["dense"] / peak["ours"],
        "difference": error,
    }


def whole(rows: int, channels: int, side: int, wanted: Agreement, rounds: int) -> float:
    """Processor seconds of a whole call on random features and motion; a fifth of the places are hidden."""
    generator, frames = torch.Generator().manual_seed(0), rows // 2
    x, source = torch.randn(2, rows, channels, side, side, generator=generator)
    flows = torch.randn(2, frames, 2, side, side, generator=generator)
    motion = Motion(*flows, *torch.rand(2, frames, side, side, generator=generator) < 0.2)
    took = [seconds(lambda: optimize_features(x, source, motion, wanted), "cpu") for _ in range(rounds)]
    return statistics.median(took)


def run_clip(frames: int) -> int:
    """Run FRESCO in this process on a picture that moves; bytes of the peak since the model was loaded."""
    from regrain.editing import edit, load_backbone
    from regrain.editing.media.clip import ArrayClip
    from regrain.editing.storage.memory import peak_memory

    size = 128
    request = request_for("fresco", frames, size)
    still = np.random.default_rng(0).integers(30, 220, (16, 16, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    clip = np.stack([np.roll(still, (index, 2 * index), (0, 1)) for index in range(frames)])
    params = {"steps": 4, "optimise_rounds": 2, "frames_at_once": frames}
    model = load_backbone("storybook")
    before = peak_memory(model.device)
    for _ in edit(replace(request, clip=ArrayClip(clip, fps=Fraction(8)), params=params), model):
        pass
    return peak_memory(model.device) - before


def growth(frames: int) -> int:
    """`run_clip` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.consistency", "--work", str(frames)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(answer.splitlines()[-1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--places", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/consistency"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.work:
        sys.stdout.write(f"{run_clip(args.work)}\n")
        return
    # First, as a process starts with the peak of the one that started it.
    peaks = {frames: growth(frames) for frames in args.frames}
    steps = {name: step(args.places, args.channels, name, args.rounds) for name in DISTANCES}
    for name, row in steps.items():
        mib = {side: row[f"{side} bytes"] / 2**20 for side in ("dense", "ours")}
        sys.stdout.write(
            f"{args.places} places, {args.channels} channels, {name}: {row['times faster']:.2f} times faster "
            f"({row['dense seconds']:.3f} and {row['ours seconds']:.3f} s), {row['times less memory']:.0f} "
            f"times less memory ({mib['dense']:.0f} and {mib['ours']:.0f} MiB), "
            f"gradients differ by {row['difference']:.0e}\n"
        )
    calls = []
    for rows, channels, side in WHOLE:
        took = {name: whole(rows, channels, side, wanted, args.rounds) for name, wanted in WANTED.items()}
        calls.append({"rows": rows, "channels": channels, "side": side, "seconds": took})
        sys.stdout.write(f"20 rounds, {rows} rows x {channels} channels x {side} x {side}: ")
        sys.stdout.write(", ".join(f"{name} {one:.3f} s" for name, one in took.items()) + "\n")
    for frames, peak in peaks.items():
        sys.stdout.write(f"{frames} frames at once: {peak / 2**20:.0f} MiB\n")
    for (few, less), (many, more) in pairwise(peaks.items()):
        sys.stdout.write(f"{few} to {many}: {(more - less) / (many - few) / 2**20:.1f} MiB a frame\n")
    args.out.mkdir(parents=True, exist_ok=True)
    found = {"steps": steps, "calls": calls, "peaks": peaks}
    (args.out / "consistency.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
