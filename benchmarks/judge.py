"""Judge what an edit shows: the nearest of all candidates, drawn anew (analysis by
synthesis).

An edit keeps the place and the walk of an actor, not every pixel of its outline: pixel
by pixel, a correct fox a few pixels off its drawing is farther from it than from
something grey. So candidates of an actor are drawn, then moved, scaled and mirrored a
little in front of the background without that actor, and compared as blurred pictures.
The best pose counts, the same in all judged frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import product

import cv2
import numpy as np
import torch
from jaxtyping import Bool

from benchmarks.tasks import Task
from regrain.editing.media.lazy_frames import Frames, LazyFrames
from regrain.editing.motion.flow import warp
from regrain.editing.pipeline.metrics import Mean, Sum, similarity, squares
from storybook import Scene, render
from storybook.rendering import cast_of, center, render_frames, surface_ids

Masks = Bool[np.ndarray | LazyFrames, "frames height width"]
JUDGED = (1, 3, 6)  # frames that are judged
_GRID = 64  # pixels on which pictures are compared
_BLUR = 1.0  # of them
# Shares of the frame's side by which a candidate is moved, and factors by which it is
# scaled.
_RIGHT = (-0.06, -0.03, 0.0, 0.03, 0.06)
_DOWN = (-0.03, 0.0, 0.03)
_SCALES = (0.85, 1.0, 1.15)
Pose = tuple[float, float, float, int]
"""Shares of the side to the right and down, a factor, and -1 if mirrored."""
_POSES: tuple[Pose, ...] = tuple(product(_RIGHT, _DOWN, _SCALES, (1, -1)))
_STILL: Pose = (0.0, 0.0, 1.0, 1)


def psnr(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the peak signal-to-noise ratio over the pixels `where`: dB, at most 100;
    None for no pixel."""
    return _mean_of(squares, a, b, where).decibels


def ssim(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the structural similarity averaged over the pixels `where` and channels;
    None for no pixel."""
    return _mean_of(similarity, a, b, where).value


def _mean_of(add: Callable[..., Sum], a: Frames, b: Frames, where: Masks) -> Mean:
    mean = Mean()
    for frames in zip(a, b, where, strict=True):
        mean.add(add(*frames))
    return mean


def nearest(
    frames: np.ndarray, task: Task, search: bool = True, at: tuple[int, ...] = JUDGED
) -> list[str]:
    """Return for each target of a task the candidate that the edit shows in its place.

    Args:
        frames: uint8 [frames, size, size, 3], edited.
        search: Search for the best pose; otherwise candidates keep the pose of the
            source.
        at: The frames that count.
    """
    found = []
    for target in task.targets:
        actor = target.actor if search else None
        far = {}
        for name, scene in target.candidates.items():
            far[name] = distance(frames, scene, target.place, actor, at)
        found.append(min(far, key=far.__getitem__))
    return found


def distance(
    frames: np.ndarray,
    scene: Scene,
    place: np.ndarray,
    actor: int | None,
    at: tuple[int, ...] = JUDGED,
) -> float:
    """Return the mean squared difference in a place between frames `at` of an edit and
    of a drawn scene.

    An actor is in its best pose.
    """
    judged = list(at)
    seen = _blurred(_scaled(frames[judged], _GRID))
    inside = _scaled(place[judged], _GRID) > 0.5
    least = math.inf
    for pose in (_STILL,) if actor is None else _POSES:
        picture = _blurred(_posed(scene, actor, frames.shape[1], pose, at))
        error = np.square(picture - seen)
        least = min(least, float(error[inside].mean()))
    return least


def _posed(
    scene: Scene, actor: int | None, size: int, pose: Pose, at: tuple[int, ...]
) -> np.ndarray:
    """Draw frames with one actor moved, scaled and mirrored: float32 [frames, 64, 64,
    3].

    Args:
        scene: The scene to draw.
        actor: Number of the actor; None leaves the scene as it is.
        size: Pixels at which it is drawn.
        pose: Change of the actor.
        at: Numbers of the frames.
    """
    side = _GRID
    if actor is None:
        return _scaled(render_frames(scene, size, at), side)
    sprite, alpha, ground = _sprite(scene, actor, size, at, side)
    who = scene.actors[actor]
    shape = (side, side)
    pictures = np.empty_like(ground)
    for i, frame in enumerate(at):
        feet = (center(scene, who, side, frame), who.y * side)
        change = _change_of(pose, feet, side)
        share = cv2.warpAffine(alpha[i], change, shape)[..., None]
        moved = cv2.warpAffine(sprite[i], change, shape)
        pictures[i] = ground[i] * (1 - share) + moved
    return pictures


def _change_of(pose: Pose, feet: tuple[float, float], side: int) -> np.ndarray:
    """Return the 2x3 map that scales about the feet, then moves; in pixels of pictures
    of `side`."""
    right, down, scale_y, mirrored = pose
    scale_x = scale_y * mirrored
    x, y = feet
    dx = x - scale_x * x + right * side
    dy = y - scale_y * y + down * side
    return np.array([[scale_x, 0, dx], [0, scale_y, dy]])


@lru_cache(maxsize=256)
def _sprite(
    scene: Scene, actor: int, size: int, at: tuple[int, ...], side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the actor on black, its share of each pixel, and everything else, in
    frames `at`."""
    alone = dataclasses.replace(scene, actors=(scene.actors[actor],))
    cast = cast_of(alone)
    ids = np.stack([surface_ids(alone, cast, size, frame) for frame in at])
    alpha = (ids > 0).astype(np.float32)
    sprite = render_frames(alone, size, at) * alpha[..., None]
    others = tuple(a for i, a in enumerate(scene.actors) if i != actor)
    ground = _drawn(dataclasses.replace(scene, actors=others), size, at, side)
    return _scaled(sprite, side), _scaled(alpha, side), ground


@lru_cache(maxsize=64)
def _drawn(scene: Scene, size: int, at: tuple[int, ...], side: int) -> np.ndarray:
    return _scaled(render_frames(scene, size, at), side)


def _scaled(frames: np.ndarray, side: int) -> np.ndarray:
    """Return float32 pictures of `side` pixels."""
    shape = (side, side)
    whole = frames.astype(np.float32)
    return np.stack(
        [cv2.resize(frame, shape, interpolation=cv2.INTER_AREA) for frame in whole]
    )


def _blurred(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(f, (0, 0), _BLUR) for f in frames])


