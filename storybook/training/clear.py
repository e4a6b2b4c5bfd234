"""Train what tells clean drawings from smears: `python -m storybook.training.clear --crops
FILE`.

The reader's eye, with one number in place of words, learns from crops of edited regions
which of them were drawn cleanly: FILE has `crops`, uint8 [n, 48, 48, 3], and `clear`,
which is 1 of clean ones and 0 of others, as floats. It is no distance to a truth: that
would take a blur for better than another pose. Writes half precision into
`assets/storybook/reader/clear`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPForImageClassification

from storybook.training.reader import TARGET

_BATCH = 64
_RATE = 7e-4
_SURE = 0.96  # of a label, since some are wrong


def new_critic(reader: Path) -> CLIPForImageClassification:
    """Return the eye of a reader, with an output that was not trained, or a critic."""
    return CLIPForImageClassification.from_pretrained(
        reader, dtype=torch.float32, num_labels=1
    )


def varied(crops: Tensor, rng: torch.Generator) -> Tensor:
    """Return crops mirrored, moved, in other light and colours: -1 to 1, [n, 3, h, w]."""
    count = len(crops)
    x = crops.movedim(-1, 1).float() / 127.5 - 1
    mirrored = torch.rand(count, 1, 1, 1, generator=rng) < 0.5
    x = torch.where(mirrored, x.flip(-1), x)
    light = 0.85 + 0.3 * torch.rand(count, 1, 1, 1, generator=rng)
    tint = 0.2 * torch.rand(count, 3, 1, 1, generator=rng) - 0.1
    if torch.rand((), generator=rng) < 0.3:
        x = x[:, torch.randperm(3, generator=rng)]
    right, down = torch.randint(-3, 4, (2,), generator=rng).tolist()
    moved = (x * light + tint).roll((down, right), (2, 3))
    return moved.clamp(-1, 1)


def train(
    critic: CLIPForImageClassification, crops: Tensor, clear: Tensor, steps: int
) -> None:
    """Train on as many clean crops as others."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.where(clear > 0, 1 / clear.sum(), 1 / (1 - clear).sum())
    optimiser = torch.optim.AdamW(critic.parameters(), _RATE, weight_decay=0.05)
    pace = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, _RATE, total_steps=steps, pct_start=0.15
    )
    for _ in range(steps):
        chosen = torch.multinomial(weights, _BATCH, replacement=True, generator=rng)
        found = critic(varied(crops[chosen], rng)).logits[:, 0]
        wanted = 0.5 + _SURE * (clear[chosen] - 0.5)
        loss = F.binary_cross_entropy_with_logits(found, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        pace.step()


def main() -> None:
    """Train, and write what was learned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--init", type=Path, default=TARGET, help="what to go on from")
    parser.add_argument("--out", type=Path, default=TARGET / "clear")
    args = parser.parse_args()
    data = load_file(args.crops)
    critic = new_critic(args.init)
    train(critic, data["crops"], data["clear"], args.steps)
    critic.half().save_pretrained(args.out)


if __name__ == "__main__":
    main()
