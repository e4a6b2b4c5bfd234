"""Kernels of attention; everything else calls `attention` or `attention_in_runs`.

PyTorch's `scaled_dot_product_attention` does most of it; on a GPU its memory-efficient
kernel also takes keys wider than values. xformers 0.0.35 runs PyTorch's own kernels
(`cutlassF-pt`, `fa2F-pt`) and adds one thing: sequences of unequal length in one call,
for which it is used. Nothing is timed at run time: see `uses_kernels`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.backends.cuda import (
    SDPAParams,
    can_use_cudnn_attention,
    can_use_flash_attention,
)

from regrain.editing.errors import shorten

if TYPE_CHECKING:
    from xformers.ops.fmha.attn_bias import AttentionBias

log = logging.getLogger(__name__)

LANES = 8
"""Fused kernels want widths of heads in multiples of this."""
# Gathering all runs at once would copy q, k and v of the whole clip.
_RUNS_AT_ONCE = 4096
# Where PyTorch itself prefers cuDNN, with versions newer than those pinned here.
_CUDNN_CARDS = ((9, 0), (10, 0))
_CUDNN_KEYS = 1024  # with fewer, cuDNN is no faster
Queries = Float[Tensor, "batch heads queries dim"]
Keys = Float[Tensor, "batch heads keys dim"]
Values = Float[Tensor, "batch heads keys width"]
Answers = Float[Tensor, "batch heads queries width"]
Mask = Bool[Tensor, "batch 1 queries keys"]
Runs = Float[Tensor, "batch tokens heads dim"]
RowRange = Float[Tensor, "batch heads queries"]


def uses_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Check if a device computes the same in other ways, up to rounding: in half precision
    on a card of NVIDIA or AMD, unless $REGRAIN_KERNELS is 0.

    No card has measured one here. What they save is predicted, in seconds of VideoGrain on
    an H100, 16 frames in 50 steps, which took 38: 5 by the range of logits without logits
    in memory (`regions.range_kernel`), 3 by values as wide as keys, 0.04 by sums of a flash
    kernel, and half of a call of Wan whose regions are bound; 7 by cuDNN's attention.
    """
    in_half = device.type == "cuda" and dtype.itemsize == 2
    return in_half and os.environ.get("REGRAIN_KERNELS") != "0"


def is_right(
    name: str,
    kernel: Callable[[Queries, Keys], Tensor],
    formula: Callable[[Queries, Keys], Tensor],
    dtype: torch.dtype,
    dims: Sequence[int],
    atol: float,
) -> bool:
    """Check that a kernel runs on a GPU, and computes there what a formula does; `dims`
    are widths of heads, `atol` is what rounding may change."""
    try:
        for dim in dims:
            drawn = torch.arange(1200.0 * dim).sin().view(2, 1, 2, 300, dim)
            q, k = drawn.to("cuda", dtype)
            right = formula(q.float(), k.float())
            found = kernel(q, k).float()
            torch.testing.assert_close(found, right, atol=atol, rtol=1e-3)
    # A library is not there, finds no compiler, cannot take the card, or is wrong: each
    # of these raises another error.
    except Exception as error:
        log.warning("Without %s: %s", name, shorten(error))
        return False
    return True


def _takes_flash(q: Queries, k: Keys, v: Values) -> bool:
    """Check if `uses_kernels`, and a flash kernel takes these: from Ampere on, but not on
    Windows."""
    return uses_kernels(q.device, q.dtype) and can_use_flash_attention(
        SDPAParams(q, k, v, None, 0.0, False, False)
    )


def _is_faster_by_cudnn(q: Queries, k: Keys) -> bool:
    """Check if cuDNN takes these, with values as wide, and is known to be faster than the
    kernel that PyTorch would use.

    By measurements of others: on an H100 1.9 times as fast as a flash kernel with heads
    of 128 channels (pytorch/pytorch#142132); on Windows, which has no flash kernel, twice
    as fast as the memory-efficient one (Comfy-Org/ComfyUI#9299).
    """
    many = k.shape[2] >= _CUDNN_KEYS and not q.requires_grad
    if not many or not uses_kernels(q.device, q.dtype):
        return False
    given = SDPAParams(q, k, k, None, 0.0, False, False)
    if not can_use_cudnn_attention(given):
        return False
    preferred = torch.cuda.get_device_capability(q.device) in _CUDNN_CARDS
    faster = preferred or not can_use_flash_attention(given)
    return faster and cudnn_works(q.dtype)


@cache
def cudnn_works(dtype: torch.dtype) -> bool:
    """Check cuDNN's attention, once."""
    return is_right(
        "cuDNN's attention",
        lambda q, k: _by_cudnn(q, k, k),
        lambda q, k: attention(q, k, k),
        dtype,
        (40, 64, 80, 128),
        4 * torch.finfo(dtype).eps,
    )


def _by_cudnn(q: Queries, k: Keys, v: Values, scale: float | None = None) -> Answers:
    kernel = torch.ops.aten._scaled_dot_product_cudnn_attention
    return kernel(q, k, v, None, False, scale=scale)[0]


