"""Predict the seconds of VideoGrain on graphics cards without one: `python -m
benchmarks.predicted`.

Counts the operations of Stable Diffusion 1.5's UNet on 16 frames of 512 pixels, in 50
steps, on tensors without numbers, and divides them by speeds that are assumed. All
around the network is left out. "before" is without the kernels of
`attention.backends.WAYS`, and with two passes over logits for their range.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from regrain.editing.attention.layers import AttentionLayer, install
from regrain.editing.storage.local_models import ASSETS

FRAMES, SIDE = 16, 64
# In 1e12 a second: operations of attention by FlashAttention or cuDNN (0: there is
# none) and by the memory-efficient kernel, all others, and bytes.
CARDS = {
    "H100": (220, 90, 260, 2.7),
    "H100 by cuDNN": (330, 330, 260, 2.7),
    "4090": (95, 45, 83, 0.9),
    "T4": (0, 14, 18, 0.26),
}
# Calls of the network with one half of guidance. 15 are modulated; the others invert
# (50), give source features (5), and are all other halves of the steps.
PLAIN, BOUND = 140, 15


def count() -> tuple[int, list[tuple[int, int]]]:
    """Return the operations of a call beside attention among pixels; and pairs of
    tokens and width of heads of every layer of that."""
    from diffusers import UNet2DConditionModel

    config = json.loads((ASSETS / "checkpoints/sd1/unet/config.json").read_text())
    layers = []

    def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.kind == "self":
            tokens = FRAMES * q.shape[2]
            layers.append((q.shape[1] * tokens**2, q.shape[3]))
        return q

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        unet = UNet2DConditionModel.from_config(config)
        install(unet)
        x = torch.empty(FRAMES, 4, SIDE, SIDE)
        words = torch.empty(FRAMES, 77, 768)
        unet(x, torch.empty(1), words, cross_attention_kwargs={"attend": attend})
    return counter.get_total_flops(), layers


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/predicted"))
    args = parser.parse_args()
    operations, layers = count()
    rows = {}
    for card, (flash, efficient, others, memory) in CARDS.items():
        before = after = (PLAIN + BOUND) * operations / others
        for pairs, width in layers:
            plain = PLAIN * 4 * width / (flash or efficient)
            # Eight more channels mark regions; wide heads go in parts.
            wide = width if width >= 128 else width + 8
            modulated = 2 * (wide + width) / efficient
            # Three passes over logits of two bytes, or two.
            before += pairs * (plain + BOUND * (modulated + 6 / memory))
            bound = modulated + 4 / memory
            if flash:
                bound = (4 * wide + 2 * width) / flash
            after += pairs * (plain + BOUND * bound)
        rows[card] = {"before": before / 1e12, "after": after / 1e12}
        print(f"{card}: predicted seconds {rows[card]}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "predicted.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
