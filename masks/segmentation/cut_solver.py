"""Solvers of cuts: the smoothest division of a picture, and ways through it that avoid
edges.

Everything here is a function of arrays on one small grid.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from jaxtyping import Float32

from regrain.editing.media.labels import around_of
from regrain.editing.media.lazy_frames import Mask
from regrain.masks.segmentation.cut_tables import Soft

SURE = 30.0  # evidence by which a click decides
_STEP = (
    # of both iterations: its square times 8, the squared norm of the differences, is
    # below 1
    0.35
)
_ITERATIONS = 40
_TURNS = 12  # how often a shortest way may turn
_FAR = np.float32(1e6)
_DIAGONAL = np.float32(2**0.5 - 1)  # what a diagonal step costs beyond a straight one


def divide(
    evidence: Soft,
    right: Float32[np.ndarray, "h w-1"],
    down: Float32[np.ndarray, "h-1 w"],
    start: Soft,
) -> Soft:
    """Divide a picture into inside (1) and outside (0) where the evidence says so and
    edges are cheap.

    Minimises -sum(evidence x) + sum(right |dx| + down |dy|) over x from 0 to 1.

    Args:
        evidence: Logarithm of the odds that a pixel is inside.
        right: Cost of parting a pixel from the one to its right.
        down: Cost of parting a pixel from the one below it.
        start: Where to begin, 0..1: the better, the fewer iterations are needed.

    Source: Chambolle and Pock 2011, "A first-order primal-dual algorithm", algorithm 1.
    """
    x = start.astype(np.float32)
    part = _moving_part(x, evidence)
    if part is None:
        return x
    # Rows are joined, with walls between them: whole arrays are faster.
    walls = np.zeros_like(x[part])
    height, width = walls.shape
    walls[:, :-1] = right[part][:, : width - 1]
    most = down[part][: height - 1].ravel()
    sides = (
        (1, np.zeros_like(x, shape=walls.size - 1), walls.ravel()[:-1]),
        (width, np.zeros_like(most), most),
    )
    gain = _STEP * evidence[part].ravel()
    ahead = now = x[part].ravel()
    for _ in range(_ITERATIONS):
        after = now + gain
        for step, force, most in sides:
            force += _STEP * (ahead[step:] - ahead[:-step])
            np.maximum(force, -most, out=force)
            np.minimum(force, most, out=force)
            push = _STEP * force
            after[:-step] += push
            after[step:] -= push
        np.maximum(after, 0, out=after)
        np.minimum(after, 1, out=after)
        ahead = 2 * after - now
        now = after
    x[part] = now.reshape(walls.shape)
    return x


def _moving_part(x: Soft, evidence: Soft) -> tuple[slice, ...] | None:
    """Return the rows and columns in which `divide` changes something; None if nothing.

    Pixels stay until one beside them moves, which reaches a pixel farther each time.
    """
    kernel = np.ones((3, 3), np.uint8)
    parting = cv2.morphologyEx(x, cv2.MORPH_GRADIENT, kernel) > 0
    moving = np.where(evidence > 0, x < 1, x > 0) | parting
    if not moving.any():
        return None
    return around_of(moving.view(np.uint8), _ITERATIONS + 1)


def distance(seeds: Mask, cost: Soft) -> Soft:
    """Return the cost of the cheapest way from any seed to each pixel; `cost` is that
    of a step."""
    far = np.where(seeds, np.float32(0), _FAR).astype(np.float32)
    spent = [
        [np.cumsum(way, axis=0, dtype=np.float32) for way in (costs, costs[::-1])]
        for costs in (cost, np.ascontiguousarray(cost.T))
    ]
    dearer = (1 + _DIAGONAL) * cost
    for _ in range(_TURNS):
        before = far.copy()
        for there, back in spent:  # down and up, then to the right and to the left
            _sweep(far, there)
            _sweep(far[::-1], back)
            far = np.ascontiguousarray(far.T)
        for y, x in itertools.product((1, -1), repeat=2):
            ways = far[::y, ::x]
            longer = ways[:-1, :-1] + dearer[::y, ::x][1:, 1:]
            np.minimum(ways[1:, 1:], longer, out=ways[1:, 1:])
        if np.abs(before - far).max() < 1e-2:
            break
    return far


def _sweep(far: np.ndarray, spent: np.ndarray) -> None:
    """Extend ways from each row to the next, in place; a row at a time is fastest."""
    far -= spent
    for row in range(1, len(far)):
        np.minimum(far[row], far[row - 1], out=far[row])
    far += spent


def nearest_share(far: Soft, share: float) -> Mask:
    """Choose the given share of all pixels, those with the cheapest ways."""
    count = max(1, round(share * far.size))
    return far <= np.partition(far.ravel(), count - 1)[count - 1]


def touching(mask: Mask, seeds: Mask, reach: int = 0) -> Mask:
    """Keep the pieces of a mask that a seed lies in, and with them pieces that are less
    than twice `reach` pixels apart; all of it if there are no seeds in it."""
    around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    wide = cv2.dilate(mask.astype(np.uint8), around)
    _, numbers = cv2.connectedComponents(wide, connectivity=8)
    held = numbers[seeds & mask]
    return mask & np.isin(numbers, held) if held.size else mask.copy()
