"""Where attention goes: mass averaged over heads, layers and steps, before and after it
is changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import PromptEmbedding, find_words
from regrain.editing.errors import RequestError

# By default, maps come from layers of at most this many tokens per frame: the paper's
# 32 x 32.
HEAT_TOKENS = 1024
Columns = Mapping[str, Collection[int]]
"""Columns of the mass to add up, by name: the tokens of a word, or the column of a
region."""
PARTS = ("early", "middle", "late")
"""Thirds of the schedule, from pure noise, of which heat is also kept apart."""


def word_columns(
    text: PromptEmbedding, words: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Return the tokens of some words of a prompt, by word."""
    return {word: find_words(text, word) for word in words}


class _Sums(NamedTuple):
    """Mass before and after the change, added up over a number of layers and steps."""

    before: Tensor
    after: Tensor
    terms: int


@dataclass(frozen=True)
class HeatScope:
    """The layers and steps that heat is averaged over.

    Attributes:
        strides: Strides of the layers that are read.
        size: Height and width of the maps: those of the finest such layer.
        first: Share of the schedule at which averaging starts, counted from pure noise.
        last: Share at which it ends; partly covered steps count.
    """

    strides: frozenset[tuple[int, int, int]]
    size: tuple[int, int]
    first: float = 0.0
    last: float = 1.0

    def counts(self, step: Step) -> bool:
        """Check if a step is averaged."""
        return step.within(self.last, begun=True) and not step.within(self.first)

    @classmethod
    def of(cls, stride: tuple[int, int, int], grid: Grid) -> HeatScope:
        """Return the scope of all steps and the layers of one stride."""
        return cls(frozenset([stride]), grid.over(stride).size)

    @classmethod
    def choose(
        cls,
        grid: Grid,
        sites: Sequence[AttentionLayer],
        divisors: Collection[int] = (),
        first: float = 0.0,
        last: float = 1.0,
    ) -> HeatScope:
        """Choose layers of a model; `grid` is that of the latents.

        Args:
            divisors: Grids to read, 1 for the latents' own, 2 for half of it; empty
                takes all of up to 1024 cells, or the coarsest if none is that small.
        Raises:
            RequestError: The model has none of these grids.
        """
        known = sorted({site.stride for site in sites if site.kind == "cross"})
        if divisors:
            strides = [stride for stride in known if stride[-1] in divisors]
        else:
            small = [
                stride for stride in known if grid.over(stride).tokens <= HEAT_TOKENS
            ]
            strides = small or known[-1:]
        if not strides:
            given = ", ".join(str(divisor) for divisor in divisors)
            others = ", ".join(str(stride[-1]) for stride in known)
            message = (
                f"This model has no attention on grid {given}. Choose from {others}."
            )
            raise RequestError("params.heat_grids", message)
        return cls(frozenset(strides), grid.over(strides[0]).size, first, last)


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
        self._in_scope = True

    def begin(self, step: Step) -> None:
        """Start a new step."""
        early, middle, late = PARTS
        self._in_scope = self.scope.counts(step)
        if step.within(1 / 3):
            self._part = early
        else:
            self._part = middle if step.within(2 / 3) else late
        self._step = None

    def reads(self, site: AttentionLayer) -> bool:
        """Check if a layer is averaged."""
        return site.stride in self.scope.strides

    def add(
        self,
        before: Float[Tensor, "frames tokens columns"],
        after: Float[Tensor, "frames tokens columns"] | None = None,
        *,
        size: tuple[int, int] | None = None,
        changed: bool = False,
    ) -> None:
        """Add one layer's mass, averaged over heads.

        Once a layer is changed, only changed layers and steps count.

        Args:
            before, after: Attention before the change and, unless there is none, after
            it. size: Height and width of the layer's grid; default: that of the scope.
            changed: True if this layer is changed in this step.
        """
        mass = self._mass(before, after, size or self.scope.size)
        self._step = _added(self._step, mass)
        if not self._in_scope or (self._changed and not changed):
            return
        if changed != self._changed:
            self._sums = {}
            self._changed = changed
        self._sums[self._part] = _added(self._sums.get(self._part), mass)

    def _mass(
        self, before: Tensor, after: Tensor | None, size: tuple[int, int]
    ) -> _Sums:
        """Return one layer's mass on the grid of the maps."""
        one = on_grid(before.float(), size, self.scope.size)
        if after is None:
            return _Sums(one, one, 1)
        return _Sums(one, on_grid(after.float(), size, self.scope.size), 1)

    def step(self) -> Float[Tensor, "frames h w columns"]:
        """Return the mean of this step's layers, after the change.

        Raises:
            ValueError: No layer was added in this step.
        """
        if self._step is None:
            raise ValueError("no attention was recorded in this step")
        return self._step.after / self._step.terms

    def before(self) -> Float[Tensor, "frames h w columns"]:
        """Return the mean attention before the change."""
        before, _ = _means(self._sums.values())
        return before

    def now(
        self, columns: Columns, frames: Sequence[int]
    ) -> dict[str, Float32[ndarray, "frames h w"]]:
        """Return this step's maps of some frames, each scaled so that its strongest
        pixel is 1."""
        step = self.step()[list(frames)]
        return {
            name: scaled(of_columns(step, chosen)) for name, chosen in columns.items()
        }

    def maps(self, columns: Columns) -> dict[str, RegionAttention]:
        """Return maps over all steps, and over each third of them if there are several;
        probabilities."""
        whole = _maps_of(columns, self._sums.values())
        seen = [part for part in PARTS if part in self._sums]
        if len(seen) < 2:
            return whole
        thirds = {part: _maps_of(columns, [self._sums[part]]) for part in seen}
        found = {}
        for name, maps in whole.items():
            found[name] = replace(
                maps, parts={part: thirds[part][name] for part in seen}
            )
        return found


def _maps_of(columns: Columns, parts: Collection[_Sums]) -> dict[str, RegionAttention]:
    before, after = (mean.cpu() for mean in _means(parts))
    maps = {}
    for name, chosen in columns.items():
        maps[name] = RegionAttention(
            before=of_columns(before, chosen).numpy(),
            after=of_columns(after, chosen).numpy(),
        )
    return maps


def _means(parts: Collection[_Sums]) -> tuple[Tensor, Tensor]:
    """Return the means before and after the change, over several parts of a run."""
    total = reduce(_added, parts)
    return total.before / total.terms, total.after / total.terms


def _added(sums: _Sums | None, more: _Sums) -> _Sums:
    if sums is None:
        return more
    before = sums.before + more.before
    after = sums.after + more.after
    return _Sums(before, after, sums.terms + more.terms)


def of_columns(
    mass: Float[Tensor, "frames h w columns"], columns: Collection[int]
) -> Float[Tensor, "frames h w"]:
    """Add up some columns of a mass."""
    return mass[..., list(columns)].sum(-1)


def on_grid(
    x: Float[Tensor, "frames tokens columns"],
    size: tuple[int, int],
    new_size: tuple[int, int],
) -> Float[Tensor, "frames h w columns"]:
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
