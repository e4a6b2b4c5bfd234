"""Find regions without masks by clustering a model's features over all frames.

VideoGrain, arXiv:2502.17258, App. B: k-means of the inversion's self-attention gives
coarse layouts. Here the features are the keys of that attention, and all frames are
clustered together, so a cluster is the same object in every frame. Each is named by the
noun of the source prompt to which its cross-attention responds most.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.schedule import Step
from regrain.editing.diffusion.text import PromptEmbedding, words
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import Clip, resize
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    HeatScope,
    on_grid,
    word_columns,
)
from regrain.editing.recipe.events import Event, Progress, Stage
from regrain.editing.recipe.inversion import ddim_walk

# One cell per 16 x 16 pixels (the paper's 32 x 32 at 512), or finer until there are at
# least 256 cells.
MOST_FRAMES = 64
_CELL = 16
_LEAST_CELLS = 256
_RESTARTS, _ROUNDS = 8, 50  # of k-means
_PIECE = 0.25  # share of the largest piece of a cluster; smaller pieces stay with it
# Words of source prompts that are not nouns.
_NO_NOUNS = {
    "a", "an", "the", "and", "or", "of", "in", "on", "at", "by", "to", "from", "with", "without",
    "under", "over", "before", "behind", "past", "near", "is", "are", "was", "were", "be", "left",
    "right", "third", "another", "two", "three", "one", "its", "his", "her", "their", "this", "that",
    "it",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of a clip.

    Attributes:
        labels: Cluster of each source pixel, 1 .. count; an object has the same number
            in every frame.
        names: Per cluster, the word of the source prompt that fits best, or "".
        fit: Per cluster, the attention of its pixels to that word relative to the mean;
            1 is no difference.
        pca: The features' first three principal components as RGB, one scale for the
            clip.
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
    apart: bool = False,
) -> Generator[Event, None, Clusters]:
    """Cluster a clip by the model's features during inversion; yields events, returns
    the clusters.

    Args:
        source_prompt: Describes the clip; names are taken from it.
        count: Number of clusters.
        steps: Steps of the inversion; features come from its first half.
        seed: Seed of k-means.
        size: Working size of the short side in pixels; default the model's.
        apart: Make pieces of a cluster that never touch, such as two actors, clusters
            of their own.

    Raises:
        RequestError: The clip has more than 64 frames.
    """
    if len(clip) > MOST_FRAMES:
        raise RequestError(
            "clip.frames",
            f"Clusters are found in at most {MOST_FRAMES} frames, but the clip has {len(clip)}. Use fewer "
            "frames, or click the objects and track them.",
        )
    working_size = backbone.fit(*clip.size, size)
    frames = resize(clip.read(0, len(clip)), working_size)
    text = backbone.embed([source_prompt])
    nouns = find_nouns(text)
    indicator = _indicator(nouns, text).to(backbone.device)
    height, width = frames.shape[1:3]
    grid = backbone.grid(len(frames), height, width)
    cells = max(_LEAST_CELLS, height * width // _CELL**2)
    recorder = _Recorder(grid, cells, indicator)

    yield Stage("inverting")

    def predict(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        # Less noise shows finer objects.
        attend = recorder.attend if step.index < step.total // 2 else recorder.plain
        return backbone.predict(x, step, text, Intervention(attend))

    latents = backbone.encode(frames)
    schedule = backbone.schedule.inversion(steps)
    for step, _ in ddim_walk(latents, predict, schedule):
        yield Progress("inverting", step.index + 1, step.total, None)
    return _make_clusters(recorder, tuple(nouns), clip.size, count, seed, apart)


def _make_clusters(
    recorder: _Recorder,
    nouns: tuple[str, ...],
    size: tuple[int, int],
    count: int,
    seed: int,
    apart: bool,
) -> Clusters:
    """Cluster the recorded features; `size` is the clip's (width, height)."""
    features = recorder.features()
    cells = kmeans(features.flatten(0, 2), count, seed).view(features.shape[:3])
    kind = tuple(range(count))
    if apart:
        cells, kind = part(cells)
    names, fit = name_clusters(cells, recorder.words(), nouns, kind)
    labels = _enlarge(cells, len(kind), size[::-1])
    return Clusters(labels, names, fit, _pictures(features, size))


