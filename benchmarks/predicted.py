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

With `--cards` it prints what of each model fits on cards of some sizes, whole or block
by block: the table of `docs/models.md`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.edit_cost import config_of
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, install
from regrain.editing.models.streaming import blocks_of
from regrain.editing.models.wan.layers import attending, install as layers_of_wan
from regrain.editing.params.registry import METHODS
from regrain.editing.storage.memory import (
    FRAMES_AT_ONCE,
    NEEDS,
    comes_in_blocks,
    need_of,
)

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
# Networks of Wan: heads, layers, hidden width, layers between control blocks, channels
# of latents, frames, height and width of these for 81 frames.
WANS: dict[str, tuple[int, ...]] = {
    "Wan 2.1": (12, 30, 8960, 0, 16, 21, 60, 104),
    "Wan 2.1 VACE": (12, 30, 8960, 2, 16, 21, 60, 104),
    "Wan 2.1, 14B": (40, 40, 13824, 0, 16, 21, 60, 104),
    "Wan 2.1 VACE, 14B": (40, 40, 13824, 5, 16, 21, 60, 104),
    "Wan 2.2 5B": (24, 30, 14336, 0, 48, 21, 44, 80),
}
TOTAL = (4, 6, 8, 12, 16, 24, 80)  # GB of cards
LEFT = 0.93  # of it, beside what the driver takes
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


class Counted(NamedTuple):
    """GiB of a network in 16 bits: all weights; those on a card at a time, if it comes
    block by block; and beside them, of a call for 81 frames."""

    weights: float
    blocks: float
    call: float


@torch.no_grad()
def counted(name: str) -> Counted:
    """Count a network of Wan by tensors without numbers."""
    from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

    heads, layers, wide, every, channels, *size = WANS[name]
    how: dict[str, Any] = {"num_attention_heads": heads, "num_layers": layers}
    how |= {"ffn_dim": wide, "in_channels": channels, "out_channels": channels}
    how |= {"attention_head_dim": 128, "text_dim": 4096, "freq_dim": 256}
    given = {}
    kind: Any = WanTransformer3DModel
    with torch.device("meta"):
        if every:
            kind = WanVACETransformer3DModel
            how |= {"vace_layers": [*range(0, layers, every)], "vace_in_channels": 96}
            given["control_hidden_states"] = torch.empty(1, 96, *size).bfloat16()
            given["control_hidden_states_scale"] = torch.ones(
                layers // every
            ).bfloat16()
        network = kind(**how).bfloat16()
        layers_of_wan(network)
        sizes = sorted(
            sum(x.nbytes for x in block.parameters()) for block in blocks_of(network)
        )
        weights = sum(x.nbytes for x in network.parameters())
        # Wan 2.2 5B tells each token its level
        tokens = size[0] * size[1] * size[2] // 4
        t = torch.zeros(1, tokens) if channels > 16 else torch.zeros(1)
        tracker = MemTracker()
        with tracker, attending(lambda q, *_: torch.empty_like(q)):
            x = torch.empty(1, channels, *size).bfloat16()
            words = torch.empty(1, 512, 4096).bfloat16()
            network(x, t, words, return_dict=False, **given)
    found = tracker.get_tracker_snapshot("peak")[torch.device("meta")]["Total"]
    there = weights - sum(sizes) + sum(sizes[-2:])
    return Counted(*(count / 2**30 for count in (weights, there, found - weights)))


def cards() -> str:
    """Return a table of which of `NEEDS` fit on which card: how many frames, in blocks
    or whole."""
    titles = [f"{total} GB" for total in TOTAL]
    lines = ["| | " + " | ".join(titles) + " |", "|---" * (len(TOTAL) + 1) + "|"]
    for need in NEEDS[1:]:
        cells = []
        for total in TOTAL:
            free = LEFT * total * 1e9
            frames = need.most(free)
            how = " in blocks" if comes_in_blocks(need.weights, free) else ""
            cells.append(f"{frames}{how}" if frames else "–")
        lines.append(f"| {need.family}, {need.side} px | {' | '.join(cells)} |")
    return "\n".join(lines)


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
    parser.add_argument("--cards", action="store_true", help="the table of cards alone")
    args = parser.parse_args()
    if args.cards:
        print(cards())
        return
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
            passes = modulated + 6 / memory
            before += pairs * (PLAIN * once + BOUND * passes)
            bound = modulated
            if best > efficient:
                bound = 4 * wide / best
            bound += 2 * width / fused if fused else 4 / memory
            calls = PLAIN if number else PLAIN - ALIKE
            plain = calls * 4 * width / best
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
