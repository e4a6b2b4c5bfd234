"""Regions without masks: what a model's own features hold together, followed through the clip.

VideoGrain, arXiv:2502.17258, App. B: k-means of the inversion's self-attention gives coarse layouts. Here
the features are the keys of that attention, and all frames are clustered together, so a cluster is the same
thing in every frame. Each is offered with the noun of the source prompt its cross-attention answers to most.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from editing.attention.backends import attention
from editing.attention.frames import all_frames
from editing.attention.sites import Site
from editing.clip import Clip, resize
from editing.events import Event, Progress, Stage
from editing.inversion import ddim_invert
from editing.text import Text, spans

if TYPE_CHECKING:
    from editing.backbones import Backbone

# Features are read on a grid of a cell for this many pixels (the paper's 32 x 32 at 512), or of enough cells.
_CELL = 16
_LEAST_CELLS = 256
_RESTARTS = 8
# Words that are no things: what the source prompt is made of beside its nouns.
_NO_NOUNS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "of",
        "in",
        "on",
        "at",
        "by",
        "to",
        "from",
        "with",
        "without",
        "under",
        "over",
        "before",
        "behind",
        "past",
        "near",
        "is",
        "are",
        "was",
        "were",
        "be",
        "left",
        "right",
        "third",
        "another",
        "two",
        "three",
        "one",
        "its",
        "his",
        "her",
        "their",
        "this",
        "that",
        "it",
    ]
)


@dataclass(frozen=True, eq=False)
class Clusters:
    """A clip cut into things, without masks.

    Attributes:
        labels: Cluster of each source pixel, 1 .. count; the same thing has the same number in every frame.
        names: Per cluster the words of the source prompt that fit best, or "".
        fit: Per cluster how much more its pixels attend to those words than other pixels do; 1 is no more.
        pca: The features' first three principal components as RGB, one scale for the clip.
    """

    labels: UInt8[np.ndarray, "frames height width"]
    names: tuple[str, ...]
    fit: tuple[float, ...]
    pca: UInt8[np.ndarray, "frames height width 3"]


@torch.no_grad()
def find_clusters(
    backbone: Backbone,
    clip: Clip,
    source_prompt: str,
    count: int = 3,
    steps: int = 20,
    seed: int = 0,
    size: int | None = None,
) -> Generator[Event, None, Clusters]:
    """Cluster a clip by what a model sees in it on the way to noise; yields events, returns the clusters.

    Args:
        backbone: The model.
        clip: The frames.
        source_prompt: What they show; names are taken from it.
        count: Clusters to find.
        steps: Of the inversion whose second half is looked at.
        seed: For k-means.
        size: Short side worked on, in pixels; default the model's.
    """
    source = clip.read(0, len(clip))
    frames = resize(source, backbone.fit(*clip.size, size))
    text = backbone.embed([source_prompt])
    nouns = find_nouns(text)
    words = _indicator(nouns, text.vectors.shape[1]).to(backbone.device)
    _, *grid = backbone.grid(*frames.shape[:3])
    while grid[0] * grid[1] > max(_LEAST_CELLS, frames.shape[1] * frames.shape[2] // _CELL**2):
        grid = [(side + 1) // 2 for side in grid]
    seen = _Seen(len(frames), tuple(grid))

    yield Stage("inverting")
    look = False

    def attend(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if look:
            seen.add(q, k, words, site)
        return attention(q, k, v) if site.kind == "cross" else all_frames(q, k, v, len(frames))

    def predict(x: Tensor, step):
        nonlocal look
        look = step.index < step.total // 2  # the less noise, the finer the things
        return backbone.predict(x, step, text.vectors, attend=attend)

    for step, _ in ddim_invert(backbone.encode(frames), predict, backbone.schedule.inversion(steps)):
        yield Progress("inverting", step.index + 1, step.total, None)

    features = seen.features()
    cells = kmeans(features.flatten(0, 2), count, torch.Generator().manual_seed(seed)).view(
        features.shape[:3]
    )
    names, fit = name_clusters(cells, seen.words(), tuple(nouns))
    shape = (clip.size[1], clip.size[0])
    return Clusters(_enlarge(cells, count, shape), names, fit, _enlarge_pictures(pca_rgb(features), shape))


class _Seen:
    """Means over layers, heads and steps, on one grid."""

    def __init__(self, frames: int, grid: tuple[int, int]) -> None:
        self._frames, self._grid = frames, grid
        self._features: dict[str, Tensor] = {}
        self._words: Tensor | float = 0.0
        self._count = 0

    def add(self, q: Tensor, k: Tensor, words: Tensor, site: Site) -> None:
        tokens = q.shape[2]
        side = (self._grid[0] * self._grid[1] / tokens) ** 0.5
        grid = round(self._grid[0] / side), round(self._grid[1] / side)
        if grid[0] * grid[1] != tokens or site.block.startswith("mid"):
            return
        if site.kind == "cross":
            own = words.to(q).expand(*k.shape[:2], -1, -1)
            mass = attention(q, k, own).mean(1).float()
            self._words = self._words + self._on_grid(mass, grid)
            self._count += 1
        elif site.block.startswith("up"):
            # Frames and heads side by side; a key says what a token is, to whoever looks for it.
            one = k.transpose(1, 2).flatten(2).float()
            one = self._on_grid(F.normalize(one - one.mean((0, 1)), dim=-1), grid)
            self._features[site.name] = self._features.get(site.name, 0) + one

    def _on_grid(self, x: Float[Tensor, "frames tokens c"], grid: tuple[int, int]) -> Tensor:
        maps = x.movedim(2, 1).unflatten(2, grid)
        return F.interpolate(maps, self._grid, mode="bilinear", align_corners=False).movedim(1, 3)

    def features(self) -> Float[Tensor, "frames h w c"]:
        return torch.cat([*self._features.values()], -1).cpu()

    def words(self) -> Float[Tensor, "frames h w nouns"]:
        return (self._words / max(self._count, 1)).cpu()


def find_nouns(text: Text) -> dict[str, tuple[int, ...]]:
    """Words of a prompt that may name a thing, and their tokens; what repeats gets all of its tokens."""
    import re

    found: dict[str, tuple[int, ...]] = {}
    for match in re.finditer(r"[\w'-]+", text.prompts[0]):
        word = match[0].casefold()
        if word not in _NO_NOUNS:
            found[word] = (*found.get(word, ()), *spans(text, *match.span()))
    return found


def _indicator(nouns: Mapping[str, tuple[int, ...]], length: int) -> Float[Tensor, "length nouns"]:
    columns = torch.zeros(length, max(len(nouns), 1))
    for i, tokens in enumerate(nouns.values()):
        columns[list(tokens), i] = 1
    return columns


def kmeans(
    x: Float[Tensor, "n c"],
    count: int,
    generator: torch.Generator,
    restarts: int = _RESTARTS,
    rounds: int = 50,
) -> Int[Tensor, "n"]:
    """Clusters 0 .. count - 1 of the points, the tightest of some restarts; larger clusters first.

    Starting points are drawn far from each other (k-means++, Arthur and Vassilvitskii 2007).
    """
    best, least = torch.zeros(len(x), dtype=torch.int64), float("inf")
    for _ in range(restarts):
        centres = x[torch.randint(len(x), (1,), generator=generator)]
        while len(centres) < count:
            far = torch.cdist(x, centres).amin(1).square()
            weights = far if far.sum() > 0 else torch.ones_like(far)
            centres = torch.cat([centres, x[torch.multinomial(weights, 1, generator=generator)]])
        nearest = torch.cdist(x, centres).argmin(1)
        for _ in range(rounds):
            for i in range(count):
                if (nearest == i).any():
                    centres[i] = x[nearest == i].mean(0)
            before, nearest = nearest, torch.cdist(x, centres).argmin(1)
            if torch.equal(before, nearest):
                break
        spread = float((x - centres[nearest]).square().sum())
        if spread < least:
            best, least = nearest, spread
    order = torch.bincount(best, minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[best]


def name_clusters(
    cells: Int[Tensor, "frames h w"], mass: Float[Tensor, "frames h w nouns"], nouns: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Give each cluster the free noun it attends to most, against the clip's mean; the best pair first."""
    count = int(cells.max()) + 1
    names, fit = [""] * count, [0.0] * count
    if not nouns:
        return tuple(names), tuple(fit)
    mean = mass.flatten(0, 2).mean(0).clamp(min=1e-12)
    share = torch.stack([mass[cells == i].mean(0) / mean for i in range(count)])
    for _ in range(min(count, len(nouns))):
        cluster, noun = divmod(int(share.argmax()), len(nouns))
        names[cluster], fit[cluster] = nouns[noun], round(float(share[cluster, noun]), 3)
        share[cluster], share[:, noun] = -1, -1
    return tuple(names), tuple(fit)


