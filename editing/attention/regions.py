"""ST-Layout attention: pulls the tokens of a region together and pushes all others
apart.

For query i with strength a_i and same-region indicator R_ij the modulated logits are

    s'_ij = (1 - a_i) s_ij + a_i (max_i if R_ij else min_i),    max_i, min_i over all keys of s_i.

A softmax ignores a constant per row, so s' is (1 - a_i) s_ij + a_i (max_i - min_i) R_ij
up to a row constant, and for disjoint regions R_ij = onehot(r_i) . onehot(r_j):
ordinary attention with a few more channels, exact, in O(N) memory. Source: VideoGrain,
arXiv:2502.17258, Eq. 4 to 6. The channel form is not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from regrain.editing.attention.backends import (
    LANES,
    Answers,
    Keys,
    Queries,
    RowRange,
    Values,
    attention,
    attention_and_sums,
    is_right,
    uses_kernels,
)

# Elements of one block of scores: 4 MB in fp32, which stay in a CPU's cache while they
# are worked on; a GPU needs more to be kept busy.
_BLOCK = 1 << 20
_GPU_BLOCK = 1 << 25
# Divisor of logits in half precision, whose numbers end at 65504: unscaled logits of
# Stable Diffusion 2 reach 3e5. A power of two costs no accuracy.
_HALF_SCALE = 64.0
# On a CPU with this many keys, blocks are faster than a fused kernel.
_MANY_KEYS = 256
# A block has at least so many queries, since the keys are laid out anew for each.
_LEAST_ROWS = 256
_QUARTER = 0.25
# Widening queries of this width would pad them by a quarter; two merged calls are then
# cheaper.
_MERGED = 128

QueryLabels = Int[Tensor, "#batch queries"]
KeyLabels = Int[Tensor, "#batch keys"]
Strength = Float[Tensor, "#batch queries"]


class RegionTokens(NamedTuple):
    """Places of the queries of a region and of all others, and of its own keys and all
    others; None where there are none of these."""

    label: int
    queries: Int[Tensor, "found"]
    elsewhere: Int[Tensor, "rest"] | None
    own: Int[Tensor, "own"] | None
    others: Int[Tensor, "others"] | None


def _places(
    chosen: Bool[Tensor, "all"], device: torch.device
) -> Int[Tensor, "found"] | None:
    """Return the places of what is chosen, on a device; None if that is nothing."""
    places = chosen.nonzero().flatten()
    return places.to(device) if len(places) else None


@dataclass(frozen=True, eq=False)
class Partition:
    """A partition of queries and keys into regions.

    What attention needs to know of it is found once: a program that asks a device waits
    for it.

    Attributes:
        queries, keys: Regions; -1 is none.
        count: Regions up to the largest label.
    """

    queries: QueryLabels
    keys: KeyLabels
    count: int
    _rows: dict[tuple[int, int], tuple[RegionTokens, ...]] = field(
        default_factory=dict, init=False
    )

    @classmethod
    def of(cls, queries: QueryLabels, keys: KeyLabels) -> Partition:
        """Return the partition by some labels."""
        most = torch.maximum(queries.max(), keys.max())
        return cls(queries, keys, int(most) + 1)

    @property
    def alike(self) -> bool:
        """True if all rows of a batch have the same labels."""
        return len(self.queries) == len(self.keys) == 1

    def by_region(self, row: int = 0) -> tuple[RegionTokens, ...]:
        """Return the tokens of a row of the batch, of every region that has a query and
        of those without one."""
        places = (row % len(self.queries), row % len(self.keys))
        if places in self._rows:
            return self._rows[places]
        queries = self.queries[places[0]].cpu()
        keys = self.keys[places[1]].cpu()
        device = self.queries.device
        found = []
        for label in queries.unique().tolist():
            own = (keys == label) & (label >= 0)
            inside = queries == label
            tokens = RegionTokens(
                label=label,
                queries=inside.nonzero().flatten().to(device),
                elsewhere=_places(~inside, device),
                own=_places(own, device),
                others=_places(~own, device),
            )
            found.append(tokens)
        self._rows[places] = tuple(found)
        return self._rows[places]


def grid_labels(
    labels: Integer[Tensor, "frames height width"], height: int, width: int, count: int
) -> Int[Tensor, "frames cells"]:
    """Reduce labels to a coarser grid: each cell takes the label that covers most of
    it.

    A region that would lose every cell keeps the one it covers most, unless that is the
    last cell of another region, so that small parts survive.

    Args:
        labels: 0..count - 1, the background's included. height, width: Size of the
        grid, whose cells come back in row-major order, int64.
        count: Number of labels.
    """
    cover = _cover(labels, height, width, count)
    # Ties go to a region rather than to the background.
    winner = cover.flip(1).argmax(1).neg() + count - 1
    for label in range(1, count):
        lost = (cover[:, label].amax(1) > 0) & ~(winner == label).any(1)
        for frame in lost.nonzero().flatten().tolist():
            # The cell it covers most, of those that are not another label's last.
            own = winner[frame]
            share = cover[frame, label]
            for cell in share.argsort(descending=True).tolist():
                held = own[cell]
                if share[cell] > 0 and (held == 0 or (own == held).sum() > 1):
                    own[cell] = label
                    break
    return winner


def clip_labels(
    labels: Integer[Tensor, "frames height width"],
    height: int,
    width: int,
    count: int,
    latents: Int[Tensor, "frames"],
) -> Int[Tensor, "time cells"]:
    """Label tokens that span frames: by the region that covers most, if regions cover a
    quarter of the token.

    Args:
        labels, height, width, count: See `grid_labels`.
        latents: The latent that each frame is in, rising from 0.
    """
    frames = _cover(labels, height, width, count)
    times = range(int(latents[-1]) + 1)
    cover = torch.stack([frames[latents == time].mean(0) for time in times])
    background = cover[:, 0].clone()
    cover[:, 0] = -1
    return torch.where(1 - background >= _QUARTER, cover.argmax(1), 0)


def _cover(
    labels: Tensor, height: int, width: int, count: int
) -> Float[Tensor, "frames labels cells"]:
    """Measure how much of each cell each label covers, 0..1."""
    import cv2  # slow to import

    sides = (labels.shape[1:], (height, width))
    (top, bottom), (left, right) = map(_ends_of, *sides)
    area = np.float32(np.outer(bottom - top, right - left))
    shares = []
    for frame in labels.numpy():
        for label in range(count):
            sums = cv2.integral((frame == label).view(np.uint8))
            down = sums[bottom] - sums[top]
            shares.append((down[:, right] - down[:, left]) / area)
    return torch.from_numpy(np.array(shares, np.float32)).view(-1, count, area.size)


def _ends_of(side: int, cells: int) -> np.ndarray:
    """Return where the cells along a side begin, and where they end; they overlap where
    they do not divide it."""
    ends = np.arange(cells + 1) * side
    return np.stack([ends[:-1] // cells, -(-ends[1:] // cells)])


def row_range(q: Queries, k: Keys) -> RowRange:
    """Compute largest minus smallest logit of every row of q k^T / sqrt(dim), in at
    least single precision."""
    return range_kernel(q.device.type, q.dtype)(q, k)


@cache
def range_kernel(kind: str, dtype: torch.dtype) -> Callable[..., RowRange]:
    """Return what computes `row_range` on a kind of device: one kernel, if that runs
    there and gives the same, else `blockwise_range`.

    The first call compiles and checks it; that is when a model is loaded.
    """
    if not uses_kernels(torch.device(kind), dtype):
        return blockwise_range
    # Before Ampere, Triton multiplies without tensor cores.
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        return blockwise_range
    # each width for another size of the kernel
    right = is_right(
        "a kernel for ranges of logits",
        _by_triton,
        blockwise_range,
        dtype,
        (40, 80, 160),
        1e-3,
    )
    return _by_triton if right else blockwise_range


def _by_triton(q: Queries, k: Keys) -> RowRange:
    from regrain.editing.attention.fused_range import fused_range

    return fused_range(q, k)


def blockwise_range(q: Queries, k: Keys) -> RowRange:
    """Compute `row_range` on any device, in blocks of queries."""
    unit = _unit(q)
    block_size = _BLOCK if q.device.type == "cpu" else _GPU_BLOCK
    rows = max(1, block_size // k[..., 0].numel())
    precise = torch.promote_types(q.dtype, torch.float32)
    out = q.new_empty(q.shape[:-1], dtype=precise)
    for block, result in zip(q.split(rows, 2), out.split(rows, 2), strict=True):
        low, high = _ends((block / unit) @ k.mT)
        torch.sub(high.to(precise), low.to(precise), out=result)
    return out.mul_(unit * q.shape[-1] ** -0.5)


def _ends(scores: Float[Tensor, "*rows keys"]) -> tuple[Tensor, Tensor]:
    """Return the least and the largest score of every row."""
    if scores.device.type == "cpu":
        # Two passes: aminmax is several times slower than amax and amin on a CPU.
        return scores.amin(-1), scores.amax(-1)
    return torch.aminmax(scores, dim=-1)


def _product(
    rows: Float[Tensor, "rows dim"], columns: Float[Tensor, "columns dim"]
) -> Float[Tensor, "rows columns"]:
    """Multiply rows by columns on a CPU, both contiguous."""
    # In single precision oneDNN is about twice as fast as MKL on processors that are
    # not Intel's.
    if torch.backends.mkldnn.is_available() and rows.dtype == torch.float32:
        multiply = torch.ops.mkldnn._linear_pointwise
        return multiply(rows, columns, None, "none", [], "")
    return rows @ columns.mT


def _unit(q: Tensor) -> float:
    """Return the divisor that keeps logits within the range of q's dtype."""
    return _HALF_SCALE if q.dtype == torch.float16 else 1.0


