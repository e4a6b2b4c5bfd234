"""Where attention goes: mass averaged over heads, layers and steps, as it was and as it was changed to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from editing.attention.frames import Seen, labels_seen
from editing.attention.maps import probabilities
from editing.attention.sites import Grid, Site
from editing.diffusion import Step
from editing.errors import RequestError
from editing.events import RegionAttention

# Maps are read from layers of at most this many tokens a frame, unless told otherwise: the paper's 32 x 32.
HEAT_TOKENS = 1024
Columns = Mapping[str, Collection[int]]
"""By name which columns of the mass are added up: tokens of a word, the one column of a region."""


@dataclass(frozen=True)
class HeatScope:
    """What heat is averaged over.

    Attributes:
        strides: Layers that are read.
        size: Height and width on which it is shown: those of the finest such layer.
        first: Share of the schedule, from pure noise on, at which it begins.
        last: And ends; steps that are partly in it count.
    """

    strides: frozenset[tuple[int, int, int]]
    size: tuple[int, int]
    first: float = 0.0
    last: float = 1.0

    def counts(self, step: Step) -> bool:
        """Whether a step belongs to it."""
        return step.within(self.last, begun=True) and not step.within(self.first)

    @classmethod
    def of(cls, stride: tuple[int, int, int], grid: Grid) -> HeatScope:
        """All steps, layers of one stride."""
        return cls(frozenset([stride]), grid.over(stride).size)

    @classmethod
    def choose(
        cls,
        grid: Grid,
        sites: Sequence[Site],
        divisors: Collection[int] = (),
        first: float = 0.0,
        last: float = 1.0,
    ) -> HeatScope:
        """Choose among a model's layers.

        Args:
            grid: Of the latents.
            sites: The model's attention layers.
            divisors: Grids that are read, 1 the latents' own, 2 half of it; empty takes all of up to 1024
                cells, or the coarsest where none is that small.
            first: See `HeatScope`.
            last: See `HeatScope`.
        Raises:
            RequestError: The model has none of the grids given.
        """
        there = sorted({site.stride for site in sites if site.kind == "cross"})
        if divisors:
            strides = [stride for stride in there if stride[-1] in divisors]
        else:
            strides = [stride for stride in there if grid.over(stride).tokens <= HEAT_TOKENS] or there[-1:]
        if not strides:
            given, known = (", ".join(map(str, n)) for n in (divisors, [stride[-1] for stride in there]))
            raise RequestError(
                "params.heat_grids", f"This model has no attention on grid {given}. Choose from {known}."
            )
        return cls(frozenset(strides), grid.over(strides[0]).size, first, last)


class Heat:
    """Attention mass at every pixel in some columns, before and after attention is changed.

    Sums are kept, so memory does not grow with steps.
    """

    def __init__(self, scope: HeatScope) -> None:
        self.scope = scope
        self._sums: tuple[Tensor, Tensor] | None = None
        self._count = 0
        self._changed = False
        self._in_scope = True
        self._step: Tensor | None = None
        self._step_count = 0

    def begin(self, step: Step) -> None:
        """A new step."""
        self._in_scope = self.scope.counts(step)
        self._step, self._step_count = None, 0

    def reads(self, site: Site) -> bool:
        """Whether a layer is among those averaged."""
        return site.stride in self.scope.strides

    def add(
        self,
        before: Float[Tensor, "frames tokens columns"],
        after: Float[Tensor, "frames tokens columns"] | None = None,
        *,
        size: tuple[int, int] | None = None,
        changed: bool = False,
    ) -> None:
        """One layer's mass, averaged over heads.

        The mean is taken over changed layers and steps alone once there is one.

        Args:
            before: What attention was.
            after: What it was changed to; None if it was not.
            size: Height and width of the layer's grid; default: that of the scope.
            changed: Whether this layer is changed in this step.
        """
        one = self._laid_out(before, size)
        other = one if after is None else self._laid_out(after, size)
        self._step = other if self._step is None else self._step + other
        self._step_count += 1
        if not self._in_scope or (self._changed and not changed):
            return
        if self._sums is None or changed != self._changed:
            self._sums, self._count, self._changed = (one, other), 1, changed
        else:
            self._sums = (self._sums[0] + one, self._sums[1] + other)
            self._count += 1

    def _laid_out(
        self, mass: Float[Tensor, "frames tokens columns"], size: tuple[int, int] | None
    ) -> Float[Tensor, "frames h w columns"]:
        """On the grid of the scope."""
        return on_grid(mass.float(), size or self.scope.size, self.scope.size)

    def step(self) -> Float[Tensor, "frames h w columns"]:
        """The mean of this step's layers, after the change."""
        if self._step is None:
            raise ValueError(f"no attention layer has a grid of {self.scope.size}")
        return self._step / self._step_count

    def before(self) -> Float[Tensor, "frames h w columns"]:
        """The mean of what attention was."""
        return self._mean(0)

    def after(self) -> Float[Tensor, "frames h w columns"]:
        """The mean of what it was changed to."""
        return self._mean(1)

    def _mean(self, which: int) -> Tensor:
        if self._sums is None:
            raise ValueError(f"no attention layer has a grid of {self.scope.size}")
        return self._sums[which] / self._count

    def now(self, columns: Columns, frames: Sequence[int]) -> dict[str, Float32[ndarray, "frames h w"]]:
        """This step's maps of some frames, each scaled so that its strongest pixel is 1."""
        step = self.step()[list(frames)]
        return {name: scaled(of_columns(step, chosen)) for name, chosen in columns.items()}

    def maps(self, columns: Columns) -> dict[str, RegionAttention]:
        """Maps over all steps, as probabilities."""
        before, after = (
            {name: of_columns(mean, chosen).cpu().numpy() for name, chosen in columns.items()}
            for mean in (self.before(), self.after())
        )
        return {name: RegionAttention(before[name], after[name]) for name in columns}


