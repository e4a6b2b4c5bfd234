"""Optimise the features of a clip: frames agree along the motion, and are as
self-similar as the source's.

FRESCO, Yang et al. 2024, arXiv:2403.12962, Sec. 3.4. Tensors in, tensors out. Gradients
are in closed form, and the similarities of all pairs of places are never held together.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regrain.editing.motion.correspondence import Motion
from regrain.editing.params.fresco import FrescoParams

Distance = Literal["squared", "absolute"]
FeatureMaps = Float[Tensor, "rows c h w"]
Places = Float[Tensor, "rows places c"]
# Places compared with as many others at once: on a CPU a block stays in its cache, a
# GPU wants large ones.
_BLOCK, _GPU_BLOCK = 256, 2048
_EPSILON = 1e-5
_SHORTEST = 1e-12  # length of a feature that is divided by it
_ROUNDING = 1e-5  # of interpolation, as a share of the largest feature


@torch.no_grad()
def optimize_features(
    x: FeatureMaps,
    source: FeatureMaps,
    links: Float[Tensor, "pairs all_places"] | None,
    params: FrescoParams,
) -> FeatureMaps:
    """Optimise features; if both weights are 0, return them unchanged.

    Args:
        x: Features, rows (branch frame); they come back in their dtype, and no gradient
            leaves them.
        source: Features of the source clip, same rows.
        links: `neighbours` of the circular pairs of frames, at the size of the
            features; unused, and may be None, if the weight of the flow is 0.
        params: Weights and settings of Adam. Of released details, the smallest
            difference counts, and 1 is added to restored variances.
    Source: arXiv:2403.12962, Eq. 3 to 6.
    """
    if not params.flow_weight and not params.similarity_weight:
        return x
    released = params.details == "released"
    rounding = 0.0 if released else _ROUNDING
    original = x.detach().float()
    features = as_places(original)
    reference, _ = _on_sphere(as_places(source.detach().float()))
    adam = torch.optim.Adam([features], lr=params.learning_rate, fused=True)
    for _ in range(params.optimise_rounds):
        gradient = torch.zeros_like(features)
        if params.flow_weight and links is not None:
            slope = flow_slope(features, links, rounding)
            gradient.add_(slope, alpha=params.flow_weight)
        if params.similarity_weight:
            slope = similarity_slope(features, reference, params.similarity_loss)
            gradient.add_(slope, alpha=params.similarity_weight)
        features.grad = gradient
        adam.step()
    result = features.mT.reshape(x.shape).contiguous()
    result = with_statistics(result, original, 1.0 if released else _EPSILON)
    return result.to(x.dtype)


def as_places(x: FeatureMaps) -> Places:
    """Copy features so that those of a place lie side by side."""
    return rearrange(x, "rows c h w -> rows (h w) c").clone(
        memory_format=torch.contiguous_format
    )


def neighbours(motion: Motion, circular: bool) -> Float[Tensor, "pairs places"]:
    """Pair places with where they were in the frame before, or are in the next, if they
    are visible there.

    Returns:
        A sparse matrix that maps features of all places, frame by frame, to the
        difference of each place to its interpolated neighbour; outside the frame
        features are 0.
    """
    frames = torch.arange(len(motion.forward), device=motion.forward.device)
    after = frames.roll(-1)
    kept = frames if circular else frames[:-1]
    parts = [
        _displaced(
            after[kept],
            kept,
            motion.backward[kept],
            ~motion.appeared[kept],
        )
    ]
    if circular:
        parts.append(_displaced(frames, after, motion.forward, ~motion.hidden))
    here, there, weights = (torch.cat(x) for x in zip(*parts, strict=True))
    # The weighted mean of four places, taken from another place.
    values = torch.cat([torch.ones_like(weights[:, :1]), -weights], 1)
    columns = torch.cat([here[:, None], there], 1)
    rows = torch.arange(len(here), device=here.device)[:, None].expand_as(columns)
    used = values != 0
    return torch.sparse_coo_tensor(
        torch.stack([rows[used], columns[used]]),
        values[used],
        (len(here), motion.hidden.numel()),
        check_invariants=False,
    ).coalesce()


def _displaced(
    frame: Int[Tensor, "pairs"],
    other: Int[Tensor, "pairs"],
    flow: Float[Tensor, "pairs 2 h w"],
    visible: Bool[Tensor, "pairs h w"],
) -> tuple[Int[Tensor, "found"], Int[Tensor, "found 4"], Float[Tensor, "found 4"]]:
    """Find where the flow takes the visible places of `frame`, between four places of
    `other`.

    Returns:
        Numbers of the visible places and of the four places around each target, and the
        bilinear weights of these; a place outside the frame has number and weight 0.
    """
    height, width = visible.shape[1:]
    pair, y, x = visible.nonzero(as_tuple=True)
    position = torch.stack([x, y], 1) + flow[pair, :, y, x].float()
    corners = position.new_tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    corner = position.floor()[:, None] + corners
    weights = (1 - (position[:, None] - corner).abs()).prod(-1)
    column, row = corner.long().unbind(-1)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    there = (other[pair, None] * height + row) * width + column
    here = (frame[pair] * height + y) * width + x
    return here, there.masked_fill(outside, 0), weights.masked_fill(outside, 0)


def flow_slope(
    x: Places, links: Float[Tensor, "pairs all_places"], rounding: float = _ROUNDING
) -> Places:
    """Return the gradient of the mean distance of each frame to its `neighbours`;
    hidden places count as 0.

    Differences of at most `rounding` times the largest feature get no slope: Adam takes
    full steps down any.
    """
    least = rounding * x.abs().amax()
    slopes = []
    for branch in x.flatten(0, 1).split(links.shape[1]):
        off = links @ branch
        off.copy_(off.sign().masked_fill_(off.abs() <= least, 0))
        slopes.append(links.mT @ off)
    return torch.cat(slopes).view_as(x).div_(x.numel())


def similarity_slope(x: Places, reference: Places, distance: Distance) -> Places:
    """Return the gradient of the mean distance of the similarities of all pairs of
    places to the reference's.

    The similarity of two places is their cosine; `reference` are places of the source,
    of length 1.
    """
    unit, length = _on_sphere(x)
    slope = unit_slope(unit, reference, distance)
    # Nothing depends on the length, so only the part of the slope along the sphere
    # counts.
    along = torch.linalg.vecdot(slope, unit)[..., None]
    return slope.addcmul_(unit, along, value=-1).div_(length)


def unit_slope(u: Places, reference: Places, distance: Distance) -> Places:
    """Return the gradient with respect to unit features.

    The gradient of sum |U U^T - R R^T| is 2 sign(U U^T - R R^T) U, that of its square 4
    (U U^T - R R^T) U. Of equal features both are exactly 0, as Adam needs.
    """
    rows, places, channels = u.shape
    similarities = rows * places**2
    if distance == "absolute":
        return _times_signs(u, reference).mul_(2 / similarities)
    # (U U^T - R R^T) U = U (U - R)^T U + (U - R) R^T U: of two orders the one with the
    # smaller matrices.
    if places <= channels:
        off = u - reference
        product = (u @ off.mT).baddbmm_(off, reference.mT) @ u
    else:
        product = _times_correlations(u, reference)
    return product.mul_(4 / similarities)


def _times_correlations(u: Places, reference: Places) -> Places:
    """Add U ((U - R)^T U) and (U - R) (R^T U), through matrices of channels x
    channels."""
    blocks = _blocks(u.shape[1], _BLOCK)
    rows, _, channels = u.shape
    near = u.new_zeros(rows, channels, channels)
    for some in blocks:
        off = u[:, some] - reference[:, some]
        near.baddbmm_(off.mT, u[:, some])
    far = reference.mT @ u
    out = torch.empty_like(u)
    for some in blocks:
        own = u[:, some]
        out[:, some] = (own @ near).baddbmm_(own - reference[:, some], far)
    return out


def _times_signs(u: Places, reference: Places) -> Places:
    """Multiply sign(U U^T - R R^T) by U, some rows at a time, in blocks.

    Only blocks of the upper triangle are computed, and mirrored.
    """
    places = u.shape[1]
    side = _BLOCK if u.device.type == "cpu" else _GPU_BLOCK
    blocks = _blocks(places, side)
    together = max(1, side // places) ** 2
    out = torch.zeros_like(u)
    parts = zip(
        u.split(together), reference.split(together), out.split(together), strict=True
    )
    for part in parts:
        # A batch of one is slower than a matrix.
        own, like, sums = (x.squeeze(0) for x in part)
        add = Tensor.addmm_ if own.ndim == 2 else Tensor.baddbmm_
        for down, across in combinations_with_replacement(blocks, 2):
            # Two products, subtracted: of equal features the difference is exactly 0.
            signs = own[..., down, :] @ own[..., across, :].mT
            signs -= like[..., down, :] @ like[..., across, :].mT
            signs.sign_()
            add(
                sums[..., down, :],
                signs,
                own[..., across, :],
            )
            if across is not down:
                add(
                    sums[..., across, :],
                    signs.mT,
                    own[..., down, :],
                )
    return out


def _blocks(places: int, side: int) -> list[slice]:
    return [slice(start, start + side) for start in range(0, places, side)]


def with_statistics(
    x: FeatureMaps, like: FeatureMaps, more: float = _EPSILON
) -> FeatureMaps:
    """Give every channel of every row the mean and deviation of another, with `more`
    added to its variance.

    Source: adaptive instance normalisation, Huang and Belongie, arXiv:1703.06868, Eq.
        8.
    """

    mean, deviation = _statistics(x, _EPSILON)
    wanted_mean, wanted_deviation = _statistics(like, more)
    return (x - mean) / deviation * wanted_deviation + wanted_mean


def _statistics(
    x: FeatureMaps, more: float
) -> tuple[Float[Tensor, "rows c 1 1"], Float[Tensor, "rows c 1 1"]]:
    """Return mean and deviation of every channel of every row, with `more` added to its
    variance."""
    cells = x.flatten(2)
    variance = cells.var(2, correction=min(1, cells.shape[2] - 1))
    return cells.mean(2)[..., None, None], (variance + more).sqrt()[..., None, None]


def _on_sphere(x: Places) -> tuple[Places, Float[Tensor, "rows places 1"]]:
    """Divide features by their length; return them and the length."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min_(_SHORTEST)
    return x / length, length
