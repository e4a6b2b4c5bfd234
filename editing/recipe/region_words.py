"""The words of regions in a prompt for a video model, the attention that binds them, and
the calls of the model for pieces of a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps, RegionAttention
from regrain.editing.attention.layers import AttentionFn, AttentionLayer
from regrain.editing.attention.regions import (
    Partition,
    clip_labels,
    partitioned_attention,
)
from regrain.editing.attention.words import WordBinding, attend_to_words
from regrain.editing.diffusion.schedule import Answer, FrameLatents, Step, guide
from regrain.editing.diffusion.text import PromptEmbedding, spans
from regrain.editing.media.lazy_frames import Numbers
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.params.flow_regions import BoundParams
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    new_columns,
    telling_columns,
)
from regrain.editing.recipe.layout import coded, size_term, strengths
from regrain.editing.recipe.window import ResizedClip
from regrain.editing.request.compose import Composed
from regrain.editing.request.edit_request import EditRequest

_SELF_FADE = 5  # VideoGrain's; a constant strength hurts
# Of a piece's latents: FlowDirector's (arXiv:2506.05046) pieces of 11 begin 8 after
# each other.
_STRIDE = 8 / 11
Piece = Numbers
"""The latents of a call."""


def pieces_of(time: int, most: int, before: int = 0) -> tuple[Piece, ...]:
    """Divide some latents into overlapping parts of at most so many; `before` are
    latents ahead of them that all parts begin with."""
    size = min(time, most)
    stride = max(1, round(size * _STRIDE))
    starts = [*range(0, time - size, stride), time - size]
    always = range(before)
    return tuple(
        (*always, *range(before + start, before + start + size)) for start in starts
    )


class TokenRegions:
    """The regions of a clip on the tokens of a model: 0 is background, i + 1 is region
    i.

    Attributes:
        codes: Code of every token, [time, tokens]; latents of pictures come first.
        pictures: Number of these.
        strength: Strength of the background, 1, and of every region.
        scope: Layers and size of attention maps of words.
        size_term: 1 - S: for each token, the share of its latent's tokens that belong
            to other regions.
    """

    def __init__(
        self,
        backbone: Backbone,
        request: EditRequest,
        working: ResizedClip,
        pictures: Sequence[int] = (),
    ) -> None:
        """`pictures` are the codes of pictures ahead of the clip."""
        self.strength = strengths(request, backbone.device)
        self.scope = HeatScope.of(working.grid, backbone.sites)
        height, width = self.scope.size
        count = len(self.strength)
        labels = coded(request, lambda part: part)
        latents = torch.tensor(working.latents)
        codes = clip_labels(labels, height, width, count, latents)
        self.codes = codes.to(backbone.device)
        self.size_term = size_term(self.codes, self.codes, count)
        self.pictures = len(pictures)
        for code in reversed(pictures):
            self._add_picture(code)

    def _add_picture(self, code: int) -> None:
        """Put the tokens of a picture ahead of others: they show nothing but its region,
        whose mean term in the clip they take."""
        terms = self.size_term
        own = terms[self.codes == code]
        term = own.mean() if len(own) else terms.new_zeros(())
        tokens = torch.full_like(self.codes[:1], code)
        self.codes = torch.cat([tokens, self.codes])
        self.size_term = torch.cat([term.expand_as(terms[:1]), terms])


@dataclass(frozen=True, eq=False)
class RegionText:
    """A prompt, and the region of each of its tokens.

    Attributes:
        text: The prompt.
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
    ) -> RegionText:
        """Encode a prompt.

        Args:
            places: Characters of each region's words in it, if it has any.
        Raises:
            PromptError: It does not fit; names `field`.
        """
        (text,) = backbone.embed([prompt], [field])
        codes = [-1] * text.lengths[0]
        for code, place in enumerate(places, 1):
            for token in spans(text, *place) if place else ():
                codes[token] = code
        return cls(text, torch.tensor(codes, device=text.vectors.device))

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        request: EditRequest,
        composed: Composed,
        field: str,
    ) -> RegionText:
        """Encode a prompt of a request; the rest is as for `read`."""
        places = [composed.spans[region.label] for region in request.regions]
        return cls.read(backbone, composed.text, places, field)

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
        places: The latents.
        share: By how much maps of each count.
        acts: False if no token has a strength.
        acts_on_words: False if no token that is bound has one.
    """

    among: Partition
    to_words: Partition
    weight: Float[Tensor, "tokens"]
    bound: Bool[Tensor, "tokens"]
    places: Int[Tensor, "latents"]
    share: Float[Tensor, "latents 1 1"]
    acts: bool
    acts_on_words: bool


class WordAttending:
    """The attention of calls with one prompt, `bound`; `heat` records the attention to
    its tokens."""

    def __init__(
        self,
        bound: RegionText,
        regions: TokenRegions,
        params: BoundParams,
        pieces: Sequence[Piece],
        modulates: bool,
    ) -> None:
        """`pieces` are the latents of each call of a step, which may overlap."""
        self.bound = bound
        self.heat = AttentionRecorder(regions.scope)
        self._regions = regions
        self._params = params
        self._modulates = modulates
        self._parts: dict[Piece, _BoundPart] = {}
        calls = torch.zeros(len(regions.codes))
        for part in pieces:
            calls[[*part]] += 1
        # The recorder averages over calls, each of which sees but a part of the clip.
        self._share = (len(pieces) / calls)[:, None, None]

    def attend(self, step: Step, part: Piece) -> AttentionFn:
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
        binding = WordBinding(bound.to_words, strength, params.columns)
        time, tokens = self._regions.codes.shape

        def spread(mass: Float[Tensor, "tokens words"]) -> Tensor:
            """Put the maps of a part of the clip among zeros for the rest of it."""
            whole = mass.new_zeros(time, tokens, mass.shape[-1])
            share = bound.share.to(mass)
            whole[bound.places] = mass.unflatten(0, (-1, tokens)) * share
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

    def columns(self, request: EditRequest) -> Columns:
        """Return the tokens whose maps are shown: those of regions or, without any, of new
        words."""
        if not request.edited:
            return new_columns(request.description, self.bound.text)
        return self.bound.columns([region.name for region in request.regions])

    def maps(self, columns: Columns, latents: Sequence[int]) -> Heat:
        """Return the maps over the run of some tokens; `latents` has that of each frame."""
        places = [self._regions.pictures + latent for latent in latents]
        return _at(self.heat.maps(columns), places)

    def word_maps(self, latents: Sequence[int]) -> NamedMaps:
        """Return the maps over the run of every word of the prompt, before any change."""
        maps = self.maps(telling_columns(self.bound.text), latents)
        return {word: one.before for word, one in maps.items()}

    def _bind(self, part: Piece) -> _BoundPart:
        """Bind the tokens of some latents, which is the same in all steps."""
        if part not in self._parts:
            regions = self._regions
            places = torch.tensor(part, device=regions.codes.device)
            codes = regions.codes[places].flatten()
            words = self.bound.words
            weight = regions.strength[codes]
            if self._params.size_term:
                weight = weight * regions.size_term[places].flatten()
            bound = torch.isin(codes, words) & (codes > 0)
            self._parts[part] = _BoundPart(
                among=Partition.of(codes[None], codes[None]),
                to_words=Partition.of(codes[None], words[None]),
                weight=weight,
                bound=bound,
                places=places,
                share=self._share.to(places.device)[places],
                acts=bool(weight.any()),
                acts_on_words=bool((weight * bound).any()),
            )
        return self._parts[part]


ChangeFn = Callable[[WordAttending | None, Step, Piece], Intervention]
"""What alters the call of a piece: with words that are bound, or with the negative
prompt."""


def by_words(words: WordAttending | None, step: Step, part: Piece) -> Intervention:
    """Alter a call by its bound words alone."""
    return Intervention(words.attend(step, part) if words else None)


class ClipModel:
    """A video model as a run calls it: a long clip in pieces, guided by words that are
    bound to regions."""

    def __init__(
        self,
        backbone: Backbone,
        negative_prompt: str,
        pieces: Sequence[Piece],
    ) -> None:
        self._backbone = backbone
        self._pieces = pieces
        self._uncond = backbone.embed([negative_prompt], ["negative_prompt"])

    def guided(
        self,
        x: FrameLatents,
        step: Step,
        words: WordAttending,
        scale: float,
        change: ChangeFn = by_words,
    ) -> Answer:
        """Predict (x0, eps) of the whole clip, guided at a scale."""
        given = (words.bound.text, partial(change, words))
        if scale == 1:
            return self._predict(x, step, *given)
        x0, eps = self._predict(x, step, self._uncond, partial(change, None))
        own_x0, own_eps = self._predict(x, step, *given)
        return guide(x0, own_x0, scale), guide(eps, own_eps, scale)

    def _predict(
        self,
        x: Tensor,
        step: Step,
        text: PromptEmbedding,
        change: Callable[[Step, Piece], Intervention],
    ) -> Answer:
        """Predict (x0, eps) of the whole clip: where pieces overlap, their mean."""
        sums = torch.zeros(2, *x.shape, dtype=x.dtype, device=x.device)
        calls = torch.zeros_like(x)
        for part in self._pieces:
            altered = change(step, part)
            if len(self._pieces) == 1:
                return self._backbone.predict(x, step, text, altered)
            places = [*part]
            answer = self._backbone.predict(x[places], step, text, altered)
            sums[:, places] += torch.stack(answer)
            calls[places] += 1
        x0, eps = sums / calls
        return x0, eps


def _at(maps: Heat, places: Sequence[int]) -> Heat:
    """Return maps at some places of theirs, such as the latent of each frame."""
    return {
        name: RegionAttention(
            one.before[places], one.after[places], _at(one.parts, places)
        )
        for name, one in maps.items()
    }
