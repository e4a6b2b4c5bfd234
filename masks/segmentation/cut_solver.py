"""Solvers of cuts: the smoothest division of a picture, and ways through it that avoid
edges.

Everything here is a function of arrays on one small grid.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

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
    iterations: int = _ITERATIONS,
) -> Soft:
    """Divide a picture into inside (1) and outside (0) where the evidence says so and
    edges are cheap.

    Minimises -sum(evidence x) + sum(right |dx| + down |dy|) over x from 0 to 1.

    Args:
        evidence: Logarithm of the odds that a pixel is inside.
        right: Cost of parting a pixel from the one to its right.
        down: Cost of parting a pixel from the one below it.
        start: Where to begin, 0..1: the better, the fewer iterations are needed.
        iterations: How many.

    Source: Chambolle and Pock 2011, "A first-order primal-dual algorithm", algorithm 1.
    """
    x = start.astype(np.float32).copy()
    ahead = x.copy()
    spare = np.empty_like(x)
    across = np.zeros_like(right)
    along = np.zeros_like(down)
    gain = _STEP * evidence
    for _ in range(iterations):
        # differences to the right and down
        across += _STEP * (ahead[:, 1:] - ahead[:, :-1])
        along += _STEP * (ahead[1:] - ahead[:-1])
        np.clip(
            across,
            -right,
            right,
            out=across,
        )
        np.clip(
            along,
            -down,
            down,
            out=along,
        )
        np.add(x, gain, out=spare)
        # the forces of both
        spare[:, :-1] += _STEP * across
        spare[:, 1:] -= _STEP * across
        spare[:-1] += _STEP * along
        spare[1:] -= _STEP * along
        np.clip(
            spare,
            0,
            1,
            out=spare,
        )
        np.subtract(2 * spare, x, out=ahead)
        x, spare = spare, x
    return x


def distance(seeds: Mask, cost: Soft) -> Soft:
    """Return the cost of the cheapest way from any seed to each pixel; `cost` is that
    of a step."""
    far = np.where(seeds, np.float32(0), _FAR).astype(np.float32)
    for _ in range(_TURNS):
        before = far.copy()
        for axis in (0, 1):
            far = _swept(far, cost, axis)
            far = np.flip(_swept(np.flip(far, axis), np.flip(cost, axis), axis), axis)
        far = _diagonally(np.ascontiguousarray(far), cost)
        if np.abs(before - far).max() < 1e-2:
            break
    return far


def _swept(far: np.ndarray, cost: np.ndarray, axis: int) -> np.ndarray:
    """Extend ways along one axis in one direction, in all rows at once."""
    spent = np.cumsum(cost, axis=axis, dtype=np.float32)
    return np.minimum.accumulate(far - spent, axis=axis) + spent


def _diagonally(far: np.ndarray, cost: np.ndarray) -> np.ndarray:
    dearer = (1 + _DIAGONAL) * cost
    for y, x in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        shift = np.float32([[1, 0, x], [0, 1, y]])
        size = far.shape[::-1]
        moved = cv2.warpAffine(
            far, shift, size, flags=cv2.INTER_NEAREST, borderValue=float(_FAR)
        )
        far = np.minimum(far, moved + dearer)
    return far


def nearest_share(far: Soft, share: float) -> Mask:
    """Choose the given share of all pixels, those with the cheapest ways."""
    count = max(1, round(share * far.size))
    return far <= np.partition(far.ravel(), count - 1)[count - 1]


def touching(mask: Mask, seeds: Mask) -> Mask:
    """Keep the pieces of a mask that a seed lies in; all of it if there are no seeds in
    it."""
    _, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    found = np.unique(numbers[seeds & mask])
    if len(found) == 0:
        return mask.copy()
    return np.isin(numbers, found)
