"""Crispness of an edit: sharpness, fidelity of its outlines, and remains of the old
ones."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from benchmarks.judge import JUDGED, best_pose, posed
from benchmarks.tasks import Target, Task
from storybook import render

_EDGE = (60, 140)  # Canny's thresholds: what an eye takes for a line in these drawings
# pixels by which the nearest pose is moved once more, since poses are coarse
_SEARCH = 3
_CLEAR = 3  # pixels from a new outline, beyond which none is expected
_FEWEST = 40  # pixels of an old outline, below which a ratio says nothing


def crispness(task: Task, frames: np.ndarray) -> dict[str, list]:
    """Return every figure of one edit."""
    truth = render(task.truth, frames.shape[1]).frames
    return {
        "sharpness": [sharpness(frames, truth, task.request.edited_mask)],
        "outline_f": [outline_fidelity(frames, target) for target in task.targets],
        "old_outline": [old_outline(frames, task)],
    }


def sharpness(frames: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float | None:
    """Return the mean gradient magnitude of an edit over that of the true edit; None
    for no pixel."""
    if not where.any():
        return None
    return float(_slope(frames)[where].mean() / _slope(truth)[where].mean())


def outline_fidelity(frames: np.ndarray, target: Target) -> float:
    """Return the F-score, 0..1, of the edit's edges within 1 pixel of those that were
    asked for.

    They are drawn in the pose that comes nearest.
    """
    scene = target.candidates[target.asked]
    pose = best_pose(frames, scene, target.place, target.actor)
    drawn = posed(scene, target.actor, frames.shape[1], pose)
    judged = list(JUDGED)
    made = _edges(frames[judged])
    true = _edges(drawn.round().clip(0, 255).astype(np.uint8))
    return _best_f_score(made, true, target.place[judged])


def _best_f_score(made: np.ndarray, true: np.ndarray, where: np.ndarray) -> float:
    """Return the F-score of edges, with the true ones moved by some pixels to where
    they fit best."""
    near = _widened(made, 1)
    scores = []
    for move in product(range(-_SEARCH, _SEARCH + 1), repeat=2):
        moved = np.roll(true, move, (1, 2))
        score = _f_score(made & where, near, moved & where)
        scores.append(score)
    return max(scores)


def old_outline(frames: np.ndarray, task: Task) -> float | None:
    """Return edge strength along the old outlines, over that of the true edit there,
    away from new outlines.

    1 is right, more is a ghost of what was there; None where outlines stay, as with a
    new colour.
    """
    size = frames.shape[1]
    before = render(task.source, size)
    after = render(task.truth, size)
    there = _contour(before.labels) & ~_widened(_contour(after.labels), _CLEAR)
    if there.sum() < _FEWEST:
        return None
    return float(_slope(frames)[there].mean() / _slope(after.frames)[there].mean())


def _f_score(made: np.ndarray, near_made: np.ndarray, true: np.ndarray) -> float:
    if not made.any() or not true.any():
        return 0.0
    precision = _widened(true, 1)[made].mean()
    recall = near_made[true].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _slope(frames: np.ndarray) -> np.ndarray:
    """Return the gradient magnitude of the luma, per pixel, of 255."""
    slopes = np.empty(frames.shape[:3], np.float32)
    for t, frame in enumerate(frames):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        across = cv2.Sobel(grey, -1, 1, 0, scale=1 / 8)
        down = cv2.Sobel(grey, -1, 0, 1, scale=1 / 8)
        slopes[t] = np.hypot(across, down)
    return slopes


def _edges(frames: np.ndarray) -> np.ndarray:
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack([cv2.Canny(grey, *_EDGE) > 0 for grey in greys])


def _contour(labels: np.ndarray) -> np.ndarray:
    """Return the pixels beside another label, on both sides."""
    across = labels[:, :, 1:] != labels[:, :, :-1]
    down = labels[:, 1:] != labels[:, :-1]
    beside = np.zeros(labels.shape, bool)
    beside[:, :, 1:] |= across
    beside[:, :, :-1] |= across
    beside[:, 1:] |= down
    beside[:, :-1] |= down
    return beside


def _widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    return np.stack([cv2.dilate(m.astype(np.uint8), kernel) > 0 for m in mask])
