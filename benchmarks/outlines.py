"""How crisp an edit is: sharpness, the fidelity of its outlines, and what is left of the old ones."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from benchmarks.judge import JUDGED, best_pose, posed
from benchmarks.tasks import Target, Task
from storybook import render

_EDGE = (60, 140)  # Canny's thresholds: what an eye takes for a line in these drawings
_SEARCH = 3  # pixels by which the nearest pose is moved once more, since poses are coarse
_CLEAR = 3  # pixels from a new outline, beyond which none is expected
_FEWEST = 40  # pixels of an old outline, below which a ratio says nothing


def crispness(task: Task, frames: np.ndarray) -> dict[str, list]:
    """Every figure of one edit."""
    truth = render(task.truth, frames.shape[1]).frames
    return {
        "sharpness": [sharpness(frames, truth, task.request.edited_mask)],
        "outline_f": [outline_fidelity(frames, target) for target in task.targets],
        "old_outline": [old_outline(frames, task)],
    }


def sharpness(frames: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float | None:
    """Mean gradient magnitude of an edit over that of the true edit; 1 is right, None for no pixel."""
    if not where.any():
        return None
    return float(_slope(frames)[where].mean() / _slope(truth)[where].mean())


def outline_fidelity(frames: np.ndarray, target: Target) -> float:
    """F-score of the edit's edges within 1 pixel of those of the nearest pose of what was asked, 0..1."""
    scene, actor, size = target.candidates[target.asked], target.actor, frames.shape[1]
    pose = best_pose(frames, scene, target.place, actor)
    drawn = posed(scene, actor, size, pose).round().clip(0, 255).astype(np.uint8)
    where = target.place[list(JUDGED)]
    made, true = _edges(frames[list(JUDGED)]), _edges(drawn)
    near = _widened(made, 1)
    moves = product(range(-_SEARCH, _SEARCH + 1), repeat=2)
    return max(_f_score(made & where, near, np.roll(true, move, (1, 2)) & where) for move in moves)


def old_outline(frames: np.ndarray, task: Task) -> float | None:
    """Edge strength along the old outlines, over that of the true edit there, away from new outlines.

    1 is right, more is a ghost of what was there; None where outlines stay, as with a new colour.
    """
    before, after = render(task.source, frames.shape[1]), render(task.truth, frames.shape[1])
    there = _contour(before.labels) & ~_widened(_contour(after.labels), _CLEAR)
    if there.sum() < _FEWEST:
        return None
    return float(_slope(frames)[there].mean() / _slope(after.frames)[there].mean())


def _f_score(made: np.ndarray, near_made: np.ndarray, true: np.ndarray) -> float:
    if not made.any() or not true.any():
        return 0.0
    precision, recall = _widened(true, 1)[made].mean(), near_made[true].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def _slope(frames: np.ndarray) -> np.ndarray:
    """Gradient magnitude of the luma, per pixel, of 255."""
    out = np.empty(frames.shape[:3], np.float32)
    for t, frame in enumerate(frames):
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
        out[t] = np.hypot(
            cv2.Sobel(grey, -1, 1, 0, scale=1 / 8), cv2.Sobel(grey, -1, 0, 1, scale=1 / 8)
        )
    return out


def _edges(frames: np.ndarray) -> np.ndarray:
    return np.stack([cv2.Canny(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), *_EDGE) > 0 for f in frames])


def _contour(labels: np.ndarray) -> np.ndarray:
    """Pixels beside another label, on both sides."""
    out = np.zeros(labels.shape, bool)
    across, down = labels[:, :, 1:] != labels[:, :, :-1], labels[:, 1:] != labels[:, :-1]
    out[:, :, 1:] |= across
    out[:, :, :-1] |= across
    out[:, 1:] |= down
    out[:, :-1] |= down
    return out


def _widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1,) * 2)
    return np.stack([cv2.dilate(m.astype(np.uint8), kernel) > 0 for m in mask])
