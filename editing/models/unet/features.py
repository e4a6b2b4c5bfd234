"""Plug-and-Play: record features of the source clip in one forward and inject them into another.

Each extends the `Intervention` of one call; see `editing.models.intervention`.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import chain

from torch import Tensor, nn

from regrain.editing.attention.layers import AttentionLayer, plain
from regrain.editing.models.intervention import Intervention, hooked

# Layers of the decoder from which Plug-and-Play takes features, of twelve in Stable Diffusion 1.x (three in
# each of four up blocks); smaller models use those at the same relative depth.
_LAYERS = 12
_RESIDUALS = (3, 4, 6)
_ATTENTION = range(4, 10)


@dataclass(eq=False)
class Features:
    """Features of one forward of the source clip, by layer: residual branches of ResNets, queries, keys."""

    residuals: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Their size in bytes."""
        return sum(x.nbytes for x in (*self.residuals.values(), *chain(*self.attention.values())))


def recording(features: Features, change: Intervention) -> Intervention:
    """Extend a change so that it also records `features` during one forward.

    Source: Tumanyan et al., arXiv:2211.12572, Sec. 4: features of the decoder's layer 4, queries and keys of
    layers 4 to 11; the layers are those of VideoGrain's released code.
    """
    wanted: set[str] = set()
    attend = change.attend or plain

    def keep(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.name in wanted:
            features.attention[site.name] = (q, k)
        return attend(q, k, v, site)

    def patch(model: nn.Module) -> AbstractContextManager:
        wanted.update(_attention_layers(model))
        keep_residual = features.residuals.__setitem__
        return hooked(
            conv.register_forward_hook(lambda _, __, output, name=name: keep_residual(name, output))
            for name, conv in _residual_branches(model).items()
        )

    return replace(change, attend=keep, patches=(*change.patches, patch))


def injecting(features: Features, change: Intervention) -> Intervention:
    """Extend a change so that it also replaces a forward's own features with `features`, in every branch."""
    attend = change.attend or plain

    def repeated(x: Tensor, rows: int) -> Tensor:
        return x.repeat(rows // len(x), *[1] * (x.ndim - 1))

    def inject(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        if site.name in features.attention:
            q, k = (repeated(x, len(q)) for x in features.attention[site.name])
        return attend(q, k, v, site)

    def patch(model: nn.Module) -> AbstractContextManager:
        branches = _residual_branches(model)
        return hooked(
            branches[name].register_forward_hook(
                lambda _, __, output, x=x: repeated(x, len(output))
            )
            for name, x in features.residuals.items()
        )

    return replace(change, attend=inject, patches=(*change.patches, patch))


def _decoder(model: nn.Module, places: Container[int]) -> list[tuple[int, int]]:
    """(up block, layer in it) of those layers of the decoder that are at these places of twelve."""
    layers = [(b, i) for b, block in enumerate(model.up_blocks) for i in range(len(block.resnets))]
    return [layer for n, layer in enumerate(layers) if n * _LAYERS // len(layers) in places]


def _residual_branches(model: nn.Module) -> dict[str, nn.Module]:
    """The last convolution of the residual branch of each ResNet that is kept or injected."""
    names = [f"up_blocks.{b}.resnets.{i}" for b, i in _decoder(model, _RESIDUALS)]
    return {name: model.get_submodule(f"{name}.conv2") for name in names}


def _attention_layers(model: nn.Module) -> set[str]:
    """Names of the self-attention layers whose queries and keys are kept or injected."""
    return {
        f"up_blocks.{b}.attentions.{i}.transformer_blocks.{j}.attn1"
        for b, i in _decoder(model, _ATTENTION)
        if hasattr(model.up_blocks[b], "attentions")
        for j in range(len(model.up_blocks[b].attentions[i].transformer_blocks))
    }
