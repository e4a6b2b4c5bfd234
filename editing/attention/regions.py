"""ST-Layout attention: it pulls the tokens of a region together and pushes all others apart. Tensors in,
tensors out.

For query i with strength a_i and same-region indicator R_ij the modulated logits are

    s'_ij = (1 - a_i) s_ij + a_i (max_i if R_ij else min_i),    max_i, min_i over all keys of s_i.

A softmax ignores a constant per row, so s' is (1 - a_i) s_ij + a_i (max_i - min_i) R_ij up to a row
constant, and for disjoint regions R_ij = onehot(r_i) . onehot(r_j): ordinary attention with a few more
channels, exact, in O(N) memory. Source: VideoGrain, arXiv:2502.17258, Eq. 4 to 6. The channel form is not in
the paper.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor

from regrain.editing.attention.backends import Keys, Queries, Values, attention, attention_and_sums

# Elements of one block of scores: 4 MB in fp32, which stays in a CPU's cache while it is worked on; on a GPU
# enough to keep it busy.
_BLOCK, _GPU_BLOCK = 1 << 20, 1 << 25
# Of half precision: unscaled logits of Stable Diffusion 2 reach 3e5, its numbers end at 65504. A power of two
# costs no accuracy.
_HALF_SCALE = 64.0
# On a CPU, going through all steps block by block is faster than a fused kernel where there are so many keys,
# and they are so wide or in half precision, from which that kernel gains nothing.
_MANY_KEYS, _WIDE = 256, 64
_QUARTER = 0.25
# Widened queries this wide would be padded by a quarter; two calls merged are then cheaper.
_MERGED = 128
# Fused kernels want widths in multiples of this.
_LANES = 8

QueryLabels = Int[Tensor, "#batch queries"]
KeyLabels = Int[Tensor, "#batch keys"]
Strength = Float[Tensor, "#batch queries"]


def grid_labels(
    labels: Integer[Tensor, "frames height width"], height: int, width: int, count: int
) -> Int[Tensor, "frames cells"]:
    """Reduce labels to a coarser grid: each cell takes the label that covers most of it.

    A region that would lose every cell keeps the one it covers most, unless that is the last cell of another
    region, so that small parts survive.

    Args:
        labels: 0..count - 1, the background's included.
        height, width: Size of the grid, whose cells come back in row-major order, int64.
        count: Number of labels.
    """
    cover = _cover(labels, height, width, count)
    # Ties go to a region rather than to the background.
    winner = cover.flip(1).argmax(1).neg() + count - 1
    for label in range(1, count):
        lost = (cover[:, label].amax(1) > 0) & ~(winner == label).any(1)
        for frame in lost.nonzero().flatten().tolist():
            _take_a_cell(winner[frame], cover[frame, label], label)
    return winner


def clip_labels(
    labels: Integer[Tensor, "frames height width"],
    height: int,
    width: int,
    count: int,
    latents: Int[Tensor, "frames"],
) -> Int[Tensor, "time cells"]:
    """The same for tokens that span frames: the region that covers most of one, if all cover a quarter of it.

    Args:
        latents: The latent that each frame is in, rising from 0.
    """
    frames = _cover(labels, height, width, count)
    cover = torch.stack(
        [frames[latents == latent].mean(0) for latent in range(int(latents[-1]) + 1)]
    )
    background = cover[:, 0].clone()
    cover[:, 0] = -1
    return torch.where(1 - background >= _QUARTER, cover.argmax(1), 0)


def _cover(
    labels: Tensor, height: int, width: int, count: int
) -> Float[Tensor, "frames labels cells"]:
    """How much of each cell each label covers."""
    kinds = torch.arange(count, device=labels.device)[:, None, None]
    # A frame at a time: at the size of the source, shares of all would be many times the clip.
    shares = [F.adaptive_avg_pool2d((frame == kinds).float(), (height, width)) for frame in labels]
    return torch.stack(shares).flatten(2)


def _take_a_cell(winner: Int[Tensor, "cells"], cover: Float[Tensor, "cells"], label: int) -> None:
    """Give a label the cell it covers most, of those that are not another label's last."""
    for cell in cover.argsort(descending=True).tolist():
        held = winner[cell]
        if cover[cell] > 0 and (held == 0 or (winner == held).sum() > 1):
            winner[cell] = label
            return


