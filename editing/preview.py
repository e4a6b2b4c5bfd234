"""Cheap pictures of what happens inside a run: the expected clean frames, and where attention goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from editing.attention.frames import arrange
from editing.attention.maps import Maps, TokenMass, probabilities
from editing.diffusion import Step
from editing.errors import RequestError
from editing.events import RegionAttention

if TYPE_CHECKING:
    from editing.attention.layout import Layout

# Heat maps are read from layers of at most this many tokens, unless told otherwise: the paper's 32 x 32.
HEAT_TOKENS = 1024
_SHOWN = 8


class LatentPreview:
    """Latents to small RGB frames by a linear map fitted once on a clip and its own latents.

    No decoder, no table of constants: least squares from latent channels (and 1) to the frames averaged over
        the latent grid's cells. Good enough to see what a step expects, a thousand times cheaper than the
        decoder.
    """

    def __init__(
        self,
        latents: Float[Tensor, "frames c h w"],
        frames: UInt8[np.ndarray, "frames height width 3"],
        zoom: int = 4,
    ) -> None:
        cells = latents.shape[-2:]
        colors = F.adaptive_avg_pool2d(torch.from_numpy(frames).movedim(-1, 1).float() / 255, cells)
        rows = self._rows(latents)
        # Ridge: a still clip has few distinct cells.
        gram = rows.T @ rows + 1e-3 * len(rows) * torch.eye(rows.shape[1])
        self._map = torch.linalg.solve(gram, rows.T @ colors.movedim(1, -1).reshape(-1, 3))
        self._zoom = zoom

    @staticmethod
    def _rows(latents: Tensor) -> Tensor:
        flat = latents.detach().float().cpu().movedim(1, -1).flatten(0, 2)
        return torch.cat([flat, torch.ones(len(flat), 1)], 1)

    def __call__(
        self, x0: Float[Tensor, "frames c h w"]
    ) -> UInt8[np.ndarray, "frames small_height small_width 3"]:
        """Frames of `zoom` pixels per latent cell."""
        n, _, h, w = x0.shape
        colors = (self._rows(x0) @ self._map).reshape(n, h, w, 3).clamp(0, 1).mul(255).byte().numpy()
        size = (w * self._zoom, h * self._zoom)
        return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in colors])


def shown_frames(count: int) -> tuple[int, ...]:
    """Frames of a clip of `count` that a live preview shows: up to 8, evenly spread, the ends among them."""
    return tuple(np.linspace(0, count - 1, min(count, _SHOWN)).round().astype(int).tolist())


def heat(maps: Float[Tensor, "frames h w"]) -> Float32[np.ndarray, "frames h w"]:
    """Attention mass scaled so that the clip's strongest pixel is 1."""
    top = maps.amax().clamp(min=1e-8)
    return (maps / top).clamp(0, 1).float().cpu().numpy()


