"""The attention layers of a Wan transformer, and the one hook into them.

Its blocks forward no keyword to a layer, so what computes attention is delivered by a
context variable, which is set around one call of the network: other threads do not see
it, and an exception takes it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionFn, AttentionLayer, plain

_attend: ContextVar[AttentionFn] = ContextVar("attend", default=plain)


@contextmanager
def attending(attend: AttentionFn | None) -> Iterator[None]:
    """Let a function compute every attention layer; None for plain attention."""
    token = _attend.set(attend or plain)
    try:
        yield
    finally:
        _attend.reset(token)


class VideoLayerProcessor:
    """A processor of diffusers that passes q, k and v, normalised and rotated, to
    `attending`'s function."""

    def __init__(self, site: AttentionLayer):
        self.site = site

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Run one layer on hidden_states [clips, tokens, channels], tokens in (time,
        height, width) order."""
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = attn.norm_q(attn.to_q(hidden_states))
        k = attn.norm_k(attn.to_k(text))
        v = attn.to_v(text)
        q, k, v = (x.unflatten(2, (attn.heads, -1)) for x in (q, k, v))
        if rotary_emb is not None:
            q = _rotated(q, *rotary_emb)
            k = _rotated(k, *rotary_emb)
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        attend = _attend.get()
        out = attend(q, k, v, self.site)
        out = out.transpose(1, 2).flatten(2).type_as(q)
        linear, dropout = attn.to_out
        return dropout(linear(out))


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn pairs of channels by their token's angles (Su et al., arXiv:2104.09864)."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos = cosines[..., 0::2]
    sin = sines[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
    return turned.flatten(-2).type_as(x)


def install(transformer: nn.Module) -> tuple[AttentionLayer, ...]:
    """Give every attention layer a `VideoLayerProcessor`; called once, when the model
    is loaded.

    Returns:
        The layers in the order in which they run: first those of control blocks.
    """
    stride = tuple(transformer.config.patch_size)
    sites = []
    for name, module in transformer.named_modules():
        if hasattr(module, "is_cross_attention"):
            kind = "cross" if module.is_cross_attention else "self"
            block, _, _ = name.rpartition(".")
            site = AttentionLayer(name, kind, block, stride, stride[-1])
            sites.append(site)
            module.set_processor(VideoLayerProcessor(site))
    return tuple(sorted(sites, key=lambda site: site.block.startswith("blocks.")))