def attention(
    q: Queries, k: Keys, v: Values, scale: float | None = None, mask: Mask | None = None
) -> Answers:
    """Compute exact softmax attention without a queries x keys matrix in memory.

    Args:
        q, k, v: Unscaled; v may be narrower or wider than q and k (keys that carry
        region channels). scale: Factor on q k^T; default dim ** -0.5. mask: True where
        a query sees a key; None lets all see all.
    """
    dim = q.shape[-1]
    width = v.shape[-1]
    if mask is None and width <= dim and _is_faster_by_cudnn(q, k):
        wide = v if width == dim else F.pad(v, (0, dim - width))
        return _by_cudnn(q, k, wide, scale)[..., :width]
    narrow = width < dim and _takes_flash(q, k, k)
    if dim == width or (q.device.type == "cuda" and not narrow):
        return F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    # The kernels of a CPU need keys and values of one width; otherwise PyTorch silently
    # falls back to the full matrix.
    factor = dim**-0.5 if scale is None else scale
    if width < dim:
        v = F.pad(v, (0, dim - width))
    else:
        q = F.pad(q, (0, width - dim))
        k = F.pad(k, (0, width - dim))
    out = F.scaled_dot_product_attention(q, k, v, mask, scale=factor)
    return out[..., :width]


def attention_and_sums(
    q: Queries, k: Keys, v: Values, scale: float
) -> tuple[Answers, Float[Tensor, "batch heads queries"]]:
    """Compute attention, and the logarithm of the sum that each query's softmax divides
    by.

    PyTorch's public call does not return it; its kernels do.
    """
    kernels = torch.ops.aten
    kernel, options = kernels._scaled_dot_product_efficient_attention, (None, True)
    if q.device.type == "cpu":
        kernel, options = kernels._scaled_dot_product_flash_attention_for_cpu, ()
    elif q.shape[-1] % LANES == 0 and _takes_flash(q, k, v):
        kernel, options = kernels._scaled_dot_product_flash_attention, ()
    out, sums, *_ = kernel(q, k, v, *options, scale=scale)
    return out, sums[..., : q.shape[2]]  # a GPU's is rounded up


@dataclass(frozen=True, eq=False)
class RunLengths:
    """Lengths of consecutive runs of tokens; what attention within them needs is made
    once.

    Attributes:
        lengths: Tokens of each run.
        device: Where the tokens are.
    """

    lengths: Int[Tensor, "runs"]
    device: torch.device
    _masks: dict[int, AttentionBias] = field(default_factory=dict)

    @cached_property
    def by_length(self) -> tuple[Int[Tensor, "found length"], ...]:
        """The tokens of the runs of each length, from 2."""
        lengths = self.lengths.cpu()
        starts = lengths.cumsum(0) - lengths
        found = []
        for length in range(2, int(lengths.max()) + 1):
            first = starts[lengths == length]
            tokens = first[:, None] + torch.arange(length)
            found.append(tokens.to(self.device))
        return tuple(found)

    def mask(self, rows: int) -> AttentionBias:
        """Return xformers' mask of the runs of so many rows."""
        if rows not in self._masks:
            from xformers.ops import fmha

            lengths = self.lengths.tolist() * rows
            self._masks[rows] = fmha.BlockDiagonalMask.from_seqlens(lengths)
        return self._masks[rows]


def attention_in_runs(
    q: Runs, k: Runs, v: Runs, runs: RunLengths, scale: float | None = None
) -> Runs:
    """Compute attention within consecutive runs of tokens.

    Args:
        q, k, v: Unscaled. runs: The same in every row of the batch; they add up to
        `tokens`. scale: Factor on q k^T; default dim ** -0.5.
    """
    if uses_xformers(q.device, q.dtype):
        from xformers.ops import fmha

        mask = runs.mask(len(q))
        one, two, three = (x.flatten(0, 1)[None] for x in (q, k, v))
        out = fmha.memory_efficient_attention(one, two, three, mask, scale=scale)
        return out.unflatten(1, q.shape[:2])[0]
    batch = len(q)
    together = max(1, _RUNS_AT_ONCE // batch)
    out = v.clone()  # a token that is alone in its run sees itself
    for tokens in runs.by_length:
        for some in tokens.split(together):
            own_q, own_k, own_v = (
                x[:, some].flatten(0, 1).transpose(1, 2) for x in (q, k, v)
            )
            found = attention(own_q, own_k, own_v, scale)
            out[:, some] = found.transpose(1, 2).unflatten(0, (batch, -1))
    return out


def uses_xformers(device: torch.device, dtype: torch.dtype) -> bool:
    """Check if `attention_in_runs` is one call of xformers: in half precision on a GPU
    that has it."""
    return (
        device.type == "cuda"
        and dtype.itemsize == 2
        and find_spec("xformers") is not None
    )


def describe(device: torch.device, dtype: torch.dtype) -> str:
    """Name the libraries that compute attention on a device."""
    runs = "xformers" if uses_xformers(device, dtype) else "PyTorch, by length"
    return f"PyTorch scaled_dot_product_attention; along tracks {runs}"
