"""Tables of evidence by colour and place, and a filter that a picture guides."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, Int

_COARSE = 8  # levels of Lab to a bin of the tables by place
_FINE = 5  # levels of Lab to a bin of the tables over the whole frame
_STEPS = (64, 64, 64)  # more coarse bins than there are
CELLS = 10  # cells to a side
_BLUR = 0.8  # how far a place reaches, in cells
_GUIDED = 0.03  # radius of the filter, of the long side
_SOFT = 1e-3  # variance that is no edge

Soft = Float32[np.ndarray, "h w"]


class Palette:
    """The colours of a frame in bins: fine ones over the whole frame, coarse ones by
    place.

    Attributes:
        box: Fine bins of the three channels of Lab.
        fine: The fine bin of every pixel in a box of that shape.
        coarse: The coarse bin of every pixel; numbered without gaps.
        likeness: How much each coarse bin is like each other.
    """

    def __init__(self, lab: Float32[np.ndarray, "h w 3"]) -> None:
        bins = (lab.reshape(-1, 3) // _FINE).astype(np.int64)
        bins -= bins.min(0) - 2  # room for the blur
        self.box = tuple((bins.max(0) + 3).tolist())
        self.fine = np.ravel_multi_index(bins.T, self.box)
        steps = (lab.reshape(-1, 3) // _COARSE).astype(np.int64)
        places = np.ravel_multi_index(steps.T, _STEPS)
        keys, self.coarse = np.unique(places, return_inverse=True)
        at = np.stack(np.unravel_index(keys, _STEPS), 1).astype(np.float32)
        norm = np.square(at).sum(1)
        apart = norm[:, None] + norm - 2 * at @ at.T
        self.likeness = np.exp(-apart / 2).astype(np.float32)


def local_counts(
    bins: Int[np.ndarray, " pixels"],
    likeness: Float32[np.ndarray, "bins bins"],
    weights: Soft,
    cells: int,
) -> Float32[np.ndarray, "bins cells cells"]:
    """Sum weights by bin and cell, blurred in both; `cells` is the number of cells to a
    side."""
    height, width = weights.shape
    rows = np.arange(height) * cells // height
    columns = np.arange(width) * cells // width
    cell = (rows[:, None] * cells + columns).ravel()
    size = len(likeness) * cells**2
    counts = np.bincount(bins * cells**2 + cell, weights.ravel(), size).astype(
        np.float32
    )
    near = likeness @ counts.reshape(len(likeness), -1)
    at = np.arange(cells)
    blur = np.exp(-np.square((at[:, None] - at) / _BLUR) / 2).astype(np.float32)
    return blur @ near.reshape(-1, cells, cells) @ blur


class Places:
    """Places in a table by bin and cell that each pixel reads, linearly between the
    middles of cells."""

    def __init__(
        self, bins: Int[np.ndarray, " pixels"], cells: int, shape: tuple[int, int]
    ) -> None:
        self._shape = shape
        height, width = shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        down = np.clip((y.ravel() + 0.5) / height * cells - 0.5, 0, cells - 1 - 1e-3)
        across = np.clip((x.ravel() + 0.5) / width * cells - 0.5, 0, cells - 1 - 1e-3)
        top = down.astype(np.int64)
        left = across.astype(np.int64)
        fall = (down - top).astype(np.float32)
        run = (across - left).astype(np.float32)
        first = (bins * cells + top) * cells + left
        self._corners = [
            (first, (1 - fall) * (1 - run)),
            (first + 1, (1 - fall) * run),
            (first + cells, fall * (1 - run)),
            (first + cells + 1, fall * run),
        ]

    def read(self, table: Float32[np.ndarray, "bins cells cells"]) -> Soft:
        """Read the table at every pixel."""
        flat = table.reshape(-1)
        parts = [weight * flat[place] for place, weight in self._corners]
        return sum(parts[1:], parts[0]).reshape(self._shape)


class Guide:
    """A frame, 0..1, as the guide of a filter: its mean colours, and the inverse of
    their covariance.

    Source: He et al. 2010, "Guided image filtering".
    """

    def __init__(self, image: Float32[np.ndarray, "h w 3"]) -> None:
        side = 2 * max(1, round(_GUIDED * max(image.shape))) + 1
        mean = cv2.blur(image, (side, side))
        self._image = image
        self._size = (side, side)
        self._mean = mean
        pairs = (image[..., :, None] * image[..., None, :]).reshape(*image.shape[:2], 9)
        second = np.dstack([cv2.blur(pairs[..., i], self._size) for i in range(9)])
        covariance = (
            second.reshape(*image.shape, 3) - mean[..., :, None] * mean[..., None, :]
        )
        inverse = np.linalg.inv(
            covariance + np.float32(_SOFT) * np.eye(3, dtype=np.float32)
        )
        self._inverse = inverse.astype(np.float32)

    def smoothed(self, values: Soft) -> Soft:
        """Smooth the values of every pixel where the picture is smooth."""
        mean = cv2.blur(values, self._size)
        product = cv2.blur(self._image * values[..., None], self._size)
        covariance = product - self._mean * mean[..., None]
        slope = (self._inverse @ covariance[..., None])[..., 0]
        base = mean - (slope * self._mean).sum(2)
        slope = cv2.blur(slope, self._size)
        return (slope * self._image).sum(2) + cv2.blur(base, self._size)
