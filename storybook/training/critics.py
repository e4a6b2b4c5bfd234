"""Demands on a fast edit besides the true latents: that its pixels are right, and
that critics take it for a true edit.

Many edits fit the same words, and their mean is blurred. So critics learn to tell true
edits from the network's, and the network to deceive them (Sauer et al. 2023,
arXiv:2311.17042, with small critics of latents and of patches of pixels).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

OUTSIDE = 0.1  # weight of the error outside the edited cells
SIZES = (1, 2, 4)  # pixels of a side at which pictures are compared
REGIONS = 3  # most that an edit has
_C = 1e-3


def error(found: Tensor, wanted: Tensor, inside: Tensor) -> Tensor:
    """Return the pseudo-Huber error of latents, mostly of the edited cells; for each
    clip."""
    weight = OUTSIDE + (1 - OUTSIDE) * inside
    far = ((found - wanted).square() + _C**2).sqrt() - _C
    return (far * weight).mean((1, 2, 3, 4)) / weight.mean((1, 2, 3, 4))


def pixel_error(drawn: Tensor, true: Tensor, area: Tensor) -> Tensor:
    """Return how far colours, edges, and changes from frame to frame are from the true
    ones, inside an area.

    Args:
        drawn, true: Pixels of -1 to 1, [clips, frames, 3, h, w].
        area: [clips, frames, 1, h, w], 1 inside.
    """
    loss = drawn.new_zeros(())
    for size in SIZES:
        own, other, inside = (_smaller(x, size) for x in (drawn, true, area))
        far = own - other
        loss = loss + _mean(far.abs(), inside) / len(SIZES)
        for axis in (1, 3, 4):  # frames, rows, columns
            if far.shape[axis] > 1:
                both = inside.narrow(axis, 1, inside.shape[axis] - 1)
                loss = loss + _mean(far.diff(dim=axis).abs(), both)
    return loss


def _smaller(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(x.flatten(0, 1), size).unflatten(0, x.shape[:2])


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of [..., c, h, w] by weights [..., 1, h, w]."""
    return (x * weight).sum() / (weight.sum() * x.shape[2]).clamp(min=1)


def meanings(rows: Mapping[str, Tensor]) -> Tensor:
    """Return the mean vector of the words of each cell's region, 0 where it has none:
    [clips, frames, vectors, h, w]."""
    height, width = rows["inside"].shape[-2:]
    codes = rows[f"codes{height * width}"].long()
    text = rows["text"].float()
    own = F.one_hot(rows["words"].long() + 1, REGIONS + 2).float()
    mean = own.transpose(1, 2) @ text / own.sum(1)[..., None].clamp(min=1)
    mean[:, :2] = 0  # words of no region, and the background
    places = (codes.flatten(1) + 1)[..., None].expand(-1, -1, text.shape[-1])
    found = mean.gather(1, places).view(*codes.shape[:2], height, width, -1)
    return found.movedim(-1, 2)


class Critic(nn.Module):
    """Network that tells true latents from drawn ones, cell by cell, by the cells
    around and the words that they should show."""

    def __init__(self, channels: int = 16, vectors: int = 128, width: int = 96) -> None:
        super().__init__()
        self.words = nn.Conv2d(vectors, 16, 1)
        self.layers = nn.Sequential(
            _layer(channels + 1 + 16, width),
            _layer(width, width),
            _layer(width, width),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, x: Tensor, inside: Tensor, meaning: Tensor) -> Tensor:
        """Say how true latents look, [clips, frames, 1, h, w].

        Args:
            x: Latents, [clips, frames, c, h, w].
            inside: 1 in cells that are drawn.
            meaning: See `meanings`.
        """
        said = self.words(meaning.flatten(0, 1))
        seen = torch.cat([x.flatten(0, 1), inside.flatten(0, 1), said], 1)
        return self.layers(seen).unflatten(0, x.shape[:2])


class Eye(nn.Module):
    """Network that tells true pixels from drawn ones, patch by patch, by two frames at
    a time, in full and in half size."""

    def __init__(self, vectors: int = 128, width: int = 48) -> None:
        super().__init__()
        self.words = nn.Conv2d(vectors, 16, 1)
        self.near = _patches(width, 3)
        self.far = _patches(width, 2)
        self.judges = nn.ModuleList(_judge(3 * width) for _ in range(2))

    def forward(self, pixels: Tensor, meaning: Tensor) -> tuple[Tensor, Tensor]:
        """Say how true patches of 8 pixels look, by either size: [clips, frames, 1, h,
        w] each.

        Args:
            pixels: Of -1 to 1, [clips, frames, 3, h, w].
            meaning: See `meanings`.
        """
        before = torch.cat([pixels[:, :1], pixels[:, :-1]], 1)
        seen = torch.cat([pixels, before], 2).flatten(0, 1)
        said = self.words(meaning.flatten(0, 1))
        half = F.avg_pool2d(seen, 2)
        found = []
        parts = zip((self.near(seen), self.far(half)), self.judges, strict=True)
        for features, judge in parts:
            look = judge(torch.cat([features, said], 1))
            found.append(look.unflatten(0, pixels.shape[:2]))
        return found[0], found[1]


def _layer(given: int, width: int, stride: int = 1) -> nn.Sequential:
    side = 4 if stride > 1 else 3
    layer = spectral_norm(nn.Conv2d(given, width, side, stride=stride, padding=1))
    return nn.Sequential(layer, nn.LeakyReLU(0.2))


def _patches(width: int, halvings: int) -> nn.Sequential:
    """Return layers that see patches of 8 pixels of the full size, 3 * width wide."""
    widths = [6, width, 2 * width, 3 * width][: halvings + 1]
    widths[-1] = 3 * width
    layers = [_layer(a, b, 2) for a, b in zip(widths, widths[1:], strict=False)]
    return nn.Sequential(*layers)


def _judge(width: int) -> nn.Sequential:
    return nn.Sequential(
        _layer(width + 16, width),
        _layer(width, width),
        nn.Conv2d(width, 1, 3, padding=1),
    )


def hinge(on_true: Tensor, on_drawn: Tensor, inside: Tensor) -> Tensor:
    """Return the hinge loss of a critic that has seen true edits and drawn ones."""
    doubt = (1 - on_true).relu() + (1 + on_drawn).relu()
    return (doubt * inside).sum() / inside.sum().clamp(min=1)


def pulled(
    found: Tensor, error: Tensor, others: Sequence[tuple[float, Tensor]]
) -> Tensor:
    """Return a loss of the value of an error, whose gradient on what the network found
    also has that of other losses, each with a pull that is a fixed share of the
    error's.

    Args:
        found: What the network found, from which all losses were computed.
        error: The error.
        others: Share and loss of each.
    """
    pull = _pull(error, found)
    whole = pull
    for share, loss in others:
        other = _pull(loss, found)
        whole = whole + share * pull.norm() / other.norm().clamp(min=1e-8) * other
    lever = (found * whole).sum()
    return error.detach() + lever - lever.detach()


def _pull(loss: Tensor, found: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, found, retain_graph=True)
    return gradient