def warp_errors(frames: np.ndarray, flow: np.ndarray) -> torch.Tensor:
    """Return the absolute change along the true motion, 0..1: [frames - 1, 3, size,
    size]."""
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return (warp(x[1:], torch.from_numpy(flow)) - x[:-1]).abs()


def warp_error(frames: np.ndarray, flow: np.ndarray) -> float:
    """Return the mean absolute change along the true motion, 0..1."""
    return float(warp_errors(frames, flow).mean())


def reached(frames: np.ndarray, task: Task) -> list[bool]:
    """Return for each frame whether its edited pixels are nearer to the true edit than
    to the source."""
    size = frames.shape[1]
    to_truth = np.square(render(task.truth, size).frames.astype(float) - frames).mean(
        -1
    )
    to_source = np.square(render(task.source, size).frames.astype(float) - frames).mean(
        -1
    )
    nearer = []
    for t, inside in enumerate(task.request.edited_mask):
        nearer.append(bool(to_truth[t][inside].mean() < to_source[t][inside].mean()))
    return nearer


def interval(hits: Sequence[bool]) -> tuple[float, float]:
    """Return the share of hits, and the half width of its 95 % interval (Wilson)."""
    n = len(hits)
    p = float(np.mean(hits))
    z = 1.96
    return p, z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def judge(task: Task, frames: np.ndarray, uncomposited: np.ndarray) -> dict[str, list]:
    """Return every figure of one edit."""
    inside = task.request.edited_mask
    outside = ~inside
    size = frames.shape[1]
    source = render(task.source, size)
    truth = render(task.truth, size)
    asked = [target.asked for target in task.targets]
    found = nearest(frames, task)
    in_pose = nearest(frames, task, search=False)
    leaked = []
    for word, target in zip(found, task.targets, strict=True):
        if target.elsewhere:
            leaked.append(word in target.elsewhere)
    own_error = warp_error(source.frames, source.flow)
    warp_ratio = warp_error(frames, truth.flow) / own_error
    return {
        "right": [word == wanted for word, wanted in zip(found, asked, strict=True)],
        "right_in_pose": [
            word == wanted for word, wanted in zip(in_pose, asked, strict=True)
        ],
        "leaked": leaked,
        "reached": reached(frames, task),
        "inside_psnr": [psnr(truth.frames, frames, inside)],
        "outside_psnr": [psnr(source.frames, frames, outside)],
        "outside_psnr_uncomposited": [psnr(source.frames, uncomposited, outside)],
        "outside_median_error": [median_error(source.frames, uncomposited, outside)],
        "outside_ssim_uncomposited": [ssim(source.frames, uncomposited, outside)],
        "warp_error_ratio": [warp_ratio],
    }


def median_error(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float | None:
    """Return the median absolute difference over the pixels `where`, of 255; None for
    no pixel."""
    if not where.any():
        return None
    return float(np.median(np.abs(a[where].astype(float) - b[where])))


def summary(figures: Sequence[Mapping[str, list]]) -> dict[str, float | None]:
    """Return means over the edits of a row; shares also with the half width of their
    interval."""
    means: dict[str, float | None] = {"edits": len(figures)}
    for name in figures[0]:
        values = []
        for edit in figures:
            values += [value for value in edit[name] if value is not None]
        if name in ("right", "right_in_pose", "leaked"):
            share, half = interval(values) if values else (None, None)
            means[name] = share
            means[f"{name}_95"] = half
        else:
            means[name] = float(np.mean(values)) if values else None
    return means
