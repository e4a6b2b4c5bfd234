"""Tables of evidence by colour and place, and a filter that a picture guides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Int, Real

from regrain.editing.media.lazy_frames import Shape

_COARSE = 8  # levels of Lab to a bin of the tables by place
_FINE = 5  # levels of Lab to a bin of the tables over the whole frame
_STEPS = (64, 64, 64)  # more coarse bins than there are
CELLS = 10  # cells to a side
_BLUR = 0.8  # how far a place reaches, in cells
_GUIDED = 0.03  # radius of the filter, of the long side
_SOFT = 1e-3  # variance that is no edge

Soft = Float32[np.ndarray, "h w"]
Colors = Float32[np.ndarray, "h w 3"]
Pixels = Int[np.ndarray, " pixels"]
Cells = Float32[np.ndarray, "bins cells cells"]
Alike = Float32[np.ndarray, "bins bins"]


class Palette:
    """The colours of a frame in bins: fine ones over the whole frame, coarse ones by
    place.

    Attributes:
        box: Fine bins of the three channels of Lab.
        fine: The fine bin of every pixel in a box of that shape.
        coarse: The coarse bin of every pixel; numbered without gaps.
        likeness: How much each coarse bin is like each other.
    """

    def __init__(self, lab: Colors) -> None:
        colors = lab.reshape(-1, 3)
        bins = (colors // _FINE).astype(np.int64)
        bins -= bins.min(0) - 2  # room for the blur
        self.box = tuple((bins.max(0) + 3).tolist())
        self.fine = np.ravel_multi_index(bins.T, self.box)
        steps = (colors // _COARSE).astype(np.int64)
        places = np.ravel_multi_index(steps.T, _STEPS)
        keys, self.coarse = np.unique(places, return_inverse=True)
        at = np.stack(np.unravel_index(keys, _STEPS), 1).astype(np.float32)
        self.likeness = likeness_of(at)


def likeness_of(places: Real[np.ndarray, "bins *axes"]) -> Alike:
    """Return how much each place is like each other, by their distance."""
    at = places.reshape(len(places), -1).astype(np.float32)
    norm = np.square(at).sum(1)
    apart = norm[:, None] + norm - 2 * at @ at.T
    return np.exp(-apart / 2)


class Places:
    """Places of a frame's pixels in a table by bin and cell: sums go there, and each
    pixel reads there, linearly between the middles of cells.

    `likeness` tells how much each bin is like each other; of bins along several axes,
    how much those along each. `cells` is the number of cells to a side.
    """

    def __init__(
        self, bins: Pixels, likeness: Sequence[Alike], cells: int, shape: Shape
    ) -> None:
        self._shape = shape
        blur = likeness_of(np.arange(cells) / _BLUR)  # cells reach into others
        self._alike = (*likeness, blur, blur)
        height, width = shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        row = bins * cells + y.ravel() * cells // height
        self._cell = row * cells + x.ravel() * cells // width
        top, down = _between_cells(y.ravel(), height, cells)
        left, right = _between_cells(x.ravel(), width, cells)
        up = 1 - down
        back = 1 - right
        first = (bins * cells + top) * cells + left
        below = first + cells
        self._corners = [
            (first, up * back),
            (first + 1, up * right),
            (below, down * back),
            (below + 1, down * right),
        ]

    def counts(self, weights: Soft) -> Cells:
        """Sum weights by bin and cell, blurred in both."""
        sides = [len(alike) for alike in self._alike]
        sums = np.bincount(self._cell, weights.ravel(), math.prod(sides))
        counts = sums.astype(np.float32)
        for alike in self._alike:  # along the first axis, which becomes the last
            counts = (alike @ counts.reshape(len(alike), -1)).T
        return counts.reshape(-1, *sides[-2:])

    def read(self, table: Cells) -> Soft:
        """Read the table at every pixel."""
        flat = table.reshape(-1)
        parts = [weight * flat[place] for place, weight in self._corners]
        return _sum(parts).reshape(self._shape)


def _between_cells(
    places: Pixels, length: int, cells: int
) -> tuple[Pixels, Float32[np.ndarray, " pixels"]]:
    """Return the cell whose middle lies before each place along one side, and the way
    to the next, 0..1."""
    at = np.clip((places + 0.5) / length * cells - 0.5, 0, cells - 1 - 1e-3)
    before = at.astype(np.int64)
    return before, (at - before).astype(np.float32)


class Guide:
    """A frame, 0..1, as the guide of a filter: its mean colours, and the inverse of
    their covariance.

    Source: He et al. 2010, "Guided image filtering".
    """

    def __init__(self, image: Colors, reach: int | None = None) -> None:
        """`reach` is the radius of the filter in pixels; None is a share of the long
        side."""
        side = 2 * (reach or max(1, round(_GUIDED * max(image.shape)))) + 1
        self._size = (side, side)
        # planes are faster than pixels
        self._channels = np.ascontiguousarray(image.transpose(2, 0, 1))
        self._means = self._blurred(self._channels)
        products = self._channels[:, None] * self._channels
        pairs = self._blurred(products.reshape(9, *image.shape[:2]))
        covariance = pairs.reshape(products.shape) - self._means[:, None] * self._means
        soft = np.float32(_SOFT) * np.eye(3, dtype=np.float32)
        inverse = np.linalg.inv(covariance.transpose(2, 3, 0, 1) + soft)
        self._inverse = np.ascontiguousarray(inverse.transpose(2, 3, 0, 1))

    def smoothed(self, values: Soft) -> Soft:
        """Smooth the values of every pixel where the picture is smooth."""
        *slopes, base = self.lines(values)
        return _sum(slopes * self._channels) + base

    def lines(self, values: Soft) -> Float32[np.ndarray, "4 h w"]:
        """Return how values follow from the colours around each pixel: a slope for each
        of red, green and blue, and a base."""
        mean, *products = self._blurred([values, *self._channels * values])
        red, green, blue = products - self._means * mean
        slopes = [
            of_red * red + of_green * green + of_blue * blue
            for of_red, of_green, of_blue in self._inverse
        ]
        base = mean - _sum(slopes * self._means)
        return self._blurred([*slopes, base])

    def _blurred(self, planes: Iterable[Soft]) -> Float32[np.ndarray, "planes h w"]:
        """Return the mean around each pixel of some planes."""
        return np.stack([cv2.blur(plane, self._size) for plane in planes])


def _sum(
    planes: Iterable[Float32[np.ndarray, "*axes"]],
) -> Float32[np.ndarray, "*axes"]:
    first, *others = planes
    return sum(others, first)