def pca_rgb(features: Float[Tensor, "frames h w c"]) -> UInt8[np.ndarray, "frames h w 3"]:
    """The first three principal components over the whole clip as red, green and blue."""
    flat = features.flatten(0, 2)
    flat = flat - flat.mean(0)
    _, _, directions = torch.linalg.svd(flat.T @ flat)
    # The sign of a direction is arbitrary: its largest entry is made positive.
    signs = directions[:3].gather(1, directions[:3].abs().argmax(1, keepdim=True)).sign()
    colors = flat @ (directions[:3] * signs).T
    low, high = colors.amin(0), colors.amax(0)
    scaled = (colors - low) / (high - low).clamp(min=1e-8) * 255
    return scaled.round().byte().view(*features.shape[:3], 3).numpy()


def _enlarge(
    cells: Int[Tensor, "frames h w"], count: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "frames height width"]:
    """Labels 1 .. count at another size, with smooth borders."""
    shares = F.one_hot(cells, count).movedim(-1, 1).float()
    return np.concatenate(
        [
            F.interpolate(one[None], size, mode="bilinear", align_corners=False)
            .argmax(1)
            .add(1)
            .byte()
            .numpy()
            for one in shares
        ]
    )


def _enlarge_pictures(
    pictures: UInt8[np.ndarray, "frames h w 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "frames height width 3"]:
    return np.stack([cv2.resize(p, size[::-1], interpolation=cv2.INTER_NEAREST) for p in pictures])
