"""Tune-A-Video's network and training step written out on a stock UNet; no code of the
engine."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of [rows, tokens, channels], head by head."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Processor:
    """Attention with its own query projection; self-attention to the first and the
    previous frame."""

    def __init__(self, query: Tensor) -> None:
        self.query = query

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        **_: Any,
    ):
        q = hidden_states @ self.query.T.to(hidden_states)
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        k = text @ attn.to_k.weight.T
        v = text @ attn.to_v.weight.T
        if encoder_hidden_states is None:
            seen = torch.tensor([[0, max(frame - 1, 0)] for frame in range(len(q))])
            k, v = (x[seen].flatten(1, 2) for x in (k, v))
        return attn.to_out[0](attended(q, k, v, attn.heads))


def in_time(x: Tensor, own: dict[str, Tensor], heads: int) -> Tensor:
    """What attention over time adds to [frames, places, channels], place by place."""
    own = {name: weight.to(x) for name, weight in own.items()}
    normed = F.layer_norm(x, x.shape[-1:]).transpose(0, 1)
    q, k, v = (normed @ own[f"to_{part}.weight"].T for part in "qkv")
    found = attended(q, k, v, heads) @ own["to_out.0.weight"].T
    return (found + own["to_out.0.bias"]).transpose(0, 1)


def convolved(x: Tensor, own: dict[str, Tensor]) -> Tensor:
    """What two convolutions over time add to [frames, channels, h, w], each frame from
    its neighbours."""
    places = x.flatten(2).permute(2, 1, 0)
    for part in ("down", "up"):
        places = F.conv1d(places, own[f"{part}.weight"].to(x), padding=1)
    return places.permute(2, 1, 0).unflatten(2, x.shape[2:])


def network(unet: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A copy of a UNet that runs one clip, with the given weights in the places that
    their names say."""
    unet = copy.deepcopy(unet)
    queries = {
        name: weights[name.removesuffix("processor") + "to_q.weight"]
        for name in unet.attn_processors
    }
    unet.set_attn_processor({name: Processor(query) for name, query in queries.items()})
    for name, module in unet.named_modules():
        part = {key: {k.split(key)[1]: w for k, w in weights.items() if k.startswith(name + key)}
                for key in (".attn_temp.", ".conv_temporal.")}  # fmt: skip
        if name and part[".attn_temp."]:

            def add(module, _, x, own=part[".attn_temp."]):
                return x + in_time(x, own, module.attn1.heads)

            module.register_forward_hook(add)
        if name and part[".conv_temporal."]:
            module.register_forward_hook(
                lambda _, __, x, own=part[".conv_temporal."]: x + convolved(x, own)
            )
        if isinstance(module, nn.GroupNorm) and ".attentions." not in f".{name}.":
            module.forward = lambda x, norm=module: grouped(x, norm)
    return unet


def grouped(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Group normalisation with the statistics of all frames."""
    how = norm.num_groups, norm.weight, norm.bias, norm.eps
    return F.group_norm(x.transpose(0, 1)[None], *how)[0].transpose(0, 1)


def target(prediction: str, clean: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """What a network should output."""
    velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean
    return {"epsilon": noise, "v_prediction": velocity, "sample": clean}[prediction]
