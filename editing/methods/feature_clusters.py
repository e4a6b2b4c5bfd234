"""Find regions without masks by clustering a model's features over all frames.

VideoGrain, arXiv:2502.17258, App. B: k-means of the inversion's self-attention gives
coarse layouts. Here the features are the keys of that attention, and all frames are
clustered together, so a cluster is the same object in every frame. Each is named by the
noun of the source prompt to which its cross-attention responds most.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from regrain.editing.attention.backends import attention
from regrain.editing.attention.frames import over_frames
from regrain.editing.attention.layers import AttentionLayer, Grid
from regrain.editing.diffusion.schedule import Answer, Step
from regrain.editing.diffusion.text import PromptEmbedding, words
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import Clip, resize
from regrain.editing.media.lazy_frames import LabelFrames, RgbFrames, Shape
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.recipe.attention_recorder import (
    AttentionRecorder,
    Columns,
    HeatScope,
    on_grid,
    word_columns,
)
from regrain.editing.recipe.events import Progress, Stage, Steps
from regrain.editing.recipe.inversion import ddim_walk
from regrain.editing.storage.by_name import Tensors

# One cell per 16 x 16 pixels (the paper's 32 x 32 at 512), or finer until there are at
# least 256 cells.
MOST_FRAMES = 64
_CELL = 16
_LEAST_CELLS = 256
_RESTARTS, _ROUNDS = 8, 50  # of k-means
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

    labels: LabelFrames
    names: tuple[str, ...]
    fit: tuple[float, ...]
    pca: RgbFrames


@torch.no_grad()
def find_clusters(
    backbone: Backbone,
    clip: Clip,
    source_prompt: str,
    count: int = 3,
    steps: int = 20,
    seed: int = 0,
    size: int | None = None,
) -> Steps[Clusters]:
    """Cluster a clip by the model's features during inversion; yields events, returns
    the clusters.

    Args:
        source_prompt: Describes the clip; names are taken from it.
        count: Number of clusters.
        steps: Steps of the inversion; features come from its first half.
        seed: Seed of k-means.
        size: Working size of the short side in pixels; default the model's.

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
    indicator = torch.zeros(text.vectors.shape[1], max(len(nouns), 1))
    for column, tokens in enumerate(nouns.values()):
        indicator[list(tokens), column] = 1
    height, width = frames.shape[1:3]
    grid = backbone.grid(len(frames), height, width)
    cells = max(_LEAST_CELLS, height * width // _CELL**2)
    recorder = _Recorder(grid, cells, indicator.to(backbone.device))

    yield Stage("inverting")

    def predict(x: Tensor, step: Step) -> Answer:
        # Less noise shows finer objects.
        attend = recorder.attend if step.index < step.total // 2 else recorder.plain
        return backbone.predict(x, step, text, Intervention(attend))

    latents = backbone.encode(frames)
    schedule = backbone.schedule.inversion(steps)
    for step, _ in ddim_walk(latents, predict, schedule):
        yield Progress("inverting", step.index + 1, step.total)
    features = recorder.features()
    found = kmeans(features.flatten(0, 2), count, seed).view(features.shape[:3])
    names, fit = name_clusters(found, recorder.words(), tuple(nouns))
    pictures = [
        cv2.resize(colors, clip.size, interpolation=cv2.INTER_NEAREST)
        for colors in pca_rgb(features)
    ]
    labels = _enlarge(found, count, clip.size[::-1])
    return Clusters(labels, names, fit, np.stack(pictures))


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
        self._features: Tensors = {}
        self._heat = AttentionRecorder(HeatScope(frozenset(), self._grid.size))
        self.plain = over_frames(self._grid.time, "all")

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
        return self._heat.means()[0].cpu()


def find_nouns(text: PromptEmbedding) -> Columns:
    """Find the words of a prompt that may name an object, with the tokens of all their
    occurrences."""
    known = (word.text for word in words(text.prompts[0]))
    return word_columns(
        text, [word for word in dict.fromkeys(known) if word not in _NO_NOUNS]
    )


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


def name_clusters(
    cells: Int[Tensor, "frames h w"],
    mass: Float[Tensor, "frames h w nouns"],
    nouns: tuple[str, ...],
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Assign each cluster the unused noun it attends to most relative to the mean, best
    pairs first."""
    count = int(cells.max()) + 1
    names = [""] * count
    fit = [0.0] * count
    if not nouns:
        return tuple(names), tuple(fit)
    mean = mass.flatten(0, 2).mean(0).clamp(min=1e-12)
    share = torch.stack(
        [mass[cells == cluster].mean(0) / mean for cluster in range(count)]
    )
    for _ in range(min(share.shape)):
        cluster, noun = divmod(int(share.argmax()), share.shape[1])
        names[cluster] = nouns[noun]
        fit[cluster] = round(float(share[cluster, noun]), 3)
        share[cluster] = -1
        share[:, noun] = -1
    return tuple(names), tuple(fit)


def pca_rgb(
    features: Float[Tensor, "frames h w c"],
) -> RgbFrames:
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


def _enlarge(cells: Int[Tensor, "frames h w"], count: int, size: Shape) -> LabelFrames:
    """Turn cells into labels 1 .. count at another size, with smooth borders."""
    labels = []
    for shares in F.one_hot(cells, count).movedim(-1, 1).float():
        wide = F.interpolate(shares[None], size, mode="bilinear", align_corners=False)
        labels.append(wide.argmax(1).add(1).byte().numpy())
    return np.concatenate(labels)
