"""Masks from clicks and strokes without weights: colours inside and outside, cut along edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from regrain.masks.draw import BrushStroke, brush, signed_distance

LONG_SIDE = 320  # pixels worked on: the cut takes seconds on a whole video frame
ROUNDS = 4
BAND = 0.04  # of the long side: how far a followed mask may be off
_NO_BOX = (0, 0, 0, 0)  # the trimap says it all
_SEED, _REACH = 0.015, 0.2  # radii of the short side: surely as clicked, perhaps as clicked


def cut(
    image: UInt8[np.ndarray, "height width 3"],
    points: Float[np.ndarray, "points 2"],
    labels: Int[np.ndarray, " points"],
    box: Float[np.ndarray, "4"] | None = None,
    previous: Bool[np.ndarray, "height width"] | None = None,
    strokes: Sequence[BrushStroke] = (),
) -> Bool[np.ndarray, "height width"]:
    """Cut out the object marked by clicks, strokes, a box or an earlier mask.

    Pixels under clicks and strokes are fixed. A box bounds the result. The search starts from an earlier mask
    or, without one, near positive clicks and strokes. If there are any, pieces that none of them touches are
    dropped.

    Args:
        image: RGB.
        points: (x, y) in pixels.
        labels: 1 per point on the object, 0 per point outside it.
        box: x0, y0, x1, y1 in pixels.
        previous: Mask to start from.
        strokes: Lines on the object or, if they erase, outside it.

    Source: Rother et al. 2004, "GrabCut", as in OpenCV.
    """
    height, width = image.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    ratio = np.array([size[0] / width, size[1] / height])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    drawn = _drawn(points, labels, strokes, ratio, size)
    trimap = _trimap(drawn, box, previous, ratio, size)
    clicked = trimap == cv2.GC_FGD
    inside = _optimise(small, trimap)
    if clicked.any():
        _, numbers = cv2.connectedComponents(inside.astype(np.uint8))
        inside &= np.isin(numbers, np.unique(numbers[clicked & inside]))
    if (width, height) == size:
        return inside
    return cv2.resize(inside.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def _drawn(
    points: np.ndarray,
    labels: np.ndarray,
    strokes: Sequence[BrushStroke],
    ratio: np.ndarray,
    size: tuple[int, int],
) -> list[BrushStroke]:
    """Draw clicks, as dots, and strokes at the working size (width, height), `ratio` times the frame's."""
    dots = [
        BrushStroke(((x, y),), _SEED * min(size), erase=not label)
        for (x, y), label in zip(points * ratio, labels, strict=True)
    ]
    for stroke in strokes:
        path = tuple((float(x), float(y)) for x, y in np.array(stroke.points) * ratio)
        dots.append(BrushStroke(path, max(1.0, stroke.radius * float(ratio.min())), stroke.erase))
    return dots


def _trimap(
    drawn: Sequence[BrushStroke],
    box: np.ndarray | None,
    previous: np.ndarray | None,
    ratio: np.ndarray,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "height width"]:
    """Mark sure and probable pixels of object and background, in the codes of OpenCV's GrabCut."""
    none = np.zeros(size[::-1], bool)
    sure_in, sure_out, maybe = none, none, none
    for stroke in drawn:  # the later stroke covers the earlier
        sure_in = brush(sure_in, BrushStroke(stroke.points, stroke.radius, stroke.erase))
        sure_out = brush(sure_out, BrushStroke(stroke.points, stroke.radius, not stroke.erase))
        if not stroke.erase:
            maybe = brush(maybe, BrushStroke(stroke.points, _REACH * min(size)))
    if previous is not None:
        shape = previous.astype(np.uint8)
        maybe = cv2.resize(shape, size, interpolation=cv2.INTER_AREA) > 0
    if box is not None:
        x0, y0, x1, y1 = np.round(box * np.tile(ratio, 2)).astype(int)
        within = none.copy()
        within[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1] = True
        maybe = maybe & within if maybe.any() else within
        sure_out = sure_out | ~within
    trimap = np.where(maybe, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[sure_out], trimap[sure_in] = cv2.GC_BGD, cv2.GC_FGD
    return trimap


class Colors(NamedTuple):
    """Colours outside and inside a region, as mixtures of Gaussians of OpenCV."""

    outside: np.ndarray
    inside: np.ndarray


def learn(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Colors | None:
    """Learn the colours of a region and of its surroundings; None if either is empty."""
    if mask.all() or not mask.any():
        return None
    colors = Colors(np.zeros((1, 65)), np.zeros((1, 65)))
    near = signed_distance(mask) > -4 * BAND * max(mask.shape)  # colours farther off compete with nothing
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
    """Move the edge of a roughly correct mask to where colours change, at most `BAND` of the long side away.

    Args:
        image: RGB.
        mask: The roughly correct mask.
        others: Pixels that surely do not belong to it.
        colors: Colours learned where the mask was correct.
    """
    distance = signed_distance(mask)
    reach = BAND * max(mask.shape)
    trimap = np.where(mask, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[distance > reach], trimap[(distance < -reach) | others] = cv2.GC_FGD, cv2.GC_BGD
    y, x = np.nonzero(distance > -reach - 2)
    window = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
    part = np.ascontiguousarray(trimap[window])
    own = Colors(*(model.copy() for model in colors))
    cv2.grabCut(np.ascontiguousarray(image[window]), part, _NO_BOX, *own, 1, cv2.GC_EVAL_FREEZE_MODEL)
    out = np.zeros_like(mask)
    out[window] = (part == cv2.GC_FGD) | (part == cv2.GC_PR_FGD)
    return out


def _optimise(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    inside = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    if not inside.any() or inside.all():
        return inside  # one of the two has no colours to learn
    cv2.setRNGSeed(0)  # its clustering draws from a global generator
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image, trimap, _NO_BOX, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
