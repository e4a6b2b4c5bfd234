"""Optimise the features of a clip: frames agree along the motion, and are as self-similar as the source's.

FRESCO, Yang et al. 2024, arXiv:2403.12962, Sec. 3.4. Tensors in, tensors out. The similarities of all pairs
of places are never held together: they are computed in blocks, with the gradient in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from editing.correspondence import Motion
from editing.flow import warp

Distance = Literal["squared", "absolute"]
_BLOCK = 512  # places compared with as many others at once: a block stays in the processor's cache
_EPSILON = 1e-5
_ROUNDING = 1e-5  # of interpolation, as a share of the largest feature


@dataclass(frozen=True)
class Agreement:
    """What frames must agree in, and how it is optimised.

    Attributes:
        flow: Weight of the motion; 0 leaves it out.
        similarity: Weight of the likeness of the places of a frame; 0 leaves it out.
        circular: Compare neighbours both ways and the last frame with the first; otherwise each frame with
            the one before.
        distance: How similarities are compared.
        rounds: Steps of Adam.
        learning_rate: Its learning rate.
        restore: Give every channel of every frame its mean and deviation back.
    """

    flow: float
    similarity: float
    circular: bool
    distance: Distance
    rounds: int
    learning_rate: float
    restore: bool


def agree(
    x: Float[Tensor, "rows c h w"], source: Float[Tensor, "rows c h w"], motion: Motion, wanted: Agreement
) -> Float[Tensor, "rows c h w"]:
    """Optimise features; without weights they are returned as they are.

    Args:
        x: Features, rows (branch frame).
        source: Features of the source clip, same rows.
        motion: Motion of the circular pairs of frames, at the size of the features.
        wanted: See `Agreement`.

    Returns:
        Features in x's dtype; no gradient reaches anything else.
    Source: arXiv:2403.12962, Eq. 3 to 6.
    """
    if not wanted.flow and not wanted.similarity:
        return x
    original = x.detach().float()
    reference = _unit_rows(source.detach().float())
    features = original.clone().requires_grad_(True)
    adam = torch.optim.Adam([features], lr=wanted.learning_rate)
    with torch.enable_grad():
        for _ in range(wanted.rounds):
            loss = features.new_zeros(())
            if wanted.flow:
                loss = loss + wanted.flow * flow_distance(features, motion, wanted.circular)
            if wanted.similarity:
                off = similarity_distance(_unit_rows(features), reference, wanted.distance)
                loss = loss + wanted.similarity * off
            (features.grad,) = torch.autograd.grad(loss, [features])
            adam.step()
    found = features.detach()
    return (with_statistics(found, original) if wanted.restore else found).to(x.dtype)


def flow_distance(x: Float[Tensor, "rows c h w"], motion: Motion, circular: bool = True) -> Float[Tensor, ""]:
    """Mean distance of each frame to its neighbour, moved along the flow; hidden places count as 0.

    Args:
        x: Features, rows (branch frame).
        motion: Motion of the circular pairs.
        circular: See `Agreement`.
    """
    frames = len(motion.forward)
    branches = len(x) // frames
    after = rearrange(x, "(b f) c h w -> b f c h w", f=frames).roll(-1, 1).flatten(0, 1)

    def moved(features: Tensor, flow: Tensor) -> Tensor:
        return warp(features, flow.repeat(branches, 1, 1, 1), outside="zero")

    def visible(hidden: Tensor, pairs: int) -> Tensor:
        kept = (~hidden).to(x.dtype)
        kept[pairs:] = 0
        return kept.repeat(branches, 1, 1)[:, None]

    # Adam takes full steps down any slope, so what only rounding made must have none.
    rounding = _ROUNDING * x.detach().abs().amax()

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return ((one - other).abs() - rounding).relu()

    pairs = frames if circular else frames - 1
    off = distance(after, moved(x, motion.backward)) * visible(motion.appeared, pairs)
    if circular:
        off = off + distance(x, moved(after, motion.forward)) * visible(motion.hidden, pairs)
    return off.mean()


def similarity_distance(
    rows: Float[Tensor, "rows places c"], reference: Float[Tensor, "rows places c"], distance: Distance
) -> Float[Tensor, ""]:
    """Mean distance of the similarities of all pairs of places to those of the reference.

    Args:
        rows: Features of every place, of length 1; gradients flow to them.
        reference: The same of the source.
        distance: "absolute" or "squared" differences.
    """
    return cast(Tensor, _SimilarityDistance.apply(rows, reference, distance))


class _SimilarityDistance(torch.autograd.Function):
    """Blocks of the upper triangle; a block and its mirror image share their differences.

    The gradient of sum |U U^T - R R^T| is 2 sign(U U^T - R R^T) U, that of its square 4 (U U^T - R R^T) U.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, reference: Tensor, distance: Distance) -> Tensor:
        gradient, total = torch.zeros_like(rows), rows.new_zeros((), dtype=torch.float64)
        places = rows.shape[1]
        blocks = [slice(start, min(start + _BLOCK, places)) for start in range(0, places, _BLOCK)]
        for u, r, g in zip(rows, reference, gradient, strict=True):
            for down, across in combinations_with_replacement(blocks, 2):
                # Two products, subtracted: of equal features the difference is exactly 0, as Adam needs.
                off = u[down] @ u[across].T
                off -= r[down] @ r[across].T
                total += _slope(off, distance) * (1 if across is down else 2)
                g[down].addmm_(off, u[across])
                if across is not down:
                    g[across].addmm_(off.T, u[down])
        numbers = rows.shape[0] * places**2
        ctx.save_for_backward(gradient.mul_((2 if distance == "absolute" else 4) / numbers))
        return (total / numbers).to(rows.dtype)

    @staticmethod
    def backward(ctx, *outer: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None


def _slope(off: Tensor, distance: Distance) -> Tensor:
    """The sum of the distances of some differences, which become the slope of it, up to a factor."""
    if distance == "squared":
        return off.square().sum()
    total = off.abs().sum()
    off.sign_()
    return total


def with_statistics(
    x: Float[Tensor, "rows c h w"], like: Float[Tensor, "rows c h w"]
) -> Float[Tensor, "rows c h w"]:
    """Give every channel of every row the mean and deviation of another.

    Source: adaptive instance normalisation, Huang and Belongie, arXiv:1703.06868, Eq. 8.
    """

    def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
        cells = features.flatten(2)
        variance = cells.var(2, correction=min(1, cells.shape[2] - 1))
        return cells.mean(2)[..., None, None], (variance + _EPSILON).sqrt()[..., None, None]

    (mean, deviation), (wanted_mean, wanted_deviation) = statistics(x), statistics(like)
    return (x - mean) / deviation * wanted_deviation + wanted_mean


def _unit_rows(x: Float[Tensor, "rows c h w"]) -> Float[Tensor, "rows places c"]:
    return F.normalize(rearrange(x, "rows c h w -> rows (h w) c"), dim=-1)
