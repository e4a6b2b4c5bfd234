"""The attention layers of a model, and the one hook into them.

Each layer gets a stateless `LayerProcessor` when the model is loaded. Its attention
function is passed with each call, `unet(..., cross_attention_kwargs={"attend": fn})`,
and so are tuned query projections. Nothing stays on the model afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch.nn.functional as F
from torch import Tensor, nn

from regrain.editing.attention.backends import attention
from regrain.editing.storage.by_name import Weights

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttentionProcessor


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer, as known once the model is loaded.

    Attributes:
        name: Its module path in the model, e.g.
            "up_blocks.1.attentions.0.transformer_blocks.0.attn2".
        kind: "self" (keys are the layer's own tokens), "cross" (keys are text) or
            "temporal".
        block: The model block it belongs to: "down_blocks.0", "mid_block",
            "up_blocks.3", ...
        stride: Latents that one of its tokens spans in time, down and across.
        least: Latents that a token of the model's finest layers spans, down and across.
    """

    name: str
    kind: Literal["self", "cross", "temporal"]
    block: str
    stride: Stride = (1, 1, 1)
    least: int = 1

    @property
    def finest(self) -> bool:
        """True if no layer of the model has smaller tokens."""
        return self.stride[1:] == (self.least, self.least)


Stride = tuple[int, int, int]
"""Latents' frames, rows and columns of a token of a layer."""
Size = tuple[int, int]
"""Height and width."""


class Grid(NamedTuple):
    """The number of latents of a clip, or tokens of a layer, in time, down and
    across."""

    time: int
    height: int
    width: int

    def at(self, site: AttentionLayer) -> Grid:
        """Return the grid of a layer's tokens; `self` is the grid of the latents."""
        return self.over(site.stride)

    def over(self, stride: Stride) -> Grid:
        """Return the grid whose tokens span `stride` of this one's, in time, down and
        across."""
        return Grid(
            *(-(-side // step) for side, step in zip(self, stride, strict=True))
        )

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.height, self.width

    @property
    def tokens(self) -> int:
        """Tokens in a frame."""
        return self.height * self.width


AttentionFn = Callable[[Tensor, Tensor, Tensor, AttentionLayer], Tensor]
"""(q, k, v, site) -> out, all [batch, heads, tokens, dim]; q and k as they enter the
softmax, unscaled."""


def plain(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
    """Compute attention as the model was trained."""
    return attention(q, k, v)


class LayerProcessor:
    """A diffusers attention processor that passes q, k and v to `attend`; plain
    attention without one."""

    def __init__(self, site: AttentionLayer):
        self.site = site

    def __call__(
        self,
        attn,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        attend: AttentionFn | None = None,
        queries: Weights | None = None,
    ) -> Tensor:
        """Run one layer on hidden_states [batch, tokens, channels]; `queries` as in
        `Intervention`."""
        text = hidden_states
        if encoder_hidden_states is not None:
            text = encoder_hidden_states
            if attn.norm_cross:
                text = attn.norm_encoder_hidden_states(text)
        if queries and self.site.name in queries:
            weight = queries[self.site.name].to(hidden_states)
            queried = F.linear(hidden_states, weight, attn.to_q.bias)
        else:
            queried = attn.to_q(hidden_states)
        heads = (attn.heads, -1)
        given = (queried, attn.to_k(text), attn.to_v(text))
        q, k, v = (x.unflatten(-1, heads).transpose(1, 2) for x in given)
        if attn.norm_q is not None:
            q = attn.norm_q(q)
        if attn.norm_k is not None:
            k = attn.norm_k(k)
        out = attention(q, k, v) if attend is None else attend(q, k, v, self.site)
        linear, dropout = attn.to_out
        out = dropout(linear(out.transpose(1, 2).flatten(2).to(q.dtype)))
        if attn.residual_connection:
            out = out + hidden_states
        return out / attn.rescale_output_factor


def install(model: nn.Module) -> tuple[AttentionLayer, ...]:
    """Give every attention layer of a loaded diffusers model a `LayerProcessor`.

    Returns:
        The layers in the order in which they run.
    """
    unet = cast("UNet2DConditionModel", model)
    strides = _strides(unet)
    names = [key.removesuffix(".processor") for key in unet.attn_processors]
    blocks = [_block_of(name) for name in names]
    least = min((strides[block] for block in blocks), default=1)
    sites = []
    for name, block in zip(names, blocks, strict=True):
        kind = "cross" if unet.get_submodule(name).is_cross_attention else "self"
        stride = (1, strides[block], strides[block])
        sites.append(AttentionLayer(name, kind, block, stride, least))
    processors = {f"{site.name}.processor": LayerProcessor(site) for site in sites}
    unet.set_attn_processor(cast("dict[str, AttentionProcessor]", processors))
    # Down, middle, up: the order of the alphabet.
    return tuple(sorted(sites, key=lambda site: site.block.partition("_")[0]))


def _block_of(name: str) -> str:
    """Return the block of a layer: "down_blocks.0", "mid_block", "up_blocks.3"."""
    parts = name.split(".")
    return parts[0] if name.startswith("mid") else ".".join(parts[:2])


def _strides(unet: UNet2DConditionModel) -> dict[str, int]:
    """Return how many latents per side a token of each block spans.

    Attention runs before a block changes its grid.
    """
    strides = {}
    stride = 1
    for index, block in enumerate(unet.down_blocks):
        strides[f"down_blocks.{index}"] = stride
        stride *= 2 if "downsamplers" in dict(block.named_children()) else 1
    strides["mid_block"] = stride
    # Control networks have none.
    rising = unet.up_blocks if hasattr(unet, "up_blocks") else ()
    for index, block in enumerate(rising):
        strides[f"up_blocks.{index}"] = stride
        stride //= 2 if "upsamplers" in dict(block.named_children()) else 1
    return strides
