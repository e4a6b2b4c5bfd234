"""Refine the edges of a moved mask by the colours that the region had."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from regrain.masks.draw import iou, signed_distance

Mask = np.ndarray  # bool [height, width]
Refine = Callable[[np.ndarray, Mask, Mask], Mask]
"""(frame, moved mask, pixels of other regions) -> a better mask."""

BAND = 0.04  # of the long side: how far a followed mask may be off
_NO_BOX = (0, 0, 0, 0)  # of grabCut, which is given a trimap instead
# IoU with itself that a right mask must keep for its colours to be asked
_TELLING = 0.85
_AGREED = 0.7  # IoU of the answer with the moved mask, from which it is believed


class Colors(NamedTuple):
    """Colours outside and inside a region, as mixtures of Gaussians of OpenCV."""

    outside: np.ndarray
    inside: np.ndarray


def learn(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Colors | None:
    """Learn the colours of a region and of its surroundings; None if either is
    empty."""
    if mask.all() or not mask.any():
        return None
    colors = Colors(np.zeros((1, 65)), np.zeros((1, 65)))
    reach = 4 * BAND * max(mask.shape)  # colours farther off do not compete
    near = signed_distance(mask) > -reach
    trimap = np.where(mask, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)[near][None]
    cv2.setRNGSeed(0)  # its clustering draws from a global generator
    cv2.grabCut(image[near][None], trimap, _NO_BOX, *colors, 1, cv2.GC_INIT_WITH_MASK)
    return colors


def tighten(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    others: Bool[np.ndarray, "height width"],
    colors: Colors,
) -> Bool[np.ndarray, "height width"]:
    """Move the edge of a roughly correct mask to where colours change, at most `BAND`
    of the long side away.

    `others` are pixels that surely do not belong to it, `colors` those learned where
    the mask was correct.
    """
    distance = signed_distance(mask)
    reach = BAND * max(mask.shape)
    trimap = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[distance > reach] = cv2.GC_FGD
    trimap[(distance < -reach) | others] = cv2.GC_BGD
    window = _window(distance > -reach - 2)
    out = np.zeros_like(mask)
    out[window] = _cut_out(image[window], trimap[window], colors)
    return out


def _cut_out(picture: np.ndarray, trimap: np.ndarray, colors: Colors) -> Mask:
    """Cut a region out by its colours."""
    part = np.ascontiguousarray(trimap)
    cv2.grabCut(
        np.ascontiguousarray(picture),
        part,
        _NO_BOX,
        colors.outside.copy(),  # it writes into them
        colors.inside.copy(),
        1,
        cv2.GC_EVAL_FREEZE_MODEL,
    )
    return (part == cv2.GC_FGD) | (part == cv2.GC_PR_FGD)


def _window(mask: Mask) -> tuple[slice, slice]:
    """Return the rows and columns that a mask covers."""
    y, x = np.nonzero(mask)
    return slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)


def by_colors(image: np.ndarray, mask: Mask) -> Refine | None:
    """Make a refiner from the colours of a correct mask; None if they do not separate
    it from the rest."""
    colors = learn(image, mask)
    if colors is None:
        return None
    again = tighten(image, mask, np.zeros_like(mask), colors)
    if iou(again, mask) < _TELLING:
        return None
    return partial(tighten, colors=colors)


def refined(
    refine: Refine, image: np.ndarray, mask: Mask, others: Mask
) -> tuple[Mask, float]:
    """Return the refined mask if it shows the same object, and its agreement, 0.5 to
    1."""
    answer = refine(image, mask, others) & ~others
    agreed = iou(answer, mask)
    return answer if agreed >= _AGREED else mask, 0.5 + 0.5 * agreed
