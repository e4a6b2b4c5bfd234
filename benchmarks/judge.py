"""Judge what an edit shows: the nearest of all candidates, drawn anew (analysis by synthesis).

An edit keeps the place and the walk of an actor, not every pixel of its outline: pixel by pixel, a correct
fox a few pixels off its drawing is farther from it than from something grey. So candidates of an actor are
drawn, then moved, scaled and mirrored a little in front of the background without that actor, and compared as
blurred pictures. The best pose counts, the same in all judged frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product

import cv2
import numpy as np
import torch

from benchmarks.tasks import Task
from regrain.editing.motion.flow import warp
from regrain.editing.pipeline.metrics import psnr, ssim
from storybook import Scene, render
from storybook.world import cast_of, center, render_frames, surface_ids

JUDGED = (1, 3, 6)  # frames that are judged
_GRID = 64  # pixels on which pictures are compared
_BLUR = 1.0  # of them
# Shares of the frame's side by which a candidate is moved, and factors by which it is scaled.
_RIGHT, _DOWN, _SCALES = (-0.06, -0.03, 0.0, 0.03, 0.06), (-0.03, 0.0, 0.03), (0.85, 1.0, 1.15)
Pose = tuple[float, float, float, int]
"""Shares of the side to the right and down, a factor, and -1 if mirrored."""
_POSES: tuple[Pose, ...] = tuple(product(_RIGHT, _DOWN, _SCALES, (1, -1)))
STILL: Pose = (0.0, 0.0, 1.0, 1)


def nearest(
    frames: np.ndarray, task: Task, search: bool = True, at: tuple[int, ...] = JUDGED
) -> list[str]:
    """For each target of a task, the candidate that the edit shows in its place.

    Args:
        frames: uint8 [frames, size, size, 3], edited.
        search: Search for the best pose; otherwise candidates keep the pose of the source.
        at: The frames that count.
    """
    out = []
    for target in task.targets:
        actor = target.actor if search else None
        far = {
            name: distance(frames, scene, target.place, actor, at)
            for name, scene in target.candidates.items()
        }
        out.append(min(far, key=far.__getitem__))
    return out


def distance(
    frames: np.ndarray,
    scene: Scene,
    place: np.ndarray,
    actor: int | None,
    at: tuple[int, ...] = JUDGED,
) -> float:
    """Mean squared difference between the edit and a drawn scene in a place, for an actor in its best pose.

    Only the frames `at` count.
    """
    return min(far for far, _ in _distances(frames, scene, place, actor, at))


def best_pose(
    frames: np.ndarray,
    scene: Scene,
    place: np.ndarray,
    actor: int | None,
    at: tuple[int, ...] = JUDGED,
) -> Pose:
    """The pose of an actor that comes nearest to an edit."""
    return min(_distances(frames, scene, place, actor, at))[1]


def _distances(
    frames: np.ndarray, scene: Scene, place: np.ndarray, actor: int | None, at: tuple[int, ...]
) -> Iterator[tuple[float, Pose]]:
    seen, inside = _blurred(_scaled(frames[list(at)], _GRID)), _scaled(place[list(at)], _GRID) > 0.5
    for pose in _POSES if actor is not None else (STILL,):
        picture = _blurred(posed(scene, actor, frames.shape[1], pose, at, _GRID))
        yield float(np.square(picture - seen)[inside].mean()), pose


def posed(
    scene: Scene,
    actor: int | None,
    size: int,
    pose: Pose,
    at: tuple[int, ...] = JUDGED,
    grid: int | None = None,
) -> np.ndarray:
    """The frames `at` with one actor moved, scaled and mirrored, as float32 pictures.

    Args:
        scene: What is drawn.
        actor: Which; None leaves the scene as it is.
        size: Pixels at which it is drawn.
        pose: Where the actor is.
        at: Frames.
        grid: Pixels of the pictures; None is `size`.
    """
    side = grid or size
    if actor is None:
        return _scaled(render_frames(scene, size, at), side)
    sprite, alpha, ground = _sprite(scene, actor, size, at, side)
    right, down, scale, mirrored = pose
    who, out, sx = scene.actors[actor], np.empty_like(ground), scale * mirrored
    for i, t in enumerate(at):
        x, y = center(scene, who, side, t), who.y * side
        matrix = np.array(
            [[sx, 0, x - sx * x + right * side], [0, scale, y - scale * y + down * side]]
        )
        there = cv2.warpAffine(alpha[i], matrix, (side, side))[..., None]
        out[i] = ground[i] * (1 - there) + cv2.warpAffine(sprite[i], matrix, (side, side))
    return out


@lru_cache(maxsize=256)
def _sprite(
    scene: Scene, actor: int, size: int, at: tuple[int, ...], side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The judged frames: the actor on black, its share of each pixel, and everything else."""
    alone = dataclasses.replace(scene, actors=(scene.actors[actor],))
    others = tuple(a for i, a in enumerate(scene.actors) if i != actor)
    ids = np.stack([surface_ids(alone, cast_of(alone), size, frame) for frame in at])
    alpha = (ids > 0).astype(np.float32)
    ground = _drawn(dataclasses.replace(scene, actors=others), size, at, side)
    return (
        _scaled(render_frames(alone, size, at) * alpha[..., None], side),
        _scaled(alpha, side),
        ground,
    )


