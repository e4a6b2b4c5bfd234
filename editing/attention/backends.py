"""The one place that computes attention. Everything else calls `attention`."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch heads keys dim"],
    v: Float[Tensor, "batch heads keys width"],
    scale: float | None = None,
) -> Float[Tensor, "batch heads queries width"]:
    """Softmax attention, exact, without a queries x keys matrix in memory.

    Args:
        q: Queries, unscaled.
        k: Keys.
        v: Values; may be narrower or wider than q and k (keys that carry region channels).
        scale: Factor on q k^T; default dim ** -0.5.
    Returns:
        One row of values per query, in q's dtype.
    """
    dim, width = q.shape[-1], v.shape[-1]
    if dim == width or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, scale=scale)
    # The CPU kernel wants equal widths and would otherwise fall back, silently, to the full matrix.
    if scale is None:
        scale = dim**-0.5
    if width < dim:
        return F.scaled_dot_product_attention(q, k, F.pad(v, (0, dim - width)), scale=scale)[..., :width]
    pad = (0, width - dim)
    return F.scaled_dot_product_attention(F.pad(q, pad), F.pad(k, pad), v, scale=scale)
