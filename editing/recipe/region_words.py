"""The words of regions in a prompt for a video model, and the attention that binds
them."""

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
from regrain.editing.diffusion.text import PromptEmbedding, spans, telling_words
from regrain.editing.errors import PromptError
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    word_columns,
)
from regrain.editing.recipe.layout import coded, size_term, strengths

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.params.flow_regions import FlowRegionsParams
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
        self.scope = HeatScope.of(backbone.sites[0].stride, working.grid)
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
        if alone:
            return cls._with_phrases(backbone, prompt, bound, field)
        (text,) = backbone.embed([prompt], [field])
        codes = [-1] * text.lengths[0]
        for code, place in bound.items():
            for token in spans(text, *place):
                codes[token] = code
        return cls(text, torch.tensor(codes, device=text.vectors.device))

    @classmethod
    def _with_phrases(
        cls,
        backbone: Backbone,
        prompt: str,
        bound: Mapping[int, tuple[int, int]],
        field: str,
    ) -> RegionText:
        """Encode a prompt and its phrases apart; the vectors of the phrases follow
        those of the prompt."""
        phrases = [prompt[start:stop] for start, stop in bound.values()]
        prompts = [prompt, *phrases]
        text, *encoded = backbone.embed(prompts, [field] * len(prompts))
        vectors = text.vectors.clone()
        codes = [-1] * text.lengths[0]
        for code, phrase in zip(bound, encoded, strict=True):
            own = phrase.lengths[0] - 1  # without the end
            _put(phrase.vectors[0, :own], vectors[0, len(codes) :], field)
            codes += [code] * own
        words = torch.tensor(codes, device=vectors.device)
        return cls(text.with_vectors(vectors), words)

    def columns(self, names: Sequence[str]) -> Columns:
        """Return the tokens of every region, by its name."""
        found: dict[str, list[int]] = {name: [] for name in names}
        for token, code in enumerate(self.words.tolist()):
            if code > 0:
                found[names[code - 1]].append(token)
        return found

    def telling(self) -> Columns:
        """Return the tokens of every word but articles and prepositions."""
        return word_columns(self.text, telling_words(self.text.prompts[0]))


def _put(
    vectors: Float[Tensor, "tokens d"], free: Float[Tensor, "rest d"], field: str
) -> None:
    """Write vectors to the beginning of those that are free.

    Raises:
        PromptError: There are too few; names `field`.
    """
    if len(vectors) > len(free):
        raise PromptError(field, "It is too long for phrases=alone. Shorten it.")
    free[: len(vectors)] = vectors


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
        calls = torch.zeros(len(regions.codes))
        for piece in pieces:
            calls[piece] += 1
        # The recorder averages over calls, each of which sees but a part of the clip.
        self._share = (len(pieces) / calls)[:, None, None]

    def attend(self, step: Step, part: slice) -> AttentionFn:
        """Return the attention of a call for some latents."""
        codes = self._regions.codes[part].flatten()
        labels = codes[None]
        weight = self._weight(codes, step, part)
        within = weight * self._params.self_strength * step.time**_SELF_FADE
        binding = self._binding(codes, weight, step)

        def attend(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
            if site.kind == "self":
                return modulated_attention(q, k, v, labels, labels, within[None])
            out, *maps = attend_to_words(q, k, v, binding)
            spread = [self._spread(mass, part) for mass in maps]
            self.heat.add(*spread, changed=bool(binding.strength.any()))
            return out

        return attend

    def _weight(self, codes: Tensor, step: Step, part: slice) -> Tensor:
        """Return how strongly each token is bound, before it fades; 0 after the
        window."""
        params = self._params
        modulates = self._modulates and step.within(params.modulate_until, begun=True)
        weight = self._regions.strength[codes] * modulates
        if params.size_term:
            weight = weight * self._regions.size_term[part].flatten()
        return weight

    def _binding(self, codes: Tensor, weight: Tensor, step: Step) -> WordBinding:
        """Return the binding of tokens to the words of their region, if it has any."""
        params = self._params
        words = self.bound.words
        bound = torch.isin(codes, words) & (codes > 0)
        faded = step.time**params.schedule_power
        strength = weight * bound * params.cross_strength * faded
        return WordBinding(codes, words, strength, params.columns, params.padding)

    def _spread(self, mass: Float[Tensor, "tokens words"], part: slice) -> Tensor:
        """Put the maps of a part of the clip among zeros for the rest of it."""
        time, tokens = self._regions.codes.shape
        whole = mass.new_zeros(time, tokens, mass.shape[-1])
        whole[part] = mass.unflatten(0, (-1, tokens)) * self._share[part].to(mass)
        return whole


def by_frame(
    maps: Mapping[str, RegionAttention], latents: Sequence[int]
) -> dict[str, RegionAttention]:
    """Turn maps of latents into maps of frames; `latents` has the latent of each
    frame."""
    places = [*latents]
    found = {}
    for name, one in maps.items():
        parts = by_frame(one.parts, latents)
        found[name] = RegionAttention(one.before[places], one.after[places], parts)
    return found
