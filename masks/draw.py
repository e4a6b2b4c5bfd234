"""Masks by hand: brush and eraser, grow, holes, specks. In pixels; nothing is changed in place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class BrushStroke:
    """A line drawn with a round brush.

    Attributes:
        points: (x, y) on the way, at least one; (0, 0) is the centre of the first pixel.
        radius: Of the brush; below half a pixel it draws single pixels.
        erase: Takes away instead of adding.
    """

    points: tuple[tuple[float | int, float | int], ...]
    radius: float | int
    erase: bool = False


def brush(mask: Bool[np.ndarray, "height width"], stroke: BrushStroke) -> Bool[np.ndarray, "height width"]:
    """The mask after one stroke."""
    touched = np.zeros(mask.shape, np.uint8)
    path = np.round(np.array(stroke.points) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    radius = round(stroke.radius * (1 << _SUBPIXEL_BITS))
    for start, end in zip(path, [*path[1:], path[-1]], strict=True):
        cv2.circle(touched, start.tolist(), radius, 1, cv2.FILLED, cv2.LINE_8, _SUBPIXEL_BITS)
        side = np.array([start[1] - end[1], end[0] - start[0]], float)
        side *= radius / max(float(np.hypot(*side)), 1.0)
        corners = np.round([start + side, end + side, end - side, start - side]).astype(np.int32)
        cv2.fillConvexPoly(touched, corners, 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask & (touched == 0) if stroke.erase else mask | (touched > 0)


def grow(mask: Bool[np.ndarray, "height width"], pixels: float | int) -> Bool[np.ndarray, "height width"]:
    """Everything within `pixels` of the mask; where negative, what is farther than that from its edge."""
    return signed_distance(mask) > -pixels if pixels else mask.copy()


def fill_holes(mask: Bool[np.ndarray, "height width"], most: float | int) -> Bool[np.ndarray, "height width"]:
    """Fill what the mask encloses, where it is at most `most` pixels large."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    edge = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] <= most)
    holes = np.setdiff1d(small, [0, *edge])  # 0 is the mask itself
    return mask | np.isin(numbers, holes) if count > 1 else mask.copy()


def drop_specks(
    mask: Bool[np.ndarray, "height width"], least: float | int
) -> Bool[np.ndarray, "height width"]:
    """Drop pieces of fewer than `least` pixels."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return mask & np.isin(numbers, np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= least))


def clean(
    masks: Mapping[int, Bool[np.ndarray, "height width"]],
    *,
    pixels: float | int = 0,
    holes: float | int = 0,
    specks: float | int = 0,
    labels: Collection[int] = (),
    apart: bool = True,
) -> dict[int, Bool[np.ndarray, "height width"]]:
    """The masks of one frame without specks and holes, then grown.

    Args:
        masks: By label; the earlier covers the later.
        pixels: As `grow`.
        holes: As `fill_holes`, in pixels.
        specks: As `drop_specks`, in pixels.
        labels: Those to change; none changes all.
        apart: What is added takes no pixel of another mask.
    """
    taken = np.any(list(masks.values()), axis=0) if apart else None
    result = {}
    for label, mask in masks.items():
        changed = mask
        if not labels or label in labels:
            changed = grow(fill_holes(drop_specks(mask, specks), holes), pixels)
        if taken is not None:
            changed = changed & (mask | ~taken)
            taken = taken | changed
        result[label] = changed
    return result


def signed_distance(mask: Bool[np.ndarray, "height width"]) -> Float32[np.ndarray, "height width"]:
    """Distance to the edge, which runs between pixels: positive inside; far beyond reach where all is one."""
    inside = mask.astype(np.uint8)
    if not mask.any() or mask.all():
        return np.full(mask.shape, sum(mask.shape) * (1 if mask.all() else -1), np.float32)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    half = np.float32(0.5)
    return np.where(mask, inner - half, half - outer).astype(np.float32)


def deepest(mask: Bool[np.ndarray, "height width"]) -> tuple[int, int]:
    """The pixel (x, y) of the mask farthest from its edge, the frame's border being one too."""
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(x), int(y)
