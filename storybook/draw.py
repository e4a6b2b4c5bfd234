"""Polygons on limbs, from which the drawn world is painted.

A character is a fixed list of `Primitive`s in its own space (origin between the feet,
height 1, y down, facing right). Each primitive hangs on a limb; a limb's motion is one
affine map per frame. So it is known exactly which actor and part each pixel shows, and
where that point of the surface is in the next frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

Color = tuple[int, int, int]
PARTS = ("background", "head", "body", "legs", "accessory")
HEAD, BODY, LEGS, ACCESSORY = 1, 2, 3, 4
SUBPIXEL_BITS = 4
INK: Color = (44, 36, 40)
CREAM: Color = (250, 240, 222)
WHITE: Color = (250, 250, 248)
ROSE: Color = (240, 140, 150)
SOOT: Color = (48, 46, 54)


@dataclass(frozen=True, eq=False)
class Primitive:
    """One filled polygon in actor space; `ink` draws its outline, `limb` names the
    motion it follows.

    `lean` is how far a lighter patch shifts towards the light, which comes from the
    left.
    """

    points: np.ndarray
    color: Color
    part: int
    limb: str = "trunk"
    ink: bool = True
    lean: float = 0.0


@lru_cache(maxsize=4096)
def shade(color: Color, factor: float) -> Color:
    """Darken (`factor` < 1) or move towards white (`factor` > 1)."""
    c = np.asarray(color, float)
    c = c * factor if factor <= 1 else c + (255 - c) * (factor - 1)
    r, g, b = np.clip(c, 0, 255).round().astype(int).tolist()
    return (r, g, b)


def ellipse(
    x: float,
    y: float,
    rx: float,
    ry: float | None = None,
    turn: float = 0.0,
    n: int = 28,
) -> np.ndarray:
    """Polygon of an ellipse around (x, y); `turn` in degrees."""
    if ry is None:
        ry = rx
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    upright = np.stack([rx * np.cos(a), ry * np.sin(a)], 1)
    t = np.deg2rad(turn)
    turned = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    return upright @ turned + (x, y)


def capsule(
    x0: float, y0: float, x1: float, y1: float, w0: float, w1: float | None = None
) -> np.ndarray:
    """Polygon of a rounded stroke from (x0, y0) to (x1, y1) with end radii `w0`,
    `w1`."""
    if w1 is None:
        w1 = w0
    direction = np.arctan2(y1 - y0, x1 - x0)
    left = direction + np.pi / 2
    right = direction - np.pi / 2
    start = _arc(x0, y0, w0, np.linspace(left, direction + 1.5 * np.pi, 9))
    end = _arc(x1, y1, w1, np.linspace(right, left, 9))
    return np.concatenate([start, end])


def _arc(x: float, y: float, radius: float, angles: np.ndarray) -> np.ndarray:
    """Return the points of a circle around (x, y) at some angles (radians): [n, 2]."""
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)


def box(x0: float, y0: float, x1: float, y1: float, r: float = 0.03) -> np.ndarray:
    """Polygon of a rectangle with rounded corners."""
    left = x0 + r
    right = x1 - r
    top = y0 + r
    bottom = y1 - r
    corners = [
        (right, bottom, 0),
        (left, bottom, 90),
        (left, top, 180),
        (right, top, 270),
    ]
    quarter = np.linspace(0, 90, 5)
    return np.concatenate(
        [_arc(x, y, r, np.deg2rad(quarter + start)) for x, y, start in corners]
    )


def _smooth(corners: np.ndarray, closed: bool, steps: int = 5) -> np.ndarray:
    """Return a Catmull-Rom curve through the corners."""
    if closed:
        p = np.pad(corners, ((1, 2), (0, 0)), mode="wrap")
    else:
        p = np.pad(corners, ((1, 1), (0, 0)), mode="edge")
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curve = [_between(p[i : i + 4], t) for i in range(len(p) - 3)]
    if not closed:
        curve.append(corners[-1:])
    return np.concatenate(curve)


def _between(corners: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the points of a Catmull-Rom curve between the second and the third of four
    corners; `t` runs from 0 to 1."""
    a, b, c, d = corners
    linear = (c - a) * t
    square = (2 * a - 5 * b + 4 * c - d) * t**2
    cubic = (3 * b - 3 * c + d - a) * t**3
    return 0.5 * (2 * b + linear + square + cubic)


def path(corners: str) -> np.ndarray:
    """Return the corners written "x,y x,y ..." as [n, 2]; rows may also have more
    numbers."""
    return np.array([pair.split(",") for pair in corners.split()], float)


def blob(corners: str) -> np.ndarray:
    """Polygon of a smooth closed line through the corners of a `path`."""
    return _smooth(path(corners), True)


def tube(corners: str, *radii: float) -> np.ndarray:
    """Polygon of a smooth stroke along a `path`, its radius going through `radii`;
    round at the end."""
    line = _smooth(path(corners), False)
    along = np.gradient(line, axis=0)
    across = _across(along)
    radius = _spread(radii, len(line))
    side = radius * across
    cap = line[-1] + radius[-1] * _half_circle(across[-1], along[-1])
    way_back = (line - side)[::-1]
    return np.concatenate([line + side, cap, way_back])


def _across(along: np.ndarray) -> np.ndarray:
    """Return the unit vectors at a right angle to each direction: [n, 2]."""
    normal = np.stack([along[:, 1], -along[:, 0]], 1)
    return normal / np.linalg.norm(along, axis=1, keepdims=True)


def _spread(radii: tuple[float, ...], count: int) -> np.ndarray:
    """Spread radii evenly over `count` points of a line: [count, 1]."""
    points_at = np.linspace(0, 1, count)
    radii_at = np.linspace(0, 1, len(radii))
    return np.interp(points_at, radii_at, radii)[:, None]


def _half_circle(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the inner points of a half circle of radius 1 that begins at `across` and
    bulges `along` a line."""
    turn = np.linspace(0, np.pi, 7)[1:-1, None]
    ahead = along / np.linalg.norm(along)
    return np.cos(turn) * across + np.sin(turn) * ahead


def poly(*points: tuple[float, float]) -> np.ndarray:
    """Polygon of the given corners."""
    return np.array(points, float)


def rotation(x: float, y: float, degrees: float) -> np.ndarray:
    """3x3 rotation about (x, y), clockwise on screen."""
    t = np.deg2rad(degrees)
    c = np.cos(t)
    s = np.sin(t)
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])


def paint(
    canvas: np.ndarray,
    points: np.ndarray,
    color: Color,
    outline: Color | None = None,
    width: int = 1,
) -> None:
    """Fill a polygon (pixels, sub-pixel exact) and draw its outline."""
    _paint(canvas, points, color, outline, width, cv2.LINE_AA)


def paint_id(
    canvas: np.ndarray, points: np.ndarray, value: int, outline: bool, width: int
) -> None:
    """Paint the same shape as `paint`, as a number and without antialiasing."""
    _paint(canvas, points, value, value if outline else None, width, cv2.LINE_8)


def _paint(
    canvas: np.ndarray,
    points: np.ndarray,
    fill: Any,
    outline: Any,
    width: int,
    line: int,
) -> None:
    p = [(points * (1 << SUBPIXEL_BITS)).round().astype(np.int32)]
    cv2.fillPoly(canvas, p, fill, line, SUBPIXEL_BITS)
    if outline is not None:
        cv2.polylines(canvas, p, True, outline, width, line, SUBPIXEL_BITS)


def transformed(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply a 3x3 affine map to [n, 2] points."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]
