"""A head that reads from the UNet's middle what the drawn world knows of every place;
it is not shipped.

REPA (Yu et al. 2024, arXiv:2410.06940) aligns features with those of another network;
here the truth takes that network's place. A UNet whose first layers know the picture
leaves more to its last layers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from storybook.draw import PARTS
from storybook.pool import Truth
from storybook.world import KINDS

_SIZES = (1 + len(KINDS), len(PARTS), 1, 2)  # kind, part, outline, middle


class ReadingHead(nn.Module):
    """Two layers that read each place alone, from the block after the middle, 8 x 8, to
    cells, 16 x 16."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        width = unet.config.block_out_channels[-1]
        self.read = nn.Sequential(
            nn.GroupNorm(32, width),
            nn.Conv2d(width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, 4 * sum(_SIZES), 1),
            nn.PixelShuffle(2),
        )
        self._features: list[Tensor] = []
        unet.up_blocks[0].register_forward_hook(
            lambda *call: self._features.append(call[-1])
        )

    def forward(self) -> tuple[Tensor, ...]:
        """Return logits of kinds and parts, outline and middle, of the UNet's last
        call; see `Truth`."""
        features = self._features.pop()
        self._features.clear()
        return self.read(features.float()).split(_SIZES, dim=1)


def reading_loss(answers: tuple[Tensor, ...], truth: Truth) -> Tensor:
    """Return the mean of four losses, each of about the same size at first."""
    kind, part, outline, middle = answers
    inside = (truth.kind > 0)[:, None].float()
    offset = F.smooth_l1_loss(middle, truth.middle, beta=0.1, reduction="none") * inside
    losses = (
        F.cross_entropy(kind, truth.kind),
        F.cross_entropy(part, truth.part),
        F.smooth_l1_loss(outline, truth.outline, beta=0.5),
        10 * offset.sum() / (2 * inside.sum()).clamp(min=1),
    )
    return torch.stack(losses).mean()


def accuracy(answers: tuple[Tensor, ...], truth: Truth) -> dict[str, float]:
    """Return the share of the actors' cells whose kind and part are read right."""
    kind, part, *_ = answers
    inside = truth.kind > 0
    right = {"kind": kind.argmax(1) == truth.kind, "part": part.argmax(1) == truth.part}
    return {
        name: round(float(hit[inside].float().mean()), 4) for name, hit in right.items()
    }
