"""Drawings for training the UNet, as latents with the truth of every place, drawn anew
in turn.

A pool holds the newest shards. As training goes on the oldest give way to drawings
never seen before, so that the cores train instead of draw and no drawing is used more
than about eight times. Which drawings a pool holds follows from the number of samples
done, so a resumed run goes on with the same ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from storybook import dataset
from storybook.rendering import cast_of, owners, render_frames, surface_ids
from storybook.training.runs import Each, worker, workers
from storybook.world import KINDS, Scene

log = logging.getLogger(__name__)
SHARD = 1000  # drawings
SHARDS = 32
USES = 8  # of a drawing before it gives way
CELL = 8  # pixels of a latent's cell
FAR = 2.0  # cells, the largest distance to an outline that is told apart
_SIZE = 128


class Truth(NamedTuple):
    """The drawn world's knowledge of every cell of a latent.

    Attributes:
        kind: int64 [n, 16, 16], 0 background, else 1 + index in `KINDS`.
        part: int64 [n, 16, 16], index in `draw.PARTS`.
        outline: float32 [n, 1, 16, 16], cells to the nearest outline of an actor,
            positive inside, at most `FAR`.
        middle: float32 [n, 2, 16, 16], (x, y) from the cell to the middle of its actor,
            in frame widths; 0 on the background. It tells actors apart.
    """

    kind: Tensor
    part: Tensor
    outline: Tensor
    middle: Tensor

    def to(self, device: torch.device) -> Truth:
        """Return it on a device."""
        return Truth(*(part.to(device) for part in self))


def truth_of(scene: Scene, frame: int, size: int = _SIZE) -> dict[str, np.ndarray]:
    """Return the truth of one frame in small whole numbers, as shards keep it; see
    `read_truth`."""
    cast = cast_of(scene)
    ids = surface_ids(scene, cast, size, frame)
    actor_of, part_of = owners(cast)
    label = actor_of[ids]
    part = part_of[ids]
    kinds = [1 + KINDS.index(actor.kind) for actor in scene.actors]
    kind = np.array([0, *kinds], np.uint8)[label]

    outline, middle = _distances(label, len(scene.actors))
    outline = np.clip(outline / CELL, -FAR, FAR) * _OUTLINE_STEPS
    outline = outline.round().astype(np.int8)
    middle = np.clip(middle, -1, 1) * _MIDDLE_STEPS
    middle = middle.round().astype(np.int8)

    cells = slice(CELL // 2, None, CELL)
    return {
        "kind": kind[cells, cells],
        "part": part[cells, cells],
        "outline": outline[None, cells, cells],
        "middle": middle[:, cells, cells],
    }


# Whole numbers per cell, and per frame width, in which shards keep distances.
_OUTLINE_STEPS = 60
_MIDDLE_STEPS = 120


def _distances(label: np.ndarray, actors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each pixel to an outline, and its way to the middle of its
    actor.

    They are in pixels, positive inside, float32 [size, size], and in frame widths,
    float32 [2, size, size].
    """
    size = len(label)
    outline = -_depth(label == 0)
    middle = np.zeros((2, size, size), np.float32)
    y, x = np.mgrid[:size, :size]
    for number in range(1, actors + 1):
        own = label == number
        if not own.any():
            continue
        outline[own] = _depth(own)[own]
        to_right = x[own].mean() - x[own]
        down = y[own].mean() - y[own]
        middle[:, own] = np.stack([to_right, down]) / size
    return outline, middle


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel of a mask to its edge, float32."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)


def read_truth(kept: dict[str, Tensor], rows: Tensor) -> Truth:
    """Return the truth of some rows of stacked results of `truth_of`."""
    return Truth(
        kept["kind"][rows].long(),
        kept["part"][rows].long(),
        kept["outline"][rows].float() / _OUTLINE_STEPS,
        kept["middle"][rows].float() / _MIDDLE_STEPS,
    )


def stack(truths: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Stack results of `truth_of`."""
    return {
        key: torch.from_numpy(np.stack([t[key] for t in truths])) for key in truths[0]
    }


def draw_shard(
    number: int, encode: Callable[[np.ndarray], Tensor], each: Each = map
) -> dict[str, Tensor]:
    """Draw the latents and the truth of a shard; `each` calls a function with each of
    some scenes."""
    pictures, truths = zip(*each(_drawing, scenes_of(number)), strict=True)
    return {"z": encode(np.stack(pictures)), **stack([*truths])}


def _drawing(scene: Scene) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw one frame of a scene, and its truth."""
    frame = int(np.random.default_rng(scene.seed).integers(scene.frames))
    return render_frames(scene, _SIZE, (frame,))[0], truth_of(scene, frame)


def scenes_of(number: int) -> list[Scene]:
    """Return the scenes of a shard."""
    first = dataset.FIRST_TRAINING_SEED + number * SHARD
    return [dataset.training_scene(seed) for seed in range(first, first + SHARD)]


class Pool:
    """The newest shards, kept in a folder.

    Args:
        folder: Folder of the shards.
        encode: Returns raw latents, float16, of pictures.
        tokens: Returns token ids of the captions of some scenes.
        shards: Number of shards held at a time.
        each: Calls a function with each of some scenes, here or in other processes.
    """

    def __init__(
        self,
        folder: Path,
        encode: Callable[[np.ndarray], Tensor],
        tokens: Callable[[list[Scene]], dict[str, Tensor]],
        shards: int = SHARDS,
        each: Each = map,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._encode = encode
        self._tokens = tokens
        self._shards = shards
        self._each = each
        self._held: dict[int, dict[str, Tensor]] = {}
        self._rows: dict[str, Tensor] = {}

    def wanted(self, done: int) -> range:
        """Return the shards wanted after `done` samples; two change at a time, one for
        each worker."""
        first = 2 * (done // (2 * USES * SHARD))
        return range(first, first + self._shards)

    def at(self, done: int) -> dict[str, Tensor]:
        """Return latents, truth and token ids after `done` samples, after drawing what
        is missing.

        Workers share out the shards that have to be drawn.
        """
        wanted = self.wanted(done)
        missing = [number for number in wanted if number not in self._held]
        if not missing:
            return self._rows
        for number in missing[worker() :: workers()]:
            self._draw(number)
        if workers() > 1:
            dist.barrier()
        for number in missing:
            tokens = self._tokens(scenes_of(number))
            self._held[number] = load_file(self._path(number)) | tokens
        for number in [*self._held]:
            if number not in wanted:
                del self._held[number]
                self._path(number).unlink(missing_ok=True)
        shards = [self._held[number] for number in wanted]
        self._rows = {
            key: torch.cat([shard[key] for shard in shards]) for key in shards[0]
        }
        return self._rows

    def _draw(self, number: int) -> None:
        """Draw a shard unless an earlier run has."""
        path = self._path(number)
        if path.exists():
            return
        partial = path.with_suffix(".partial")
        save_file(draw_shard(number, self._encode, self._each), partial)
        partial.replace(path)
        log.info("drew shard %d", number)

    def _path(self, number: int) -> Path:
        return self._folder / f"shard_{number:06d}.safetensors"
