"""The words of regions in a prompt for a video model, and the attention that binds
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regrain.editing.attention.averages import Heat, RegionAttention
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.regions import (
    Partition,
    clip_labels,
    partitioned_attention,
)
from regrain.editing.attention.words import WordBinding, attend_to_words
from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import PromptEmbedding, spans
from regrain.editing.errors import PromptError
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.flow_regions import FlowRegionsParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
)
from regrain.editing.recipe.layout import coded, size_term, strengths
from regrain.editing.recipe.window import ResizedClip
from regrain.editing.request.edit_request import EditRequest

_SELF_FADE = 5  # VideoGrain's; a constant strength hurts


class TokenRegions:
    """The regions of a clip on the tokens of a model: 0 is background, i + 1 is region
    i.

    Attributes:
        codes: Code of every token, [time, tokens].
        strength: Strength of the background, 1, and of every region.
        scope: Layers and size of attention maps of words.
        size_term: 1 - S: for each token, the share of its latent's tokens that belong
            to other regions.
    """

    def __init__(
        self, backbone: Backbone, request: EditRequest, working: ResizedClip
    ) -> None:
        self.strength = strengths(request, backbone.device)
        self.scope = HeatScope.of(working.grid, backbone.sites)
        height, width = self.scope.size
        count = len(self.strength)
        labels = coded(request, lambda part: part)
        latents = torch.tensor(working.latents)
        self.codes = clip_labels(labels, height, width, count, latents).to(
            backbone.device
        )
        self.size_term = size_term(self.codes, self.codes, count)


@dataclass(frozen=True, eq=False)
class RegionText:
    """A prompt, and the region of each of its tokens.

    Attributes:
        text: The prompt, followed by phrases that are encoded alone.
        words: Region of every token that is no padding, -1 for none.
    """

    text: PromptEmbedding
    words: Int[Tensor, "words"]

    @classmethod
    def read(
        cls,
        backbone: Backbone,
        prompt: str,
        places: Sequence[tuple[int, int] | None],
        field: str,
        alone: bool,
    ) -> RegionText:
        """Encode a prompt.

        Args:
            places: Characters of each region's words in it, if it has any.
            alone: Encode these words by themselves, too, and bind the regions to those.
        Raises:
            PromptError: It does not fit; names `field`.
        """
        bound = {code: place for code, place in enumerate(places, 1) if place}
        phrases = [prompt[start:stop] for start, stop in bound.values() if alone]
        prompts = [prompt, *phrases]
        text, *encoded = backbone.embed(prompts, [field] * len(prompts))
        codes = [-1] * text.lengths[0]
        for code, place in bound.items():
            for token in () if alone else spans(text, *place):
                codes[token] = code
        # The vectors of phrases follow those of the prompt.
        vectors = text.vectors.clone()
        for code, phrase in zip(bound, encoded, strict=False):
            own = phrase.lengths[0] - 1  # without the end
            free = vectors[0, len(codes) :]
            if own > len(free):
                raise PromptError(
                    field, "It is too long for phrases=alone. Shorten it."
                )
            free[:own] = phrase.vectors[0, :own]
            codes += [code] * own
        words = torch.tensor(codes, device=vectors.device)
        return cls(text.with_vectors(vectors), words)

    def columns(self, names: Sequence[str]) -> Columns:
        """Return the tokens of every region, by its name."""
        found: dict[str, list[int]] = {name: [] for name in names}
        for token, code in enumerate(self.words.tolist()):
            if code > 0:
                found[names[int(code) - 1]].append(token)
        return found


class _BoundPart(NamedTuple):
    """The binding of the tokens of some latents, before it fades.

    Attributes:
        among: Regions of tokens.
        to_words: Regions of tokens and of words.
        weight: Strength of every token's region.
        bound: Whether its region has words.
        acts: False if no token has a strength.
        acts_on_words: False if no token that is bound has one.
    """

    among: Partition
    to_words: Partition
    weight: Float[Tensor, "tokens"]
    bound: Bool[Tensor, "tokens"]
    acts: bool
    acts_on_words: bool


class WordAttending:
    """The attention of calls with one prompt, `bound`; `heat` records the attention to
    its tokens."""

    def __init__(
        self,
        bound: RegionText,
        regions: TokenRegions,
        params: FlowRegionsParams,
        pieces: Sequence[slice],
        modulates: bool,
    ) -> None:
        """`pieces` are the latents of each call of a step, which may overlap."""
        self.bound = bound
        self.heat = AttentionRecorder(regions.scope)
        self._regions = regions
        self._params = params
        self._modulates = modulates
        self._parts: dict[tuple[int, int], _BoundPart] = {}
        calls = torch.zeros(len(regions.codes))
        for part in pieces:
            calls[part] += 1
        # The recorder averages over calls, each of which sees but a part of the clip.
        self._share = (len(pieces) / calls)[:, None, None]

    def attend(self, step: Step, part: slice) -> AttentionFn:
        """Return the attention of a call for some latents."""
        params = self._params
        bound = self._bind(part)
        modulates = self._modulates and step.within(params.modulate_until, begun=True)
        within = strength = None
        if modulates and bound.acts and params.self_strength:
            fading = step.time**_SELF_FADE
            within = (bound.weight * params.self_strength * fading)[None]
        if modulates and bound.acts_on_words and params.cross_strength:
            faded = step.time**params.schedule_power
            strength = bound.weight * bound.bound * params.cross_strength * faded
        binding = WordBinding(bound.to_words, strength, params.columns, params.padding)
        time, tokens = self._regions.codes.shape

        def spread(mass: Float[Tensor, "tokens words"]) -> Tensor:
            """Put the maps of a part of the clip among zeros for the rest of it."""
            whole = mass.new_zeros(time, tokens, mass.shape[-1])
            share = self._share[part].to(mass)
            whole[part] = mass.unflatten(0, (-1, tokens)) * share
            return whole

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "self":
                return partitioned_attention(
                    q,
                    k,
                    v,
                    bound.among,
                    within,
                )
            out, *maps = attend_to_words(q, k, v, binding)
            self.heat.add(*map(spread, maps), changed=strength is not None)
            return out

        return attend

    def _bind(self, part: slice) -> _BoundPart:
        """Bind the tokens of some latents, which is the same in all steps."""
        key = (part.start, part.stop)
        if key not in self._parts:
            regions = self._regions
            codes = regions.codes[part].flatten()
            words = self.bound.words
            weight = regions.strength[codes]
            if self._params.size_term:
                weight = weight * regions.size_term[part].flatten()
            bound = torch.isin(codes, words) & (codes > 0)
            self._parts[key] = _BoundPart(
                among=Partition.of(codes[None], codes[None]),
                to_words=Partition.of(codes[None], words[None]),
                weight=weight,
                bound=bound,
                acts=bool(weight.any()),
                acts_on_words=bool((weight * bound).any()),
            )
        return self._parts[key]


def by_frame(maps: Heat, latents: Sequence[int]) -> dict[str, RegionAttention]:
    """Turn maps of latents into maps of frames; `latents` has the latent of each
    frame."""
    places = [*latents]
    found = {}
    for name, one in maps.items():
        parts = by_frame(one.parts, latents)
        found[name] = RegionAttention(one.before[places], one.after[places], parts)
    return found
