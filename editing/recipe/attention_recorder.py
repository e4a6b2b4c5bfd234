"""Where attention goes: mass averaged over heads, layers and steps, before and after it
is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from regrain.editing.attention.averages import Heat, NamedMaps, RegionAttention
from regrain.editing.attention.batch import Batch
from regrain.editing.attention.layers import (
    AttentionFn,
    AttentionLayer,
    Grid,
    Size,
    Stride,
)
from regrain.editing.attention.maps import Exchange, Maps, probabilities
from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import (
    PromptEmbedding,
    find_words,
    new_words,
    telling_words,
)

# By default, maps come from layers of at most this many tokens per frame: the paper's
# 32 x 32.
HEAT_TOKENS = 1024
# The references read their maps at 16 x 16 of 64 x 64 latents; this is the least side
# of the grid to read.
_SIDE = 16
Columns = Mapping[str, Collection[int]]
"""Columns of the mass to add up, by name: the tokens of a word, or the column of a
region."""
Mass = Float[Tensor, "frames tokens columns"]
MassMaps = Float[Tensor, "frames h w columns"]
PARTS = ("early", "middle", "late")
"""Thirds of the schedule, from pure noise, of which heat is also kept apart."""


def word_columns(text: PromptEmbedding, words: Sequence[str]) -> Columns:
    """Return the tokens of some words of a prompt, by word."""
    return {word: find_words(text, word) for word in words}


def new_columns(source: str, text: PromptEmbedding) -> Columns:
    """Return the tokens of the words that a prompt has and the source prompt lacks, by
    word."""
    return word_columns(text, new_words(source, text.prompts[0])[1])


def telling_columns(text: PromptEmbedding) -> Columns:
    """Return the tokens of all words of a prompt but articles and prepositions, by
    word."""
    return word_columns(text, telling_words(text.prompts[0]))


class _Sums(NamedTuple):
    """Mass before and after the change, added up over a number of layers and steps."""

    before: Tensor
    after: Tensor
    terms: int


def _strides(sites: Sequence[AttentionLayer]) -> list[Stride]:
    """Return the strides of cross-attention, finest first."""
    return sorted({site.stride for site in sites if site.kind == "cross"})


@dataclass(frozen=True)
class HeatScope:
    """The layers that heat is averaged over.

    Attributes:
        strides: Strides of the layers that are read.
        size: Height and width of the maps: those of the finest such layer.
    """

    strides: frozenset[Stride]
    size: Size

    @classmethod
    def of(cls, grid: Grid, sites: Sequence[AttentionLayer]) -> HeatScope:
        """Return the layers of one stride: the coarsest with
        cross-attention and at least 16 cells per side, else the finest.

        `grid` is that of the latents.
        """
        known = _strides(sites)
        large = [stride for stride in known if min(grid.over(stride).size) >= _SIDE]
        stride = large[-1] if large else known[0]
        return cls(frozenset([stride]), grid.over(stride).size)

    @classmethod
    def choose(cls, grid: Grid, sites: Sequence[AttentionLayer]) -> HeatScope:
        """Return all layers of up to 1024 cells, or the coarsest if none is that small.

        `grid` is that of the latents.
        """
        known = _strides(sites)
        small = [stride for stride in known if grid.over(stride).tokens <= HEAT_TOKENS]
        strides = small or known[-1:]
        return cls(frozenset(strides), grid.over(strides[0]).size)


class AttentionRecorder:
    """The attention mass of some columns at every pixel, before and after attention is
    changed.

    Only sums are kept, one for each third of the schedule, so memory does not grow with
    steps.
    """

    def __init__(self, scope: HeatScope) -> None:
        self.scope = scope
        self._sums: dict[str, _Sums] = {}
        self._step: _Sums | None = None
        self._part = PARTS[0]
        self._changed = False

    def begin(self, step: Step) -> None:
        """Start a new step."""
        self._part = PARTS[2 - step.within(1 / 3) - step.within(2 / 3)]
        self._step = None

    def reads(self, site: AttentionLayer) -> bool:
        """Check if a layer is averaged."""
        return site.stride in self.scope.strides

    def add(
        self,
        before: Mass,
        after: Mass | None = None,
        *,
        size: Size | None = None,
        changed: bool = False,
    ) -> None:
        """Add one layer's mass, averaged over heads.

        Once a layer is changed, only changed layers and steps count.

        Args:
            before, after: Attention before the change and, unless there is none, after
                it.
            size: Height and width of the layer's grid; default: that of the scope.
            changed: True if this layer is changed in this step.
        """
        own_size = size or self.scope.size
        mass = one = on_grid(
            before.float(),
            own_size,
            self.scope.size,
        )
        if after is not None:
            mass = on_grid(after.float(), own_size, self.scope.size)
        sums = _Sums(one, mass, 1)
        self._step = _added(self._step, sums)
        if self._changed and not changed:
            return
        if changed != self._changed:
            self._sums = {}
            self._changed = changed
        self._sums[self._part] = _added(self._sums.get(self._part), sums)

    def step(self) -> MassMaps:
        """Return the mean of this step's layers, after the change.

        Raises:
            ValueError: No layer was added in this step.
        """
        if self._step is None:
            raise ValueError("no attention was recorded in this step")
        return self._step.after / self._step.terms

    def means(self, *parts: str) -> tuple[MassMaps, MassMaps]:
        """Return the mean attention before and after the change, over all of the
        schedule or some thirds of it."""
        total = reduce(_added, [self._sums[part] for part in parts or self._sums])
        return total.before / total.terms, total.after / total.terms

    def now(self, columns: Columns, frames: Sequence[int]) -> NamedMaps:
        """Return this step's maps of some frames, each scaled so that its strongest
        pixel is 1."""
        step = self.step()[list(frames)]
        return {
            name: scaled(of_columns(step, chosen)) for name, chosen in columns.items()
        }

    def maps(self, columns: Columns) -> Heat:
        """Return maps over all steps, and over each third of them if there are several;
        probabilities."""
        seen = [part for part in PARTS if part in self._sums]
        every = [seen, *([part] for part in seen if len(seen) > 1)]
        # one copy, since the program waits for each
        means = torch.stack([torch.stack(self.means(*parts)) for parts in every]).cpu()
        found = {}
        for name, chosen in columns.items():
            whole, *thirds = (
                RegionAttention(*of_columns(both, chosen).numpy()) for both in means
            )
            parts = dict(zip(seen, thirds, strict=False))
            found[name] = replace(whole, parts=parts)
        return found


class Look(NamedTuple):
    """The attention of a branch to its words, as it is recorded.

    Attributes:
        heat: The recorder.
        branch: The branch.
        exchange: How its attention is changed by that of the branch `other`; None if
            it is not.
    """

    heat: AttentionRecorder
    branch: str
    exchange: Exchange | None = None
    other: str = "source"


def watched(
    attend: AttentionFn, batch: Batch, looks: Callable[[AttentionLayer], Iterable[Look]]
) -> AttentionFn:
    """Return `attend`, extended so that its cross-attention is recorded: in each layer
    what `looks` says of it."""

    def watch(q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        def maps(branch: str) -> Maps:
            rows = batch.rows(branch)
            return probabilities(q[rows], k[rows])

        for look in looks(site) if site.kind == "cross" else ():
            if look.heat.reads(site):
                own = final = maps(look.branch)
                if look.exchange is not None:
                    final = look.exchange(maps(look.other), own)
                look.heat.add(own.mean(1), final.mean(1))
        return attend(q, k, v, site)

    return watch


def _added(sums: _Sums | None, more: _Sums) -> _Sums:
    if sums is None:
        return more
    before = sums.before + more.before
    after = sums.after + more.after
    return _Sums(before, after, sums.terms + more.terms)


def of_columns(
    mass: Float[Tensor, "*means frames h w columns"], columns: Collection[int]
) -> Float[Tensor, "*means frames h w"]:
    """Add up some columns of a mass."""
    return mass[..., list(columns)].sum(-1)


def on_grid(x: Mass, size: Size, new_size: Size) -> MassMaps:
    """Arrange tokens on their grid (height, width) and resize it bilinearly."""
    if size == new_size:
        return x.unflatten(1, size)
    maps = x.movedim(2, 1).unflatten(2, size)
    return F.interpolate(maps, new_size, mode="bilinear", align_corners=False).movedim(
        1, 3
    )


def scaled(maps: Float[Tensor, "frames h w"]) -> Float32[ndarray, "frames h w"]:
    """Scale a mass so that the clip's strongest pixel is 1."""
    top = maps.amax().clamp(min=1e-8)
    return (maps / top).clamp(0, 1).float().cpu().numpy()
