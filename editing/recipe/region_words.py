"""The words of each region in a prompt that a video model reads, and the attention that binds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.regions import clip_labels, modulated_attention
from regrain.editing.attention.words import WordBinding, attend_to_words
from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import PromptEmbedding, find_words, spans, telling_words
from regrain.editing.errors import PromptError
from regrain.editing.recipe.attention_recorder import AttentionRecorder, Columns, HeatScope
from regrain.editing.recipe.layout import coded, size_term, strengths

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.params.flow_regions import FlowRegionsParams
    from regrain.editing.recipe.window import ResizedClip
    from regrain.editing.request.edit_request import EditRequest

_SELF_FADE = 5  # VideoGrain's; a constant strength hurts


class TokenRegions:
    """The regions of a clip on the tokens of a model: 0 is background, i + 1 is region i.

    Attributes:
        codes: [time, tokens].
        strength: Of the background, 1, and of every region.
        scope: Layers and size of maps of where words look.
        size_term: 1 - S: for each token, the share of its latent's tokens that belong to other regions.
    """

    def __init__(self, backbone: Backbone, request: EditRequest, working: ResizedClip) -> None:
        self.strength = strengths(request, backbone.device)
        self.scope = HeatScope.of(backbone.sites[0].stride, working.grid)
        size, latents = self.scope.size, torch.tensor(working.latents)
        labels, count = coded(request, lambda part: part), len(self.strength)
        self.codes = clip_labels(labels, *size, count, latents).to(backbone.device)
        self.size_term = size_term(self.codes, self.codes, count)


@dataclass(frozen=True, eq=False)
class RegionText:
    """A prompt, and the region of each of its tokens.

    Attributes:
        text: The prompt; phrases that are encoded alone stand behind it.
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
            alone: Whether these words are encoded by themselves, and stand behind it.
        Raises:
            PromptError: It does not fit; names `field`.
        """
        bound = {code: place for code, place in enumerate(places, 1) if place}
        phrases = [prompt[slice(*place)] for place in bound.values()] if alone else []
        text, *others = backbone.embed([prompt, *phrases], [field] * (1 + len(phrases)))
        vectors, (length,) = text.vectors.clone(), text.lengths
        codes = [-1] * length
        for code, place in bound.items():
            for token in spans(text, *place):
                codes[token] = -1 if alone else code
        for code, phrase in zip(bound, others, strict=False):
            own = phrase.lengths[0] - 1  # without the end
            if len(codes) + own > vectors.shape[1]:
                raise PromptError(field, "It is too long for phrases=alone. Shorten it.")
            vectors[0, len(codes) : len(codes) + own] = phrase.vectors[0, :own]
            codes += [code] * own
        return cls(text.with_vectors(vectors), torch.tensor(codes, device=vectors.device))

    def columns(self, names: Sequence[str]) -> Columns:
        """The tokens of every region, by its name."""
        found: dict[str, list[int]] = {name: [] for name in names}
        for token, code in enumerate(self.words.tolist()):
            if code > 0:
                found[names[code - 1]].append(token)
        return found

    def telling(self) -> Columns:
        """The tokens of every word that tells something."""
        return {word: find_words(self.text, word) for word in telling_words(self.text.prompts[0])}


class WordAttending:
    """Attention in the calls with one prompt, `bound`: regions bound to their words, and `heat` of tokens."""

    def __init__(
        self,
        bound: RegionText,
        regions: TokenRegions,
        params: FlowRegionsParams,
        pieces: Sequence[slice],
        modulates: bool,
    ) -> None:
        """`pieces` are the latents of each call of a step, which may overlap."""
        time = len(regions.codes)
        self.bound, self.heat = bound, AttentionRecorder(regions.scope)
        self._regions, self._params, self._modulates = regions, params, modulates
        often = sum(
            ((torch.arange(time) >= p.start) & (torch.arange(time) < p.stop)).float()
            for p in pieces
        )
        # The recorder averages over calls, each of which sees but a part of the clip.
        self._share = (len(pieces) / torch.as_tensor(often))[:, None, None]

    def attend(self, step: Step, part: slice) -> AttentionFn:
        """The attention of a call for some latents."""
        params, regions, words = self._params, self._regions, self.bound.words
        codes, inside = (
            regions.codes[part].flatten(),
            step.within(params.modulate_until, begun=True),
        )
        weight = regions.strength[codes] * (self._modulates and inside)
        if params.size_term:
            weight = weight * regions.size_term[part].flatten()
        bound = torch.isin(codes, words) & (codes > 0)
        across = weight * bound * params.cross_strength * step.time**params.schedule_power
        within = weight * params.self_strength * step.time**_SELF_FADE
        binding = WordBinding(codes, words, across, params.columns, params.padding)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "self":
                return modulated_attention(q, k, v, codes[None], codes[None], within[None])
            out, *maps = attend_to_words(q, k, v, binding)
            self.heat.add(*(self._spread(x, part) for x in maps), changed=bool(across.any()))
            return out

        return attend

    def _spread(self, mass: Float[Tensor, "tokens words"], part: slice) -> Tensor:
        """The maps of a part of the clip, among zeros."""
        time, tokens = self._regions.codes.shape
        whole = mass.new_zeros(time, tokens, mass.shape[-1])
        whole[part] = mass.unflatten(0, (-1, tokens)) * self._share[part].to(mass)
        return whole


def by_frame(
    maps: Mapping[str, RegionAttention], latents: Sequence[int]
) -> dict[str, RegionAttention]:
    """Maps of latents as maps of the frames that are in them."""
    places = [*latents]
    return {
        name: RegionAttention(one.before[places], one.after[places], by_frame(one.parts, latents))
        for name, one in maps.items()
    }
