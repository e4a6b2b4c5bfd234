"""Plug-and-Play: record features of the source clip in one forward and inject them into
another.

Each extends the `Intervention` of one call; see `editing.models.intervention`.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionLayer, plain
from regrain.editing.models.intervention import Intervention, following
from regrain.editing.storage.by_name import Tensors

# Layers of the decoder from which Plug-and-Play takes features, of twelve in Stable
# Diffusion 1.x (three in each of four up blocks); smaller models use those at the same
# relative depth.
_LAYERS = 12
_RESIDUALS = (3, 4, 6)
_ATTENTION = range(4, 10)


@dataclass(eq=False)
class Features:
    """Features of one forward of the source clip, by layer: residual branches of
    ResNets, queries, keys."""

    residuals: Tensors = field(default_factory=dict)
    attention: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Their size in bytes."""
        pairs = chain.from_iterable(self.attention.values())
        return sum(x.nbytes for x in chain(self.residuals.values(), pairs))


def recording(features: Features, change: Intervention) -> Intervention:
    """Extend a change so that it also records `features` during one forward.

    Source: Tumanyan et al., arXiv:2211.12572, Sec. 4: features of the decoder's layer
    4, queries and keys of layers 4 to 11; the layers are those of VideoGrain's released
    code.
    """
    wanted: set[str] = set()
    attend = change.attend or plain

    def keep(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.name in wanted:
            features.attention[site.name] = (q, k)
        return attend(q, k, v, site)

    def keep_residual(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        features.residuals[name] = output

    def patch(model: nn.Module) -> AbstractContextManager:
        wanted.update(_attention_layers(model))
        hooks = {
            f"{name}.conv2": partial(keep_residual, name)
            for name in _residual_branches(model)
        }
        return following(hooks)(model)

    return replace(change, attend=keep, patches=(*change.patches, patch))


def injecting(features: Features, change: Intervention) -> Intervention:
    """Extend a change so that it also replaces a forward's own features with
    `features`, in every branch."""
    attend = change.attend or plain

    def inject(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.name in features.attention:
            source_q, source_k = features.attention[site.name]
            rows = len(q)
            q = _repeated(source_q, rows)
            k = _repeated(source_k, rows)
        return attend(q, k, v, site)

    def replaced(x: Tensor, _: nn.Module, __: object, output: Tensor) -> Tensor:
        return _repeated(x, len(output))

    hooks = {
        f"{name}.conv2": partial(replaced, x) for name, x in features.residuals.items()
    }
    patch = following(hooks)
    return replace(change, attend=inject, patches=(*change.patches, patch))


def _repeated(x: Tensor, rows: int) -> Tensor:
    """Repeat a branch's features for as many rows."""
    return x.repeat(rows // len(x), *[1] * (x.ndim - 1))


def _decoder(model: nn.Module, places: Container[int]) -> list[tuple[int, int]]:
    """Return (up block, layer in it) of the layers of the decoder at these places of
    twelve."""
    layers = []
    for number, block in enumerate(model.up_blocks):
        layers += [(number, layer) for layer in range(len(block.resnets))]
    return [at for n, at in enumerate(layers) if n * _LAYERS // len(layers) in places]


def _residual_branches(model: nn.Module) -> list[str]:
    """Return the names of the ResNets of whose residual branch the last convolution is
    kept or injected."""
    layers = _decoder(model, _RESIDUALS)
    return [f"up_blocks.{block}.resnets.{layer}" for block, layer in layers]


def _attention_layers(model: nn.Module) -> set[str]:
    """Return the names of the self-attention layers whose queries and keys are kept or
    injected."""
    names = set()
    for number, layer in _decoder(model, _ATTENTION):
        block = model.up_blocks[number]
        if hasattr(block, "attentions"):
            count = len(block.attentions[layer].transformer_blocks)
            names |= {
                f"up_blocks.{number}.attentions.{layer}.transformer_blocks.{inner}.attn1"
                for inner in range(count)
            }
    return names
