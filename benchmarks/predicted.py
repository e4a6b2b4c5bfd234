"""Predict the memory of every method, and the seconds of VideoGrain, on graphics cards
without one: `python -m benchmarks.predicted`.

Counts the operations of Stable Diffusion 1.5's UNet on 16 frames of 512 pixels, in 50
steps, on tensors without numbers, and divides them by speeds that are assumed. All
around the network is left out. "before" is without the kernels of
`attention.backends.uses_kernels`, with two passes over logits for their range, and with
every layer computed for both halves of guidance. "unbound" is "after" if binding regions
cost nothing.

Memory is of one call of the network in float16, with all branches of a method and
attention in one kernel, and of the autoencoder in float32, which decodes four frames at
once; the larger counts. Left out: what a method keeps, and gradients of tuning. Of Wan's
methods it is what a run is asked for (`storage.memory`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.edit_cost import config_of
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, install
from regrain.editing.params.registry import METHODS
from regrain.editing.storage.memory import FRAMES_AT_ONCE, need_of

FRAMES, SIDE = 16, 64
# In 1e12 a second: operations of attention by the kernel that PyTorch takes, by the best
# one, by a fused one for the range of logits (0: there is none), and by the
# memory-efficient kernel; all others; and bytes.
CARDS = {
    "H100": (220, 330, 220, 90, 260, 2.7),
    "4090": (95, 95, 95, 45, 83, 0.9),
    "4090 on Windows": (45, 95, 0, 45, 83, 0.9),
    "T4": (14, 14, 0, 14, 18, 0.26),
}
# Calls of the network with one half of guidance. 15 are modulated; the others invert
# (50), give source features (5), and are all other halves of the steps.
PLAIN, BOUND = 140, 15
# In so many steps both halves are alike in the first layer, which no text has reached.
ALIKE = 35
# At most, in a call: those of the source, without and with the prompt.
BRANCHES = {
    "videograin": 2,
    "fatezero": 3,
    "vid2vid_zero": 4,
    "tune_a_video": 2,
    "fresco": 2,
    "sdedit": 2,
    "infedit": 6,
    "instruct_pix2pix": 3,
}
RELEASED = 15.94  # GB that VideoGrain's paper says of its own


def count() -> tuple[int, list[tuple[int, int]]]:
    """Return the operations of a call beside attention among pixels; and pairs of
    tokens and width of heads of every layer of that."""
    layers = []

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "self":
            tokens = FRAMES * q.shape[2]
            layers.append((q.shape[1] * tokens**2, q.shape[3]))
        return q

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        call(1, attend)
    return counter.get_total_flops(), layers


def call(branches: int, attend: AttentionFn) -> None:
    """Call the network once, in float16."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(config_of("unet")).half()
    install(unet)
    rows = branches * FRAMES
    x = torch.empty(rows, 4, SIDE, SIDE).half()
    words = torch.empty(rows, 77, 768).half()
    unet(x, 1, words, cross_attention_kwargs={"attend": attend})


def decode() -> None:
    """Decode as many frames as the autoencoder takes at once."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_config(config_of("vae"))
    vae.decode(torch.empty(FRAMES_AT_ONCE, 4, SIDE, SIDE))


@torch.no_grad()
def peak(run: Callable[[], None]) -> float:
    """Return the most GB alive at once."""
    tracker = MemTracker()
    with torch.device("meta"), tracker:
        run()
    by_device = tracker.get_tracker_snapshot("peak")
    return by_device[torch.device("meta")]["Total"] / 1e9


def across(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
    """Attend as a kernel does, which keeps no logits."""
    if site.kind == "cross":
        return torch.empty_like(q)
    return across_frames(q, k, v, FRAMES, "all", lambda q, *_: torch.empty_like(q))


def memory_of(method: str) -> float:
    """Return the GB that a method needs for a clip."""
    if method in BRANCHES:
        run = partial(call, BRANCHES[method], across)
        return max(peak(run), peak(decode))
    need = need_of("Wan 2.1 VACE" if method == "vace" else "Wan 2.1", 8 * SIDE)
    return need.on_gpu(FRAMES) / 1e9 if need else 0.0


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("-o", "--out", type=Path, default=Path("out/predicted"))
    args = parser.parse_args()
    operations, layers = count()
    rows = {}
    for card, (usual, best, fused, efficient, others, memory) in CARDS.items():
        before = after = unbound = (PLAIN + BOUND) * operations / others
        for number, (pairs, width) in enumerate(layers):
            # Eight more channels mark regions; wide heads go in parts.
            wide = width if width >= 128 else width + 8
            modulated = 2 * (wide + width) / efficient
            # Three passes over logits of two bytes, or two, or none.
            once = 4 * width / usual
            before += pairs * (PLAIN * once + BOUND * (modulated + 6 / memory))
            ranges = 2 * width / fused if fused else 4 / memory
            bound = (4 * wide / best if best > efficient else modulated) + ranges
            plain = (PLAIN - ALIKE * (number == 0)) * 4 * width / best
            unbound += pairs * plain
            after += pairs * (plain + BOUND * bound)
        seconds = {"before": before, "after": after, "unbound": unbound}
        rows[card] = {name: spent / 1e12 for name, spent in seconds.items()}
        print(f"{card}: predicted seconds {rows[card]}")
    memory = {method: memory_of(method) for method in args.methods}
    for method, needed in memory.items():
        print(f"{method}: {needed:.2f} GB, {needed / RELEASED:.2f} of the paper's")
    rows["memory"] = memory
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "predicted.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
