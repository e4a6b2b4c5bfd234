"""Numbers of the authors' Tune-A-Video, vid2vid-zero and FRESCO on tiny random models,
with which ours are compared.

The script that ran the code and wrote `video_releases.json` is this file in commit
17ef0bea, which says where each file is from:
https://github.com/showlab/Tune-A-Video (commit f0c5d9b),
https://github.com/baaivision/vid2vid-zero (commit 23141fe) and
https://github.com/williamyang1991/FRESCO (commit 315fb69).
All is in double precision, also where the code asks for single.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from infedit_release import SIZE, normal
from torch import Tensor

NUMBERS = Path(__file__).with_suffix(".json")
FRAMES = 3
STEPS, GUIDANCE = 2, 4.0
LEVEL = 481  # of a step of tuning
TRIES = 2  # of vid2vid-zero to learn a text
PROMPTS = {
    "replaced": "a dog and a fox on the grass",
    "refined": "a very old dog and a fox on the grass",
}
# Of FRESCO; rounds are Adam's.
LAYER = "up_blocks.3.attentions.0.transformer_blocks.0.attn1"
PIXELS, TOKENS, CHANNELS, ROUNDS = (64, 96), (8, 12), 8, 5


def noise() -> Tensor:
    """The noise of a step of tuning."""
    return normal(FRAMES, 4, *SIZE, seed=6)


def pixels() -> np.ndarray:
    """Frames that are much alike."""
    drawn = 120 + 25 * normal(FRAMES, *PIXELS, 3, seed=7)
    return drawn.byte().numpy()


def flows() -> tuple[Tensor, Tensor]:
    """From each frame to the next, and back; in some columns they do not cancel."""
    there = (5 * normal(FRAMES, 2, 1, 1, seed=8)).expand(-1, -1, *PIXELS)
    back = 0.1 * normal(FRAMES, 2, *PIXELS, seed=9) - there
    back[..., 40:60] += 3
    return there, back


def features(seed: int) -> Tensor:
    """Of the tokens of both halves of guidance."""
    return normal(2 * FRAMES, CHANNELS, *TOKENS, seed=seed)


def background() -> Tensor:
    """How much of each token is background."""
    return normal(FRAMES, 1, *TOKENS, seed=13).sigmoid()


def joined(weights: Mapping[str, Tensor]) -> Tensor:
    """All values, in the order of the names."""
    return torch.cat([weights[name].detach().flatten() for name in sorted(weights)])


def kept(found: Tensor) -> Tensor:
    """About a hundred of the values."""
    return found.flatten()[:: found.numel() // 100 | 1]