def modulate(
    q: Queries, k: Keys, partition: Partition, strength: Strength
) -> tuple[
    Float[Tensor, "batch heads queries wide"], Float[Tensor, "batch heads keys wide"]
]:
    """Widen queries and keys so that their plain attention, scaled by the original dim,
    is modulated.

    Args:
        q, k: Unscaled. partition: Regions of queries and keys. strength: a_i in [0, 1]:
        0 leaves a row unchanged, 1 sets it to max inside its region, min elsewhere.
    Returns:
        q2, k2 with softmax(q2 k2^T / sqrt(dim)) the modulated attention; wide = dim +
        number of regions.
    """
    regions = torch.arange(partition.count, device=q.device)
    same_q = (partition.queries[..., None] == regions).to(q.dtype)
    same_k = (partition.keys[..., None] == regions).to(k.dtype)
    a = strength[:, None, :, None]
    unit = _unit(q)
    lift = (a * row_range(q, k)[..., None] * (q.shape[-1] ** 0.5 / unit)).to(q.dtype)
    q2 = torch.cat([(1 - a.to(q.dtype)) * q, lift * same_q[:, None]], -1)
    codes = (unit * same_k)[:, None].expand(*k.shape[:3], -1)
    k2 = torch.cat([k, codes], -1)
    return q2, k2