def _pictures(
    features: Float[Tensor, "frames h w c"], size: tuple[int, int]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Show features as colours, at a size (width, height)."""
    pictures = []
    for cells in pca_rgb(features):
        large = cv2.resize(cells, size, interpolation=cv2.INTER_NEAREST)
        pictures.append(large)
    return np.stack(pictures)


class _Recorder:
    """Attention recorded on one grid of at most so many cells: features by layer, and
    attention to nouns."""

    def __init__(
        self, latents: Grid, cells: int, indicator: Float[Tensor, "tokens nouns"]
    ) -> None:
        stride = 1
        while latents.over((1, stride, stride)).tokens > cells:
            stride *= 2
        self._latents = latents
        self._grid = latents.over((1, stride, stride))
        self._indicator = indicator
        self._features: dict[str, Tensor] = {}
        self._heat = AttentionRecorder(HeatScope(frozenset(), self._grid.size))

    def plain(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention across all frames."""
        if site.kind == "cross":
            return attention(q, k, v)
        return across_frames(q, k, v, self._grid.time, "all")

    def attend(self, q: Tensor, k: Tensor, v: Tensor, site: AttentionLayer) -> Tensor:
        """Compute attention across all frames, and record it."""
        size = self._latents.at(site).size
        if site.kind == "cross" and not site.block.startswith("mid"):
            own = self._indicator.to(q).expand(*k.shape[:2], -1, -1)
            self._heat.add(attention(q, k, own).mean(1), size=size)
        elif site.block.startswith("up"):
            # Heads side by side. Keys tell objects apart.
            keys = k.transpose(1, 2).flatten(2).float()
            unit = F.normalize(keys - keys.mean((0, 1)), dim=-1)
            known = self._features.get(site.name, 0)
            self._features[site.name] = known + on_grid(unit, size, self._grid.size)
        return self.plain(q, k, v, site)

    def features(self) -> Float[Tensor, "frames h w c"]:
        return torch.cat([*self._features.values()], -1).cpu()

    def words(self) -> Float[Tensor, "frames h w nouns"]:
        return self._heat.before().cpu()


def maybe_nouns(prompt: str) -> list[str]:
    """Return the words of a prompt that may name an object, each once."""
    return list(
        dict.fromkeys(word.text for word in words(prompt) if word.text not in _NO_NOUNS)
    )


def find_nouns(text: PromptEmbedding) -> dict[str, tuple[int, ...]]:
    """Find the words of a prompt that may name an object, with the tokens of all their
    occurrences."""
    return word_columns(text, maybe_nouns(text.prompts[0]))


def _indicator(
    nouns: Mapping[str, tuple[int, ...]], text: PromptEmbedding
) -> Float[Tensor, "tokens nouns"]:
    columns = torch.zeros(text.vectors.shape[1], max(len(nouns), 1))
    for i, tokens in enumerate(nouns.values()):
        columns[list(tokens), i] = 1
    return columns


def kmeans(x: Float[Tensor, "n c"], count: int, seed: int) -> Int[Tensor, "n"]:
    """Cluster points by k-means++: 0 .. count - 1 per point, the largest cluster
    first."""
    cv2.setRNGSeed(seed)  # OpenCV draws from a global generator
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, _ROUNDS, 0)
    _, nearest, _ = cv2.kmeans(
        x.numpy(), count, None, until, _RESTARTS, cv2.KMEANS_PP_CENTERS
    )  # type: ignore[call-overload]
    found = torch.from_numpy(nearest[:, 0]).long()
    order = torch.bincount(found, minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[found]


def part(
    cells: Int[Tensor, "frames h w"],
) -> tuple[Int[Tensor, "frames h w"], tuple[int, ...]]:
    """Part clusters into pieces that never touch, in space and from frame to frame.

    Pieces of less than a quarter of the largest one stay with it.

    Returns:
        The cells, numbered by piece, and of each piece the cluster it comes from.
    """
    parted = torch.zeros_like(cells)
    kind: list[int] = []
    for cluster in range(int(cells.max()) + 1):
        own = cells == cluster
        first = len(kind)
        parted[own] = first
        pieces = _pieces(own.numpy())
        large = _large_pieces(pieces)
        for number, piece in enumerate(large, first):
            parted[torch.from_numpy(pieces == piece)] = number
        kind += [cluster] * max(1, len(large))
    return parted, tuple(kind)


def _large_pieces(pieces: Int[np.ndarray, "frames h w"]) -> list[int]:
    """Return the pieces, numbered from 1, of at least a quarter of the largest one, in
    falling order."""
    sizes = np.bincount(pieces.ravel())[1:]
    falling = np.argsort(-sizes, kind="stable")
    return [int(n) + 1 for n in falling if sizes[n] >= _PIECE * sizes.max()]


def _pieces(mask: Bool[np.ndarray, "frames h w"]) -> Int[np.ndarray, "frames h w"]:
    """Number the connected pieces of a mask over all frames, from 1; 0 outside."""
    out = np.zeros(mask.shape, np.int64)
    # of each piece of a frame, another one that it is connected with, or itself
    roots = [0]
    for frame, own in enumerate(out):
        known = len(roots) - 1
        inside = mask[frame].astype(np.uint8)
        found, numbers = cv2.connectedComponents(inside, connectivity=8)
        own[:] = np.where(numbers > 0, numbers + known, 0)
        roots += range(known + 1, known + found)
        if frame:
            _connect(roots, own, out[frame - 1])
    ends = [_root(roots, n) for n in range(len(roots))]
    _, numbers = np.unique(ends, return_inverse=True)
    return numbers[out]


def _root(roots: Sequence[int], n: int) -> int:
    """Follow connections from a piece to the one at which they end."""
    while roots[n] != n:
        n = roots[n]
    return n


def _connect(
    roots: list[int],
    own: Int[np.ndarray, "h w"],
    last: Int[np.ndarray, "h w"],
) -> None:
    """Connect the pieces of a frame with those of the frame before that they touch."""
    both = (own > 0) & (last > 0)
    touching = set(zip(own[both].tolist(), last[both].tolist(), strict=True))
    for here, before in touching:
        roots[_root(roots, here)] = _root(roots, before)


def name_clusters(
    cells: Int[Tensor, "frames h w"],
    mass: Float[Tensor, "frames h w nouns"],
    nouns: tuple[str, ...],
    kind: tuple[int, ...] = (),
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Assign each cluster the unused noun it attends to most relative to the mean, best
    pairs first.

    With `kind`, a cluster that gets no noun takes that of another one of its kind: two
    cats, one word.
    """
    count = int(cells.max()) + 1
    names = [""] * count
    fit = [0.0] * count
    if not nouns:
        return tuple(names), tuple(fit)
    mean = mass.flatten(0, 2).mean(0).clamp(min=1e-12)
    share = torch.stack(
        [mass[cells == cluster].mean(0) / mean for cluster in range(count)]
    )
    for cluster, noun, found in _best_pairs(share):
        names[cluster] = nouns[noun]
        fit[cluster] = round(found, 3)
    for cluster, own in enumerate(kind):
        named = _named_alike(own, kind, names)
        if not names[cluster] and named is not None:
            names[cluster] = names[named]
            fit[cluster] = fit[named]
    return tuple(names), tuple(fit)


def _best_pairs(
    share: Float[Tensor, "clusters nouns"],
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs with the largest shares, best first; none has a cluster or a noun
    of one before."""
    left = share.clone()
    for _ in range(min(left.shape)):
        cluster, noun = divmod(int(left.argmax()), left.shape[1])
        yield cluster, noun, float(left[cluster, noun])
        left[cluster] = -1
        left[:, noun] = -1


def _named_alike(kind: int, kinds: Sequence[int], names: Sequence[str]) -> int | None:
    """Find the first cluster of a kind that has a name."""
    for cluster, own in enumerate(kinds):
        if own == kind and names[cluster]:
            return cluster
    return None


def pca_rgb(
    features: Float[Tensor, "frames h w c"],
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Show the first three principal components of the whole clip as red, green and
    blue, 0..255."""
    flat = features.flatten(0, 2)
    flat = flat - flat.mean(0)
    _, _, directions = torch.linalg.svd(flat.T @ flat)
    first = directions[:3]
    # The sign of a direction is arbitrary: its largest entry is made positive.
    signs = first.gather(1, first.abs().argmax(1, keepdim=True)).sign()
    colors = flat @ (first * signs).T
    low = colors.amin(0)
    high = colors.amax(0)
    scaled = (colors - low) / (high - low).clamp(min=1e-8) * 255
    return scaled.round().byte().view(*features.shape[:3], 3).numpy()


def _enlarge(
    cells: Int[Tensor, "frames h w"], count: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "frames height width"]:
    """Turn cells into labels 1 .. count at another size, with smooth borders."""
    labels = []
    for shares in F.one_hot(cells, count).movedim(-1, 1).float():
        wide = F.interpolate(shares[None], size, mode="bilinear", align_corners=False)
        labels.append(wide.argmax(1).add(1).byte().numpy())
    return np.concatenate(labels)
