"""Tables by colour and place, and a filter that a picture guides: what evidence is read from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Int

_COARSE, _FINE = 8, 5  # levels of Lab to a bin, with places and without
CELLS, _BLUR = 10, 0.8  # cells to a side; how far a place reaches, in cells
_GUIDED, _SOFT = 0.03, 1e-3  # radius of the filter in sides; variance that is no edge

Soft = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Palette:
    """Colours in bins: fine ones over the whole frame, coarse ones by place.

    Attributes:
        fine: The fine bin of every pixel in a box of bins of shape `box`.
        box: Bins of the three channels.
        coarse: The coarse bin of every pixel; numbered without gaps.
        likeness: How much each coarse bin is like each other.
    """

    fine: Int[np.ndarray, " pixels"]
    box: tuple[int, int, int]
    coarse: Int[np.ndarray, " pixels"]
    likeness: Float32[np.ndarray, "bins bins"]

    @classmethod
    def of(cls, lab: Float32[np.ndarray, "h w 3"]) -> Palette:
        """The bins of a frame."""
        bins = (lab.reshape(-1, 3) // _FINE).astype(np.int64)
        bins -= bins.min(0) - 2  # room for the blur
        box = tuple((bins.max(0) + 3).tolist())
        fine = (bins[:, 0] * box[1] + bins[:, 1]) * box[2] + bins[:, 2]
        steps = (lab.reshape(-1, 3) // _COARSE).astype(np.int64)
        keys, coarse = np.unique((steps[:, 0] * 64 + steps[:, 1]) * 64 + steps[:, 2], return_inverse=True)
        at = np.stack([keys // 4096, keys // 64 % 64, keys % 64], 1).astype(np.float32)
        norm = np.square(at).sum(1)
        apart = norm[:, None] + norm - 2 * at @ at.T
        return cls(fine, box, coarse.reshape(-1), np.exp(-apart / 2).astype(np.float32))  # type: ignore[arg-type]


def local_counts(
    bins: Int[np.ndarray, " pixels"], likeness: Float32[np.ndarray, "bins bins"], weights: Soft, cells: int
) -> Float32[np.ndarray, "bins cells cells"]:
    """Weights by bin and cell, blurred in both; `cells` is how many there are to a side."""
    height, width = weights.shape
    rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
    cell = (rows[:, None] * cells + columns).ravel()
    counts = np.bincount(bins * cells**2 + cell, weights.ravel(), len(likeness) * cells**2)
    near = likeness @ counts.astype(np.float32).reshape(len(likeness), -1)
    at = np.arange(cells)
    blur = np.exp(-np.square((at[:, None] - at) / _BLUR) / 2).astype(np.float32)
    return blur @ near.reshape(-1, cells, cells) @ blur


@dataclass(frozen=True, eq=False)
class Places:
    """Where every pixel reads a table by bin and cell, linearly between the middles of cells."""

    first: Int[np.ndarray, " pixels"]
    cells: int
    weights: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    shape: tuple[int, int]

    @classmethod
    def of(cls, bins: Int[np.ndarray, " pixels"], cells: int, shape: tuple[int, int]) -> Places:
        """Places for the bins of all pixels of a grid of this shape."""
        height, width = shape
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        down = np.clip((y.ravel() + 0.5) / height * cells - 0.5, 0, cells - 1 - 1e-3)
        across = np.clip((x.ravel() + 0.5) / width * cells - 0.5, 0, cells - 1 - 1e-3)
        top, left = down.astype(np.int64), across.astype(np.int64)
        fall, run = (down - top).astype(np.float32), (across - left).astype(np.float32)
        weights = (1 - fall) * (1 - run), (1 - fall) * run, fall * (1 - run), fall * run
        return cls((bins * cells + top) * cells + left, cells, weights, shape)

    def read(self, table: Float32[np.ndarray, "bins cells cells"]) -> Soft:
        """The table at every pixel."""
        flat = table.reshape(-1)
        ends = (0, 1, self.cells, self.cells + 1)
        parts = [w * flat[self.first + end] for w, end in zip(self.weights, ends, strict=True)]
        return sum(parts[1:], parts[0]).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Guide:
    """A frame as the guide of a filter: its mean colours, and the inverse of their covariance.

    Source: He et al. 2010, "Guided image filtering".
    """

    image: np.ndarray
    size: tuple[int, int]
    mean: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, image: Float32[np.ndarray, "h w 3"]) -> Guide:
        """The guide of a picture, 0..1."""
        side = 2 * max(1, round(_GUIDED * max(image.shape))) + 1
        mean = cv2.blur(image, (side, side))
        pairs = (image[..., :, None] * image[..., None, :]).reshape(*image.shape[:2], 9)
        second = np.dstack([cv2.blur(pairs[..., i], (side, side)) for i in range(9)])
        covariance = second.reshape(*image.shape, 3) - mean[..., :, None] * mean[..., None, :]
        inverse = np.linalg.inv(covariance + np.float32(_SOFT) * np.eye(3, dtype=np.float32))
        return cls(image, (side, side), mean, inverse.astype(np.float32))

    def smoothed(self, values: np.ndarray) -> np.ndarray:
        """Values of every pixel, smoothed where the picture is."""
        mean = cv2.blur(values, self.size)
        together = cv2.blur(self.image * values[..., None], self.size) - self.mean * mean[..., None]
        slope = (self.inverse @ together[..., None])[..., 0]
        base = mean - (slope * self.mean).sum(2)
        slope = cv2.blur(slope, self.size)
        return (slope * self.image).sum(2) + cv2.blur(base, self.size)