def modulated_attention(
    q: Queries,
    k: Keys,
    v: Values,
    query_label: QueryLabels,
    key_label: KeyLabels,
    strength: Strength | None,
) -> Answers:
    """Compute attention with `modulate`d logits; with no strength, or 0 everywhere, it
    is plain attention, bit for bit."""
    if strength is not None and not strength.any():
        strength = None
    partition = Partition.of(query_label, key_label)
    return partitioned_attention(q, k, v, partition, strength)


def partitioned_attention(
    q: Queries, k: Keys, v: Values, partition: Partition, strength: Strength | None
) -> Answers:
    """Compute `modulated_attention` of a partition that is known; plain attention, if
    there is no strength."""
    if strength is None:
        return attention(q, k, v)
    learns = any(x.requires_grad for x in (q, k, v))
    # The kernels of `merged` take values as wide as keys, and other devices have none.
    alike = partition.alike and k.shape == v.shape and q.device.type in ("cpu", "cuda")
    # Blocks are then faster than a fused kernel.
    in_blocks = q.device.type == "cpu" and k.shape[2] >= _MANY_KEYS
    if in_blocks and not learns:
        return _in_blocks(q, k, v, partition, strength)
    if q.shape[-1] >= _MERGED and alike and not learns:
        return merged(q, k, v, partition, strength)
    q2, k2 = modulate(q, k, partition, strength)
    lanes = (0, -q2.shape[-1] % LANES)
    return attention(
        F.pad(q2, lanes),
        F.pad(k2, lanes),
        v,
        scale=q.shape[-1] ** -0.5,
    )


