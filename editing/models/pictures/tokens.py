"""What a picture adapter makes of a picture: a few tokens beside those of the text.

Ye et al. 2023, arXiv:2308.06721; the readers of its published files, by their names there.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.backends import attention

Weights = Mapping[str, Tensor]
_HEAD = 64  # numbers of a head of the resampler


def projected(embeds: Float[Tensor, "n width"], weights: Weights) -> Float[Tensor, "n tokens cross"]:
    """Tokens of the plain kind, from the encoder's vector of a whole picture."""
    cross = len(weights["norm.weight"])
    return _normed(_linear(embeds, weights, "proj").unflatten(-1, (-1, cross)), weights, "norm")


def full(hidden: Float[Tensor, "n patches width"], weights: Weights) -> Float[Tensor, "n patches cross"]:
    """Tokens of the Full face kind: one for each patch of the encoder."""
    return _normed(_linear(F.gelu(_linear(hidden, weights, "proj.0")), weights, "proj.2"), weights, "proj.3")


def resampled(hidden: Float[Tensor, "n patches width"], weights: Weights) -> Float[Tensor, "n tokens cross"]:
    """Tokens of the Plus kind: learned queries that look at the patches, and at each other."""
    latents, seen = weights["latents"].expand(len(hidden), -1, -1), _linear(hidden, weights, "proj_in")
    for layer in range(1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))):
        own, wide = f"layers.{layer}.0", f"layers.{layer}.1"
        asking = _normed(latents, weights, f"{own}.norm2")
        both = torch.cat([_normed(seen, weights, f"{own}.norm1"), asking], 1)
        k, v = _linear(both, weights, f"{own}.to_kv").chunk(2, -1)
        q = _linear(asking, weights, f"{own}.to_q")
        q, k, v = (x.unflatten(-1, (-1, _HEAD)).transpose(1, 2) for x in (q, k, v))
        latents = latents + _linear(attention(q, k, v).transpose(1, 2).flatten(2), weights, f"{own}.to_out")
        gelu = F.gelu(_linear(_normed(latents, weights, f"{wide}.0"), weights, f"{wide}.1"))
        latents = latents + _linear(gelu, weights, f"{wide}.3")
    return _normed(_linear(latents, weights, "proj_out"), weights, "norm_out")


def drawn(pixels: Float[Tensor, "n 3 side side"], weights: Weights) -> Float[Tensor, "n patches width"]:
    """What the reader of the built-in model's adapter makes of small pictures, -1 to 1: its patches."""
    layers = sorted(
        int(name.split(".")[1]) for name in weights if name.endswith(".weight") and "reader" in name
    )
    for layer in layers:
        bias = weights[f"reader.{layer}.bias"]
        pixels = F.silu(F.conv2d(pixels, weights[f"reader.{layer}.weight"], bias, stride=2, padding=1))
    places = weights["places"]
    return pixels.flatten(2).transpose(1, 2) + places


def _linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _normed(x: Tensor, weights: Weights, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])