def row_range(q: Queries, k: Keys) -> Float[Tensor, "batch heads queries"]:
    """Largest minus smallest logit of every row of q k^T / sqrt(dim), in at least single precision.

    Streamed over blocks of queries.
    """
    keys, unit = k.transpose(-1, -2), _unit(q)
    block_size = _BLOCK if q.device.type == "cpu" else _GPU_BLOCK
    rows = max(1, block_size // (k.shape[0] * k.shape[1] * k.shape[2]))
    out = q.new_empty(q.shape[:-1], dtype=torch.promote_types(q.dtype, torch.float32))
    for block, result in zip(q.split(rows, 2), out.split(rows, 2), strict=True):
        scores = block / unit @ keys if unit != 1 else block @ keys
        # Two passes: aminmax is several times slower than amax and amin on a CPU.
        torch.sub(scores.amax(-1).to(out.dtype), scores.amin(-1).to(out.dtype), out=result)
    return out.mul_(unit * q.shape[-1] ** -0.5)


def _unit(q: Tensor) -> float:
    """Divisor that keeps logits within the range of q's dtype."""
    return _HALF_SCALE if q.dtype == torch.float16 else 1.0


def modulate(
    q: Queries, k: Keys, query_label: QueryLabels, key_label: KeyLabels, strength: Strength
) -> tuple[Float[Tensor, "batch heads queries wide"], Float[Tensor, "batch heads keys wide"]]:
    """Widen queries and keys so that their plain attention, scaled by the original dim, is modulated.

    Args:
        q, k: Unscaled.
        query_label, key_label: Regions; -1 is none.
        strength: a_i in [0, 1]: 0 leaves a row unchanged, 1 sets it to max inside its region, min elsewhere.
    Returns:
        q2, k2 with softmax(q2 k2^T / sqrt(dim)) the modulated attention; wide = dim + number of regions.
    """
    regions = torch.arange(
        int(torch.maximum(query_label.max(), key_label.max())) + 1, device=q.device
    )
    same_q = (query_label[..., None] == regions).to(q.dtype)
    same_k = (key_label[..., None] == regions).to(k.dtype)
    a, unit = strength[:, None, :, None], _unit(q)
    lift = (a * row_range(q, k)[..., None] * (q.shape[-1] ** 0.5 / unit)).to(q.dtype)
    codes = (unit * same_k)[:, None].expand(*k.shape[:3], -1)
    return torch.cat([(1 - a.to(q.dtype)) * q, lift * same_q[:, None]], -1), torch.cat(
        [k, codes], -1
    )


def modulated_attention(
    q: Queries,
    k: Keys,
    v: Values,
    query_label: QueryLabels,
    key_label: KeyLabels,
    strength: Strength,
) -> Float[Tensor, "batch heads queries width"]:
    """Compute attention with `modulate`d logits; with every strength 0 it is plain attention, bit for bit."""
    if not bool(strength.any()):
        return attention(q, k, v)
    learns = any(x.requires_grad for x in (q, k, v))
    is_slow = k.shape[2] >= _MANY_KEYS and (q.shape[-1] >= _WIDE or q.dtype == torch.bfloat16)
    if q.device.type == "cpu" and is_slow and not learns:
        return _in_blocks(q, k, v, query_label, key_label, strength)
    if q.shape[-1] >= _MERGED and len(query_label) == len(key_label) == 1 and not learns:
        return merged(q, k, v, query_label, key_label, strength)
    q2, k2 = modulate(q, k, query_label, key_label, strength)
    lanes = (0, -q2.shape[-1] % _LANES)
    return attention(F.pad(q2, lanes), F.pad(k2, lanes), v, scale=q.shape[-1] ** -0.5)


def merged(
    q: Queries,
    k: Keys,
    v: Values,
    query_label: Int[Tensor, "1 queries"],
    key_label: Int[Tensor, "1 keys"],
    strength: Strength,
) -> Float[Tensor, "batch heads queries width"]:
    """The same without widening: for each region one attention to its own keys and one to all others, merged
    by their sums. Every pair is computed once, at the kernel's own width."""
    a, scale, out = strength[:, None, :, None].to(q.dtype), q.shape[-1] ** -0.5, torch.empty_like(q)
    calm, lift = (1 - a) * q, a[..., 0] * row_range(q, k)
    for label in query_label.unique().tolist():
        rows, own = query_label[0] == label, (key_label[0] == label) & (label >= 0)
        parts = [
            attention_and_sums(calm[:, :, rows], k[:, :, keys], v[:, :, keys], scale)
            for keys in (own, ~own)
            if bool(keys.any())
        ]
        result = parts[0][0]
        if len(parts) == 2:
            (inside, sums), (outside, other_sums) = parts
            share = torch.sigmoid(sums + lift[:, :, rows] - other_sums)[..., None].to(q.dtype)
            result = torch.lerp(outside, inside, share)
        out[:, :, rows] = result
    return out


def _in_blocks(
    q: Queries,
    k: Keys,
    v: Values,
    query_label: QueryLabels,
    key_label: KeyLabels,
    strength: Strength,
) -> Float[Tensor, "batch heads queries width"]:
    """The same without widening: computes the scores once and takes their range from them."""
    regions = torch.arange(int(torch.maximum(query_label.max(), key_label.max())) + 1)
    same_q = (query_label[..., None] == regions).to(q.dtype).expand(len(q), -1, -1)
    same_k = (key_label[:, None] == regions[:, None]).to(k.dtype).expand(len(k), -1, -1)
    a = strength.to(q.dtype)[..., None].expand(len(q), -1, -1)
    out = q.new_empty(*q.shape[:3], v.shape[-1])
    rows = min(max(1, _BLOCK // k.shape[2]), q.shape[2])
    buffer = q.new_empty(rows, k.shape[2])
    for b in range(len(q)):
        for queries, keys, values, result in zip(q[b], k[b], v[b], out[b], strict=True):
            for start in range(0, len(queries), rows):
                some = slice(start, min(start + rows, len(queries)))
                scores = buffer[: some.stop - start]
                torch.mm(queries[some] * q.shape[-1] ** -0.5, keys.T, out=scores)
                # Two passes: aminmax is several times slower than amax and amin on a CPU.
                lift = a[b, some] * (scores.amax(-1, keepdim=True) - scores.amin(-1, keepdim=True))
                scores.mul_(1 - a[b, some]).addmm_(lift * same_q[b, some], same_k[b])
                torch.softmax(scores, -1, out=scores)
                torch.mm(scores, values, out=result[some])
    return out