def merged(
    q: Queries, k: Keys, v: Values, partition: Partition, strength: Strength
) -> Answers:
    """Compute modulated attention without extra key channels, from two plain attentions
    for each region; all rows have the same labels.

    One is to the region's own keys, one to all others; their sums say how to merge
    them. Every pair is computed once, at the kernel's own width.
    """
    a = strength[:, None, :, None].to(q.dtype)
    calm = (1 - a) * q
    lift = a[..., 0] * row_range(q, k)
    out = torch.empty_like(q)
    for region in partition.by_region():
        rows = region.queries
        parts = []
        for keys in (region.own, region.others):
            if keys is not None:
                some = (calm[:, :, rows], k[:, :, keys], v[:, :, keys])
                parts.append(attention_and_sums(*some, q.shape[-1] ** -0.5))
        found, sums = parts[0]
        if len(parts) > 1:
            outside, other_sums = parts[1]
            share = torch.sigmoid(sums + lift[:, :, rows] - other_sums)[..., None]
            found = torch.lerp(outside, found, share.to(q.dtype))
        out[:, :, rows] = found
    return out


def _in_blocks(
    q: Queries, k: Keys, v: Values, partition: Partition, strength: Strength
) -> Answers:
    """Compute modulated attention in blocks, without extra key channels.

    Scores are computed once, and their range is taken from them.
    """
    batch, heads, queries, _ = q.shape
    strengths = strength.to(q.dtype).expand(batch, -1)
    out = q.new_empty(batch, heads, queries, v.shape[-1])
    for b in range(batch):
        labels = partition.keys[b % len(partition.keys)]
        regions = partition.by_region(b)
        own = [(labels == region.label).to(q.dtype) for region in regions]
        for head in range(heads):
            one = (b, head)
            given = (q[one], k[one], v[one], strengths[b])
            _fill_head(
                out[one],
                *given,
                regions,
                own,
            )
    return out


def _fill_head(
    out: Float[Tensor, "queries width"],
    q: Float[Tensor, "queries dim"],
    k: Float[Tensor, "keys dim"],
    v: Float[Tensor, "keys width"],
    strength: Float[Tensor, "queries"],
    regions: Sequence[RegionTokens],
    own: Sequence[Float[Tensor, "keys"]],
) -> None:
    """Write one head's modulated attention into `out`; `own` is 1 for the keys of each
    region, else 0."""
    k = k.contiguous()
    v = v.mT.contiguous().mT
    rows = max(_LEAST_ROWS, _BLOCK // len(k))
    for region, same in zip(regions, own, strict=True):
        for some in region.queries.split(rows):
            scores = _product(q[some] * q.shape[-1] ** -0.5, k)
            low, high = _ends(scores)
            a = strength[some, None]
            scores.mul_(1 - a)
            if region.own is not None:
                scores.addcmul_(a * (high - low)[:, None], same)
            out[some] = _product(torch.softmax(scores, -1, out=scores), v.mT)
