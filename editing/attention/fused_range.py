"""The range of every row of logits as one kernel, which never writes logits to memory.

To import this module, Triton must be there. See `regions.range_kernel`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

from regrain.editing.attention.backends import Keys, Queries, RowRange


@triton.jit
def _range_kernel(
    queries, keys, out, count, seen, width: tl.constexpr, tile: tl.constexpr
):
    """Write the largest minus the smallest product of some queries with all keys."""
    head = tl.program_id(1)
    within = tl.arange(0, tile)
    channel = tl.arange(0, width)
    # Beyond the end, the last token is read again, which changes no extreme.
    query = tl.minimum(tl.program_id(0) * tile + within, count - 1)
    row = head * count + query
    given = tl.load(queries + row[:, None] * width + channel[None, :])
    high = tl.full([tile], float("-inf"), tl.float32)
    low = -high
    for start in range(0, seen, tile):
        column = head * seen + tl.minimum(start + within, seen - 1)
        across = tl.load(keys + column[None, :] * width + channel[:, None])
        logits = tl.dot(given, across)
        high = tl.maximum(high, tl.max(logits, 1))
        low = tl.minimum(low, tl.min(logits, 1))
    tl.store(out + row, high - low)


def fused_range(q: Queries, k: Keys) -> RowRange:
    """Compute `regions.row_range` in single precision."""
    count, dim = q.shape[2:]
    # All usual heads need but three kernels: of 64, 128 and 256.
    width = max(64, 1 << (dim - 1).bit_length())
    # A tile of queries or keys has 16 KiB; the least cards hold six.
    tile = min(128, 8192 // width)
    out = q.new_empty(q.shape[:-1], dtype=torch.float32)
    q, k = (F.pad(x, (0, width - dim)).contiguous() for x in (q, k))
    grid = (triton.cdiv(count, tile), len(q) * q.shape[1])
    with torch.cuda.device_of(q):  # Triton takes the current one
        _range_kernel[grid](q, k, out, count, k.shape[2], width, tile)  # pyright: ignore[reportArgumentType]
    return out.mul_(dim**-0.5)
