"""Tune-A-Video's network and training step written out on a stock UNet; no code of the
engine."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.999)
EPSILON = 1e-8
DECAY = 1e-2


def attended(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of [..., tokens, channels], head by head."""
    found = []
    for one in range(heads):
        wide = slice(one * q.shape[-1] // heads, (one + 1) * q.shape[-1] // heads)
        scores = (
            q[..., wide]
            @ k[..., wide].transpose(-1, -2)
            / (q.shape[-1] // heads) ** 0.5
        )
        found.append(torch.softmax(scores, -1) @ v[..., wide])
    return torch.cat(found, -1)


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


def standardized(x: Tensor, dims: tuple[int, ...], small: float = 1e-5) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (
        x.var(dims, keepdim=True, unbiased=False) + small
    ).sqrt()


def in_time(x: Tensor, own: dict[str, Tensor], heads: int) -> Tensor:
    """What attention over time adds to [frames, places, channels], place by place."""
    own = {name: weight.to(x) for name, weight in own.items()}
    frames, places, channels = x.shape
    normed = standardized(x, (-1,))
    added = []
    for place in range(places):
        q, k, v = (normed[:, place] @ own[f"to_{part}.weight"].T for part in "qkv")
        added.append(
            attended(q, k, v, heads) @ own["to_out.0.weight"].T + own["to_out.0.bias"]
        )
    return torch.stack(added, 1)


def convolved(x: Tensor, own: dict[str, Tensor]) -> Tensor:
    """What two convolutions over time add to [frames, channels, h, w], each frame from
    its neighbours."""
    for part in ("down", "up"):
        weight = own[f"{part}.weight"].to(x)
        beside = torch.zeros_like(x[:1])
        taps = torch.cat([beside, x[:-1]]), x, torch.cat([x[1:], beside])
        x = sum(
            torch.einsum("oc,fchw->fohw", weight[:, :, i], tap)
            for i, tap in enumerate(taps)
        )
    return x


def network(unet: nn.Module, weights: dict[str, Tensor], joint: bool) -> nn.Module:
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
        if (
            joint
            and isinstance(module, nn.GroupNorm)
            and ".attentions." not in f".{name}."
        ):
            module.forward = lambda x, norm=module: grouped(x, norm)
    return unet


def grouped(x: Tensor, norm: Any) -> Tensor:
    """Group normalisation with the statistics of all frames."""
    groups = x.unflatten(1, (norm.num_groups, -1))
    normed = standardized(groups, (0, 2, 3, 4), norm.eps).flatten(1, 2)
    return normed * norm.weight[:, None, None] + norm.bias[:, None, None]


def target(prediction: str, clean: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """What a network should output."""
    velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * clean
    return {"epsilon": noise, "v_prediction": velocity, "sample": clean}[prediction]


def clipped(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients, together at most of length 1."""
    length = (
        sum(float(gradient.double().square().sum()) for gradient in gradients.values())
        ** 0.5
    )
    return {name: gradient / max(1.0, length) for name, gradient in gradients.items()}


class AdamW:
    """Loshchilov and Hutter, arXiv:1711.05101, Algorithm 2."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.steps = 0
        self.first: dict[str, Tensor] = {}
        self.second: dict[str, Tensor] = {}

    def step(
        self, weights: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The weights after a step."""
        self.steps += 1
        after = {}
        for name, weight in weights.items():
            g = gradients[name].double()
            self.first[name] = (
                BETAS[0] * self.first.get(name, 0 * g) + (1 - BETAS[0]) * g
            )
            self.second[name] = (
                BETAS[1] * self.second.get(name, 0 * g) + (1 - BETAS[1]) * g * g
            )
            mean = self.first[name] / (1 - BETAS[0] ** self.steps)
            square = self.second[name] / (1 - BETAS[1] ** self.steps)
            after[name] = weight * (1 - self.rate * DECAY) - self.rate * mean / (
                square.sqrt() + EPSILON
            )
        return after
