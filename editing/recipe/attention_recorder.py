"""Where attention goes: mass averaged over heads, layers and steps, before and after it is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.attention.backends import Keys, Queries
from regrain.editing.attention.frames import Seen, labels_seen
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.attention.maps import probabilities
from regrain.editing.diffusion.schedule import Step
from regrain.editing.errors import RequestError

# By default, maps come from layers of at most this many tokens per frame: the paper's 32 x 32.
HEAT_TOKENS = 1024
Columns = Mapping[str, Collection[int]]
"""Columns of the mass to add up, by name: the tokens of a word, or the column of a region."""
_Sums = tuple[Tensor, Tensor, int]  # before and after the change, and how many were added
PARTS = ("early", "middle", "late")
"""Thirds of the schedule, from pure noise, of which heat is also kept apart."""


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
        """Whether a step is averaged."""
        return step.within(self.last, begun=True) and not step.within(self.first)

    @classmethod
    def of(cls, stride: tuple[int, int, int], grid: Grid) -> HeatScope:
        """All steps, layers of one stride."""
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
            divisors: Grids to read, 1 for the latents' own, 2 for half of it; empty takes all of up to 1024
                cells, or the coarsest if none is that small.
        Raises:
            RequestError: The model has none of these grids.
        """
        known = sorted({site.stride for site in sites if site.kind == "cross"})
        if divisors:
            strides = [stride for stride in known if stride[-1] in divisors]
        else:
            strides = [
                stride for stride in known if grid.over(stride).tokens <= HEAT_TOKENS
            ] or known[-1:]
        if not strides:
            given, others = (
                ", ".join(map(str, n)) for n in (divisors, [stride[-1] for stride in known])
            )
            message = f"This model has no attention on grid {given}. Choose from {others}."
            raise RequestError("params.heat_grids", message)
        return cls(frozenset(strides), grid.over(strides[0]).size, first, last)


class AttentionRecorder:
    """The attention mass of some columns at every pixel, before and after attention is changed.

    Only sums are kept, one for each third of the schedule, so memory does not grow with steps.
    """

    def __init__(self, scope: HeatScope) -> None:
        self.scope = scope
        self._sums: dict[str, _Sums] = {}
        self._step: _Sums | None = None
        self._part, self._changed, self._in_scope = PARTS[0], False, True

    def begin(self, step: Step) -> None:
        """Start a new step."""
        self._in_scope = self.scope.counts(step)
        self._part = PARTS[0 if step.within(1 / 3) else 1 if step.within(2 / 3) else 2]
        self._step = None

    def reads(self, site: AttentionLayer) -> bool:
        """Whether a layer is averaged."""
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
            before, after: Attention before the change and, unless there is none, after it.
            size: Height and width of the layer's grid; default: that of the scope.
            changed: Whether this layer is changed in this step.
        """
        one = on_grid(before.float(), size or self.scope.size, self.scope.size)
        other = (
            one
            if after is None
            else on_grid(after.float(), size or self.scope.size, self.scope.size)
        )
        self._step = _added(self._step, one, other)
        if not self._in_scope or (self._changed and not changed):
            return
        if changed != self._changed:
            self._sums, self._changed = {}, changed
        self._sums[self._part] = _added(self._sums.get(self._part), one, other)

    def step(self) -> Float[Tensor, "frames h w columns"]:
        """The mean of this step's layers, after the change."""
        return self._mean(1, [self._step] if self._step else [])

    def before(self) -> Float[Tensor, "frames h w columns"]:
        """Mean attention before the change."""
        return self._mean(0, self._sums.values())

    def _mean(self, which: int, parts: Collection[_Sums]) -> Tensor:
        first, *others = (part[:2][which] for part in parts)
        return sum(others, first) / sum(count for _, _, count in parts)

    def now(
        self, columns: Columns, frames: Sequence[int]
    ) -> dict[str, Float32[ndarray, "frames h w"]]:
        """This step's maps of some frames, each scaled so that its strongest pixel is 1."""
        step = self.step()[list(frames)]
        return {name: scaled(of_columns(step, chosen)) for name, chosen in columns.items()}

    def maps(self, columns: Columns) -> dict[str, RegionAttention]:
        """Maps over all steps, and over each third of them if there are several, as probabilities."""
        whole = self._maps(columns, self._sums.values())
        apart = {
            part: self._maps(columns, [self._sums[part]]) for part in PARTS if part in self._sums
        }
        if len(apart) < 2:
            return whole
        return {
            name: replace(maps, parts={part: parts[name] for part, parts in apart.items()})
            for name, maps in whole.items()
        }

    def _maps(self, columns: Columns, parts: Collection[_Sums]) -> dict[str, RegionAttention]:
        means = [self._mean(which, parts) for which in (0, 1)]
        return {
            name: RegionAttention(*(of_columns(mean, chosen).cpu().numpy() for mean in means))
            for name, chosen in columns.items()
        }


