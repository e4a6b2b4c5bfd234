"""Tables of evidence by colour and place, and a filter that a picture guides."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, Int

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
        norm = np.square(at).sum(1)
        apart = norm[:, None] + norm - 2 * at @ at.T
        self.likeness = np.exp(-apart / 2).astype(np.float32)


def local_counts(
    bins: Pixels,
    likeness: Float32[np.ndarray, "bins bins"],
    weights: Soft,
    cells: int,
) -> Cells:
    """Sum weights by bin and cell, blurred in both; `cells` is the number of cells to a
    side."""
    height, width = weights.shape
    rows = np.arange(height) * cells // height
    columns = np.arange(width) * cells // width
    cell = (rows[:, None] * cells + columns).ravel()
    count = len(likeness)
    places = bins * cells**2 + cell
    sums = np.bincount(places, weights.ravel(), count * cells**2)
    counts = sums.astype(np.float32)
    near = likeness @ counts.reshape(count, -1)
    # how far each cell of a row reaches into the others
    at = np.arange(cells)
    apart = (at[:, None] - at) / _BLUR
    blur = np.exp(-np.square(apart) / 2).astype(np.float32)
    return blur @ near.reshape(-1, cells, cells) @ blur


class Places:
    """Places in a table by bin and cell that each pixel reads, linearly between the
    middles of cells."""

    def __init__(self, bins: Pixels, cells: int, shape: Shape) -> None:
        self._shape = shape
        height, width = shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        top, down = _between_cells(y.ravel(), height, cells)
        left, right = _between_cells(x.ravel(), width, cells)
        up = 1 - down
        back = 1 - right
        row = bins * cells + top
        first = row * cells + left
        below = first + cells
        self._corners = [
            (first, up * back),
            (first + 1, up * right),
            (below, down * back),
            (below + 1, down * right),
        ]

    def read(self, table: Cells) -> Soft:
        """Read the table at every pixel."""
        flat = table.reshape(-1)
        parts = [weight * flat[place] for place, weight in self._corners]
        return sum(parts[1:], parts[0]).reshape(self._shape)


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

    def __init__(self, image: Colors) -> None:
        side = 2 * max(1, round(_GUIDED * max(image.shape))) + 1
        self._image = image
        self._size = (side, side)
        self._mean = cv2.blur(image, self._size)
        products = _products(image)
        pairs = products.reshape(*image.shape[:2], 9)
        means = [cv2.blur(pairs[..., pair], self._size) for pair in range(9)]
        mean_products = np.dstack(means).reshape(products.shape)
        covariance = mean_products - _products(self._mean)
        soft = np.float32(_SOFT) * np.eye(3, dtype=np.float32)
        inverse = np.linalg.inv(covariance + soft)
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


def _products(image: Colors) -> Float32[np.ndarray, "h w 3 3"]:
    """Multiply any two channels of each pixel."""
    return image[..., :, None] * image[..., None, :]