@lru_cache(maxsize=64)
def _drawn(scene: Scene, size: int, at: tuple[int, ...], side: int) -> np.ndarray:
    return _scaled(render_frames(scene, size, at), side)


def _scaled(frames: np.ndarray, side: int) -> np.ndarray:
    """float32 pictures of `side` pixels."""
    shape = (side, side)
    return np.stack(
        [cv2.resize(f.astype(np.float32), shape, interpolation=cv2.INTER_AREA) for f in frames]
    )


def _blurred(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(f, (0, 0), _BLUR) for f in frames])


def warp_errors(frames: np.ndarray, flow: np.ndarray) -> torch.Tensor:
    """Absolute change along the true motion, 0..1: [frames - 1, 3, size, size]."""
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return (warp(x[1:], torch.from_numpy(flow)) - x[:-1]).abs()


def warp_error(frames: np.ndarray, flow: np.ndarray) -> float:
    """Its mean."""
    return float(warp_errors(frames, flow).mean())


def reached(frames: np.ndarray, task: Task) -> list[bool]:
    """For each frame, whether its edited pixels are nearer to the true edit than to the source."""
    size, inside = frames.shape[1], task.request.edited_mask
    errors = [
        np.square(render(scene, size).frames.astype(float) - frames).mean(-1)
        for scene in (task.truth, task.source)
    ]
    return [bool(a[w].mean() < b[w].mean()) for a, b, w in zip(*errors, inside, strict=True)]


def interval(hits: Sequence[bool]) -> tuple[float, float]:
    """Share of hits, and the half width of its 95 % interval (Wilson)."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    return p, z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def judge(task: Task, frames: np.ndarray, uncomposited: np.ndarray) -> dict[str, list]:
    """Every figure of one edit."""
    shown, still, outside = (
        nearest(frames, task),
        nearest(frames, task, False),
        ~task.request.edited_mask,
    )
    drawn, truth = render(task.source, frames.shape[1]), render(task.truth, frames.shape[1])
    own = warp_error(drawn.frames, drawn.flow)
    return {
        "right": [f == t.asked for f, t in zip(shown, task.targets, strict=True)],
        "right_in_pose": [f == t.asked for f, t in zip(still, task.targets, strict=True)],
        "leaked": [
            f in t.elsewhere for f, t in zip(shown, task.targets, strict=True) if t.elsewhere
        ],
        "reached": reached(frames, task),
        "inside_psnr": [psnr(truth.frames, frames, task.request.edited_mask)],
        "outside_psnr": [psnr(drawn.frames, frames, outside)],
        "outside_psnr_uncomposited": [psnr(drawn.frames, uncomposited, outside)],
        "outside_median_error": [median_error(drawn.frames, uncomposited, outside)],
        "outside_ssim_uncomposited": [ssim(drawn.frames, uncomposited, outside)],
        "warp_error_ratio": [warp_error(frames, truth.flow) / own],
    }


def median_error(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float | None:
    """Median absolute difference over the pixels `where`, of 255; None for no pixel."""
    return float(np.median(np.abs(a[where].astype(float) - b[where]))) if where.any() else None


def summary(figures: Sequence[Mapping[str, list]]) -> dict[str, float | None]:
    """Means over the edits of a row; shares also with the half width of their interval."""
    out: dict[str, float | None] = {"edits": len(figures)}
    for name in figures[0]:
        values = [v for f in figures for v in f[name] if v is not None]
        if name in ("right", "right_in_pose", "leaked"):
            out[name], out[name + "_95"] = interval(values) if values else (None, None)
        else:
            out[name] = float(np.mean(values)) if values else None
    return out