def of_columns(
    mass: Float[Tensor, "frames h w columns"], columns: Collection[int]
) -> Float[Tensor, "frames h w"]:
    """Some columns of a mass, added up."""
    return mass[..., list(columns)].sum(-1)


def on_grid(
    x: Float[Tensor, "frames tokens columns"], size: tuple[int, int], new_size: tuple[int, int]
) -> Float[Tensor, "frames h w columns"]:
    """Tokens laid out on their grid, height and width, and resized to another, bilinearly."""
    if size == new_size:
        return x.unflatten(1, size)
    maps = x.movedim(2, 1).unflatten(2, size)
    return F.interpolate(maps, new_size, mode="bilinear", align_corners=False).movedim(1, 3)


def scaled(maps: Float[Tensor, "frames h w"]) -> Float32[ndarray, "frames h w"]:
    """Mass scaled so that the clip's strongest pixel is 1."""
    top = maps.amax().clamp(min=1e-8)
    return (maps / top).clamp(0, 1).float().cpu().numpy()


class PixelHeat:
    """Where one pixel of one frame looks, in all frames, by self-attention.

    Attributes:
        heat: Its probabilities in one column; they add up to 1 over the clip on the grid they are shown on.
        columns: Its name.
    """

    def __init__(self, at: tuple[int, float, float], clip_size: tuple[int, int], scope: HeatScope) -> None:
        """`at` is frame, x and y in pixels of the clip, `clip_size` its width and height."""
        frame, x, y = at
        self.heat = Heat(scope)
        self.columns: Columns = {f"frame {frame} at {x:g},{y:g}": (0,)}
        self._frame, self._at = frame, (y / clip_size[1], x / clip_size[0])

    def add(
        self,
        q: Float[Tensor, "rows heads queries dim"],
        k: Float[Tensor, "rows heads keys dim"],
        grid: Grid,
        seen: Seen,
        change: Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]] | None,
    ) -> None:
        """One layer of one half of guidance.

        Args:
            q: Queries, as `across_frames` lays them out.
            k: Keys, likewise.
            grid: Of the layer.
            seen: Whose keys a frame sees.
            change: (q, k, row, query) -> modulated q and k of that query; None if nothing is modulated.
        """
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