def _added(sums: _Sums | None, before: Tensor, after: Tensor) -> _Sums:
    return (before, after, 1) if sums is None else (sums[0] + before, sums[1] + after, sums[2] + 1)


def of_columns(
    mass: Float[Tensor, "frames h w columns"], columns: Collection[int]
) -> Float[Tensor, "frames h w"]:
    """Add up some columns of a mass."""
    return mass[..., list(columns)].sum(-1)


def on_grid(
    x: Float[Tensor, "frames tokens columns"], size: tuple[int, int], new_size: tuple[int, int]
) -> Float[Tensor, "frames h w columns"]:
    """Arrange tokens on their grid (height, width) and resize it bilinearly."""
    if size == new_size:
        return x.unflatten(1, size)
    maps = x.movedim(2, 1).unflatten(2, size)
    return F.interpolate(maps, new_size, mode="bilinear", align_corners=False).movedim(1, 3)


def scaled(maps: Float[Tensor, "frames h w"]) -> Float32[ndarray, "frames h w"]:
    """Scale a mass so that the clip's strongest pixel is 1."""
    top = maps.amax().clamp(min=1e-8)
    return (maps / top).clamp(0, 1).float().cpu().numpy()


Change = Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]
"""(q, k, row, query) -> modulated q and k of that query."""


class PixelHeat:
    """Where one pixel of one frame looks, in all frames, by self-attention.

    `heat` has its probabilities in one column; they add up to 1 over the clip on the grid of the maps.
    """

    def __init__(
        self, at: tuple[int, float, float], place: int, clip_size: tuple[int, int], scope: HeatScope
    ) -> None:
        """`at` is frame, x and y in pixels of the clip, whose size is (width, height).

        `place` is where that frame is among those that are edited together.
        """
        frame, x, y = at
        self.heat = AttentionRecorder(scope)
        self.columns: Columns = {f"frame {frame} at {x:g},{y:g}": (0,)}
        self._frame, self._at = place, (y / clip_size[1], x / clip_size[0])

    def add(self, q: Queries, k: Keys, grid: Grid, seen: Seen, change: Change | None) -> None:
        """Add one layer of one half of guidance; q and k are in the layout of `across_frames`."""
        y, x = (int(share * side) for share, side in zip(self._at, grid.size, strict=True))
        own, tokens = (self._frame * grid.height + y) * grid.width + x, grid.tokens
        numbers = torch.arange(grid.time * tokens, device=q.device).view(grid.time, tokens)
        queries, keys = labels_seen(numbers, seen)
        row, query = (int(i) for i in (queries == own).nonzero()[0])
        before = q[row : row + 1, :, query : query + 1], k[row : row + 1]
        after = before if change is None else change(*before, row, query)
        maps = []
        for one, others in (before, after):
            given = probabilities(one, others, q.shape[-1] ** -0.5)[0, :, 0].mean(0)
            # A frame may be seen twice.
            clip = given.new_zeros(grid.time * tokens).index_add_(0, keys[row], given)
            spread = tokens / (self.heat.scope.size[0] * self.heat.scope.size[1])
            maps.append(clip.view(grid.time, tokens, 1) * spread)
        self.heat.add(*maps, size=grid.size, changed=change is not None)
