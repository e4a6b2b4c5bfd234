"""Tune-A-Video's changes to a UNet for images, for one call: attention over time, and
tuned projections.

After the feed-forward layer of every transformer block, each place of the picture
attends to itself in all frames (Wu et al. 2022, arXiv:2212.11565, Sec. 4.1). FateZero's
variant also follows every convolution with a small one over time. Both add nothing
until they are tuned: their last layers are zero.

The weights are a mapping by name, as in Tune-A-Video's checkpoints; they travel with a
call and are never put on the model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.attention.backends import attention
from regrain.editing.models.backbone import Shapes
from regrain.editing.models.intervention import Intervention, Patch, following
from regrain.editing.models.weights.small import numbers_of
from regrain.editing.storage.by_name import Tensors, Weights

_QUERIES = (".attn1.to_q.weight", ".attn2.to_q.weight")
_ATTENTION = ".attn_temp."
_CONVOLUTION = ".conv_temporal."
_REACH = 3  # frames that a convolution over time sees


def tunable_shapes(unet: nn.Module, rank: int = 0) -> Shapes:
    """Return names and shapes of the tuned weights: queries and attention over time in
    every block.

    Args:
        unet: The network; may be on the meta device.
        rank: Most channels inside a convolution over time; 0 has none.
    """
    shapes: Shapes = {}
    for name, module in unet.named_modules():
        if hasattr(module, "attn1") and hasattr(module, "attn2"):
            wide = module.attn1.to_q.in_features
            for query in _QUERIES:
                path = f"{name}{query}"
                layer = unet.get_submodule(path.removesuffix(".weight"))
                shapes[path] = (layer.out_features, layer.in_features)
            for part in ("to_q", "to_k", "to_v", "to_out.0"):
                shapes[f"{name}{_ATTENTION}{part}.weight"] = (wide, wide)
            shapes[f"{name}{_ATTENTION}to_out.0.bias"] = (wide,)
        elif rank and isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            # two convolutions over time follow one over the picture
            channels = int(module.out_channels)
            inner = min(rank, channels // 2)
            shapes[f"{name}{_CONVOLUTION}down.weight"] = (inner, channels, _REACH)
            shapes[f"{name}{_CONVOLUTION}up.weight"] = (channels, inner, _REACH)
    return shapes


def untuned(
    unet: nn.Module, rank: int, fresh: torch.Generator
) -> dict[str, Float[Tensor, "..."]]:
    """Make the weights of `tunable_shapes` before the first step, float32 on the CPU.

    With them the network is the image model's.

    The last layers are zero, their biases too. Tune-A-Video's code leaves the bias of
    attention over time random, so that its untuned network is not quite the image
    model.
    """
    weights = {}
    for name, shape in tunable_shapes(unet, rank).items():
        if name.endswith(_QUERIES):
            layer = unet.get_submodule(name.removesuffix(".weight"))
            weight = numbers_of(layer).float().cpu().clone()
        elif name.endswith(("to_out.0.weight", "to_out.0.bias", "up.weight")):
            weight = torch.zeros(shape)
        else:  # as torch.nn.Linear and Conv1d begin
            bound = torch.tensor(shape[1:]).prod() ** -0.5
            weight = (torch.rand(shape, generator=fresh) * 2 - 1) * bound
        weights[name] = weight
    return weights


def with_weights(change: Intervention, weights: Weights, frames: int) -> Intervention:
    """Extend a change of a call by tuned weights.

    Args:
        weights: See `tunable_shapes`. Gradients flow to those that require them.
        frames: Frames per branch; rows are (branch frame).
    """
    queries = {
        name.removesuffix(".to_q.weight"): weight
        for name, weight in weights.items()
        if name.endswith(_QUERIES)
    }
    patches = (*change.patches, in_time(weights, frames))
    return replace(change, queries=queries, patches=patches)


def in_time(weights: Weights, frames: int) -> Patch:
    """Let the transformer blocks and convolutions that `weights` names look over time;
    see `with_weights`."""
    blocks = _grouped(weights, _ATTENTION)
    convolutions = _grouped(weights, _CONVOLUTION)

    def after_block(own: Weights, block: nn.Module, _: object, x: Tensor) -> Tensor:
        return x + attend_in_time(x, own, frames, block.attn1.heads)

    def after_convolution(own: Weights, _: nn.Module, __: object, x: Tensor) -> Tensor:
        return x + convolve_in_time(x, own, frames)

    hooks = {name: partial(after_block, own) for name, own in blocks.items()}
    for name, own in convolutions.items():
        hooks[name] = partial(after_convolution, own)
    return following(hooks)


def attend_in_time(
    x: Float[Tensor, "rows tokens channels"],
    weights: Weights,
    frames: int,
    heads: int,
) -> Float[Tensor, "rows tokens channels"]:
    """Let each place attend to itself in all frames of its branch.

    Args:
        x: Rows (branch frame).
        weights: to_q, to_k, to_v, to_out.0 (with bias).
        frames, heads: Frames per branch, number of heads.
    Source: Tune-A-Video, arXiv:2212.11565, Sec. 4.1.
    """
    weights = {name: weight.to(x.dtype) for name, weight in weights.items()}
    places = rearrange(x, "(branch frame) n c -> (branch n) frame c", frame=frames)
    places = F.layer_norm(places, places.shape[-1:])
    out = attended(places, weights, "", heads)
    return rearrange(out, "(branch n) frame c -> (branch frame) n c", n=x.shape[1])


def attended(
    x: Float[Tensor, "places frames channels"],
    weights: Weights,
    layer: str,
    heads: int,
) -> Float[Tensor, "places frames channels"]:
    """Let the frames of each place attend to each other.

    Args:
        x: The frames of each place.
        weights, layer: to_q, to_k, to_v and to_out.0; how their names begin.
        heads: Number of heads.
    """
    q, k, v = (linear(x, weights, f"{layer}to_{part}") for part in "qkv")
    q, k, v = (rearrange(x, "p f (h d) -> p h f d", h=heads) for x in (q, k, v))
    out = rearrange(attention(q, k, v), "p h f d -> p f (h d)")
    return linear(out, weights, f"{layer}to_out.0")


def linear(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Apply a linear layer, by the name of its weights."""
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def convolve_in_time(
    x: Float[Tensor, "rows channels h w"], weights: Weights, frames: int
) -> Float[Tensor, "rows channels h w"]:
    """Convolve twice over the frames of a branch, first to few channels, then back.

    Source: FateZero as released (its "lora" of convolutions over time).
    """
    h, w = x.shape[-2:]
    places = rearrange(x, "(branch frame) c h w -> (branch h w) c frame", frame=frames)
    for part in ("down", "up"):
        places = F.conv1d(
            places, weights[f"{part}.weight"].to(x.dtype), padding=_REACH // 2
        )
    return rearrange(places, "(branch h w) c frame -> (branch frame) c h w", h=h, w=w)


def _grouped(weights: Weights, part: str) -> dict[str, Tensors]:
    """Return the weights of one kind of layer, by the module that they follow, then by
    name inside it."""
    groups: dict[str, Tensors] = {}
    for name, weight in weights.items():
        module, _, own = name.partition(part)
        if own:
            groups.setdefault(module, {})[own] = weight
    return groups