@dataclass(frozen=True)
class HeatScope:
    """What heat maps are averaged over.

    Attributes:
        first: Share of the schedule, from pure noise on, at which it begins.
        last: And ends; the steps it touches count.
        divisors: Grids that are read, 1 the latents' own, 2 half of it; empty takes all of up to 1024 cells,
            or the coarsest where none is that small.
        coarsest: Of the model's coarsest grid.
    """

    first: float = 0.0
    last: float = 1.0
    divisors: tuple[int, ...] = ()
    coarsest: int = 8

    def counts(self, step: Step) -> bool:
        """Whether a step belongs to it."""
        return (step.index + 1) / step.total > self.first and step.index / step.total < self.last

    def grids(self, finest: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Height and width of the grids that are read, finest first.

        Raises:
            RequestError: The model has none of those asked for.
        """
        all_grids, grid, divisor = {1: finest}, finest, 1
        while divisor < self.coarsest:
            grid, divisor = ((grid[0] + 1) // 2, (grid[1] + 1) // 2), 2 * divisor
            all_grids[divisor] = grid
        if not self.divisors:
            return tuple(g for g in all_grids.values() if g[0] * g[1] <= HEAT_TOKENS) or (grid,)
        if found := tuple(g for d, g in all_grids.items() if d in self.divisors):
            return found
        given, there = (", ".join(map(str, numbers)) for numbers in (self.divisors, all_grids))
        raise RequestError(
            "params.heat_grids", f"{given} was given; this model has {there}; choose among them"
        )


class HeatMaps:
    """Attention at every pixel, before and after modulation: to each region's words, or whatever is named.

    Sums are kept, so memory does not grow with steps.
    """

    def __init__(
        self, layout: Layout, names: tuple[str, ...] | None = None, scope: HeatScope | None = None
    ) -> None:
        self.names = layout.names if names is None else names
        self._layout, self._scope = layout, scope or HeatScope()
        grids = self._scope.grids(layout.grid)
        self.size, self._tokens = grids[0], {height * width for height, width in grids}
        shape = (layout.frames, len(self.names), *self.size)
        self._sum = torch.zeros(2, *shape, device=layout.words.device)
        self._count = 0
        self._step = torch.zeros(shape, device=layout.words.device)
        self._step_count: int | None = None
        self._counts, self._modulated = True, False

    def reads(self, tokens: int) -> bool:
        """Whether the layers of a grid are among those averaged; `tokens` are a frame's."""
        return tokens in self._tokens and bool(self.names)

    def begin(self, step: Step) -> None:
        """A new step.

        Raises:
            RequestError: The step before has shown that no layer has the grids asked for.
        """
        if self._step_count == 0 and self.names:
            given = ", ".join(map(str, self._scope.divisors))
            raise RequestError(
                "params.heat_grids", f"{given} given, but no layer of the model has such a grid; use others"
            )
        self._counts = self._scope.counts(step)
        self._step.zero_()
        self._step_count = 0

    def add(
        self,
        before: Float[Tensor, "frames tokens names"],
        after: Float[Tensor, "frames tokens names"],
        modulated: bool,
    ) -> None:
        """One layer's masses; the mean is taken over modulated layers and steps, or over all if none is."""
        height, width = self._layout.at(before.shape[1])
        maps = torch.stack([before, after]).movedim(-1, -2).unflatten(-1, (height, width)).flatten(0, 1)
        maps = F.interpolate(maps.float(), self.size, mode="bilinear", align_corners=False).unflatten(
            0, (2, -1)
        )
        self._step += maps[1]
        self._step_count = (self._step_count or 0) + 1
        if self._counts and modulated and not self._modulated:
            self._sum.zero_()
            self._count, self._modulated = 0, True
        if self._counts and modulated == self._modulated:
            self._sum += maps
            self._count += 1

    def now(self, shown: tuple[int, ...]) -> dict[str, np.ndarray]:
        """This step's maps, each scaled to its own strongest pixel."""
        return {name: heat(self._step[list(shown), i]) for i, name in enumerate(self.names)}

    def mean(self) -> dict[str, RegionAttention]:
        """Maps over the steps that count, as probabilities."""
        before, after = (self._sum / max(self._count, 1)).cpu().numpy()
        return {name: RegionAttention(before[:, i], after[:, i]) for i, name in enumerate(self.names)}


class PixelHeat:
    """Where one pixel of one frame looks, in all frames, by self-attention.

    Attributes:
        maps: Its probabilities, which add up to 1 over the clip on the grid they are shown on.
    """

    def __init__(self, layout: Layout, pixel: tuple[int, float, float], scope: HeatScope) -> None:
        """`pixel` is frame, x and y, of the source's size."""
        frame, x, y = pixel
        height, width = layout.clip_size
        self._layout, self._frame, self._at = layout, frame, (y / height, x / width)
        self.maps = HeatMaps(layout, (f"frame {frame} at {x:g},{y:g}",), scope)

    def add(self, q: Tensor, k: Tensor, tokens: int, see: Callable, change: Callable | None) -> None:
        """One layer of one half of guidance.

        Args:
            q: Queries, laid out as `see` lays them.
            k: Keys, likewise.
            tokens: A frame's.
            see: Whose keys a frame sees (`editing.attention.frames`).
            change: (q, k, row, query) -> modulated q and k of that query; None if nothing is modulated.
        """
        height, width = self._layout.at(tokens)
        y, x = (int(share * side) for share, side in zip(self._at, (height, width), strict=True))
        own, frames = (self._frame * height + y) * width + x, self._layout.frames
        queries, keys = arrange(see, torch.arange(frames * tokens, device=q.device).view(frames, tokens))
        row, query = (int(i) for i in (queries == own).nonzero()[0])
        before = q[row : row + 1, :, query : query + 1], k[row : row + 1]
        after = before if change is None else change(*before, row, query)
        maps = []
        for one, others in (before, after):
            seen = probabilities(one, others, q.shape[-1] ** -0.5)[0, :, 0].mean(0)
            # A frame may be seen twice.
            clip = seen.new_zeros(frames * tokens).index_add_(0, keys[row], seen)
            spread = tokens / (self.maps.size[0] * self.maps.size[1])
            maps.append(clip.view(frames, tokens, 1) * spread)
        self.maps.add(maps[0], maps[1], modulated=change is not None)


class WordHeats:
    """Where words of a prompt look, before and after its attention is changed.

    Attributes:
        words: Tokens of each.
        before: Attention of all tokens over the run, as it was.
        after: As it was changed to.
    """

    def __init__(self, grid: tuple[int, int], words: Mapping[str, tuple[int, ...]]) -> None:
        self.words = words
        self.before, self.after, self._step = TokenMass(grid), TokenMass(grid), TokenMass(grid)

    def begin(self) -> None:
        """A new step."""
        self._step = TokenMass(self.before.grid)

    def add(self, before: Maps, after: Maps) -> None:
        """One layer's maps of all tokens; those of another grid are passed over."""
        for mass, maps in ((self.before, before), (self.after, after), (self._step, after)):
            mass.add(maps)

    def now(self, shown: tuple[int, ...]) -> dict[str, Float32[np.ndarray, "frames h w"]]:
        """This step's map of every word, each scaled to its own strongest place."""
        return {word: heat(self._of(self._step, word)[list(shown)]) for word in self.words}

    def mean(self) -> dict[str, RegionAttention]:
        """Maps over the whole run, as probabilities."""
        return {
            word: RegionAttention(
                *(self._of(mass, word).float().cpu().numpy() for mass in (self.before, self.after))
            )
            for word in self.words
        }

    def _of(self, mass: TokenMass, word: str) -> Float[Tensor, "frames h w"]:
        return mass.mean()[..., list(self.words[word])].sum(-1)
