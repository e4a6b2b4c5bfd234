"""Edit masks by hand: brush, boxes, grow, holes, specks. Sizes are in pixels; nothing
changes in place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int

from regrain.editing.media.lazy_frames import Mask, Size

_SUBPIXEL_BITS = 4
_SUBPIXELS = 1 << _SUBPIXEL_BITS  # to a pixel
_SPECK = 0.05  # share of a mask below which a separate piece of it is a speck


Number = float | int


@dataclass(frozen=True)
class BrushStroke:
    """A line drawn with a round brush.

    Attributes:
        points: (x, y) along the line in pixels, at least one; (0, 0) is the centre of
            the top left pixel.
        radius: Radius of the brush in pixels; below 0.5 it draws single pixels.
        erase: Whether it erases instead of adding.
    """

    points: tuple[tuple[Number, Number], ...]
    radius: Number
    erase: bool = False


@dataclass(frozen=True)
class Rectangle:
    """A box drawn over a mask.

    Attributes:
        corners: x0, y0, x1, y1 in pixels from the frame's corner, x0 < x1 and y0 < y1.
        erase: Whether it erases instead of adding.
    """

    corners: tuple[Number, Number, Number, Number]
    erase: bool = False


def brush(mask: Mask, stroke: BrushStroke) -> Mask:
    """Apply one stroke to a mask."""
    touched = np.zeros(mask.shape, np.uint8)
    # in subpixels, as OpenCV draws them
    path = np.round(np.array(stroke.points) * _SUBPIXELS).astype(np.int32)
    radius = round(stroke.radius * _SUBPIXELS)
    how = (1, cv2.FILLED, cv2.LINE_8, _SUBPIXEL_BITS)
    ends = [*path[1:], path[-1]]
    for start, end in zip(path, ends, strict=True):
        cv2.circle(touched, start.tolist(), radius, *how)
        # the rectangle that it covers from one point to the next
        side = np.array([start[1] - end[1], end[0] - start[0]], float)
        side *= radius / max(float(np.hypot(*side)), 1.0)
        corners = np.round(
            [
                start + side,
                end + side,
                end - side,
                start - side,
            ]
        )
        whole = corners.astype(np.int32)
        cv2.fillConvexPoly(touched, whole, 1, cv2.LINE_8, _SUBPIXEL_BITS)
    if stroke.erase:
        return mask & (touched == 0)
    return mask | (touched > 0)


def fill_box(mask: Mask, box: Rectangle) -> Mask:
    """Add a box to a mask, or erase it: all pixels whose centre it covers."""
    x0, y0, x1, y1 = (round(value) for value in box.corners)
    changed = mask.copy()
    changed[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = not box.erase
    return changed


def grow(mask: Mask, pixels: Number) -> Mask:
    """Grow a mask by `pixels`, or shrink it if negative."""
    return signed_distance(mask) > -pixels if pixels else mask.copy()


def fill_holes(mask: Mask, most: Number) -> Mask:
    """Fill enclosed holes of at most `most` pixels."""
    numbers, areas = _pieces(~mask, connectivity=4)
    small = areas <= most
    small[0] = False  # the mask itself
    for edge in (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]):
        small[edge] = False
    return mask | small[numbers]


def drop_specks(mask: Mask, least: Number | None = None) -> Mask:
    """Remove pieces of fewer than `least` pixels, or of a small share of the mask."""
    if least is None:
        least = _SPECK * mask.sum()
    numbers, areas = _pieces(mask)
    return mask & (areas >= least)[numbers]


def _pieces(mask: np.ndarray, connectivity: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each pixel's piece, 0 around the mask, and pixels of each."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=connectivity
    )
    return numbers, stats[:, cv2.CC_STAT_AREA]


def pack(mask: Mask) -> bytes:
    """Compress a mask, eight pixels to a byte; an empty mask gives no bytes."""
    return zlib.compress(np.packbits(mask).tobytes(), 1) if mask.any() else b""


def unpack(packed: bytes | None, size: Size) -> Mask:
    """Return the mask that `pack` compressed, empty for None; `size` is (width,
    height)."""
    width, height = size
    if not packed:
        return np.zeros((height, width), bool)
    bits = np.unpackbits(
        np.frombuffer(zlib.decompress(packed), np.uint8), count=width * height
    )
    return bits.reshape(height, width).astype(bool)


def pack_copy(mask: Mask, size: Size) -> bytes:
    """Pack the mask of a smaller copy, of (width, height), of the frame of this one,
    which goes with it unchanged: `unpack_whole` returns it."""
    if mask.shape == size[::-1]:
        return pack(mask)
    levels = 255 * mask.view(np.uint8)
    share = cv2.resize(levels, size, interpolation=cv2.INTER_AREA)
    half = share > 127
    # what is small is not to be lost
    return pack(half if half.any() else share > 0) + pack(mask)


def unpack_whole(packed: bytes | None, size: Size) -> Mask | None:
    """Return the mask of (width, height) of which `pack_copy` packed a copy; None if it
    has none."""
    reader = zlib.decompressobj()
    reader.decompress(packed or b"")
    return unpack(reader.unused_data, size) if reader.unused_data else None


def signed_distance(
    mask: Mask,
) -> Float32[np.ndarray, "height width"]:
    """Return the distance to the edge, which runs between pixels; positive inside, huge
    without an edge."""
    if mask.all():
        return np.full(mask.shape, sum(mask.shape), np.float32)
    # Of an empty mask OpenCV says itself that the edge is far.
    inside = mask.astype(np.uint8)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(mask, inner - 0.5, 0.5 - outer).astype(np.float32)


def iou(a: Bool[np.ndarray, "*size"], b: Bool[np.ndarray, "*size"]) -> float:
    """Compute the intersection over union of two masks, 0 to 1; 0 if both are empty."""
    return float((a & b).sum() / max(int((a | b).sum()), 1))


def spread(mask: Mask, count: int) -> Int[np.ndarray, "points 2"]:
    """Find up to `count` points (x, y) well inside a mask: the deepest, then always the
    farthest from all.

    All are at least half as far from the edge, and from the border of the frame, as the
    deepest.
    """
    depth = _depth(mask)
    inner = np.argwhere(mask & (depth >= depth.max() / 2))[:, ::-1]
    points = [np.array(deepest(mask))]
    far = np.full(len(inner), np.inf)
    while len(points) < count:
        far = np.minimum(far, np.square(inner - points[-1]).sum(1))
        if not far.any():
            break
        points.append(inner[far.argmax()])
    return np.array(points)


def deepest(mask: Mask) -> tuple[int, int]:
    """Find the pixel (x, y) of the mask farthest from its edge and from the border of
    the frame."""
    y, x = np.unravel_index(int(_depth(mask).argmax()), mask.shape)
    return int(x), int(y)


def _depth(mask: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to the mask's edge or to the border of the frame."""
    padded = np.pad(mask.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
