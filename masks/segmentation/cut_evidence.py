"""What tells a thing from its surroundings in one frame: its colours, its place, and how it moves.

All evidence is in logarithms of odds, learnt from a soft mask of what is probably inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float32, Int, UInt8

from regrain.masks.segmentation.cut_tables import CELLS, Guide, Palette, Places, Soft, local_counts

LONG_SIDE = 256  # pixels worked on
_MOST = 4.0  # of the evidence of colours
_SMOOTH, _SLACK = 2.5, 0.1  # what an edge costs where colours are the same, and where they part
_UNSEEN = 0.05  # pixels of a colour that count as nothing
_MOVING, _MOTION_CELLS = 2.5, 6  # most of the evidence of motion; cells to a side
_REACH, _STEPS = 4.0, 17  # of compressed residuals; bins from one end to the other
_TOGETHER = 2.0  # flows are not independent: so many count as one
_BORDER = 0.12  # of the short side: what lies there is rather outside
_ROUNDS = 6  # of the fit of the background's motion


Flows = tuple[Float32[np.ndarray, "2 h w"], ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame on the working grid, with all that does not depend on clicks.

    Attributes:
        image: RGB.
        flows: To frames next to it, (dx, dy) in pixels of this grid; may be empty.
    """

    image: UInt8[np.ndarray, "h w 3"]
    flows: Flows = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[:2]

    @cached_property
    def lab(self) -> Float32[np.ndarray, "h w 3"]:
        """Colours from 0 to 255 each."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2LAB).astype(np.float32)

    @cached_property
    def fences(self) -> tuple[np.ndarray, np.ndarray]:
        """What parting neighbours costs, to the right and down: see `cut_solver.divide`."""
        steps = [np.square(np.diff(self.lab, axis=axis)).sum(2) for axis in (1, 0)]
        mean = max(float(np.mean([step.mean() for step in steps])), 1e-3)
        right, down = (np.float32(_SMOOTH) * np.exp(-step / (2 * mean)) + _SLACK for step in steps)
        return right.astype(np.float32), down.astype(np.float32)

    @cached_property
    def edges(self) -> Soft:
        """How strongly colours change, 1 on average."""
        return _slope(cv2.GaussianBlur(self.lab, (0, 0), 0.7))

    @cached_property
    def shifts(self) -> Soft:
        """How strongly motion changes, 1 on average; 0 where there is none."""
        slopes = [_slope(flow.transpose(1, 2, 0)) for flow in self.flows]
        return (
            np.mean(slopes, axis=0).astype(np.float32)
            if slopes
            else np.zeros(self.shape, np.float32)
        )

    @cached_property
    def palette(self) -> Palette:
        """The frame's colours in bins."""
        return Palette(self.lab)

    @cached_property
    def places(self) -> Places:
        """Where colours are looked up by place."""
        return Places(self.palette.coarse, CELLS, self.shape)

    @cached_property
    def motions(self) -> list[tuple[np.ndarray, Places]]:
        """How every pixel moves against the background, in bins, for each flow."""
        residuals = [_residual(flow, rim(self.shape)) for flow in self.flows]
        return [(bins, Places(bins, _MOTION_CELLS, self.shape)) for bins in residuals]

    @cached_property
    def guide(self) -> Guide:
        """What smooths where colours are the same."""
        return Guide(self.image.astype(np.float32) / 255)


def _slope(values: np.ndarray) -> np.ndarray:
    x, y = (cv2.Sobel(values, cv2.CV_32F, *d, ksize=3) for d in ((1, 0), (0, 1)))
    slope = np.sqrt(np.square(x).sum(2) + np.square(y).sum(2))
    return (slope / max(float(slope.mean()), 1e-6)).astype(np.float32)


def by_color(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """How much likelier each pixel's colour is inside than outside, both given as 0..1; capped."""
    palette = scene.palette
    seen = [_spread(palette, weights) for weights in (inside, outside)]
    return _odds(*seen, inside, outside)[palette.fine].reshape(scene.shape)


def _spread(palette: Palette, weights: Soft) -> np.ndarray:
    """Weights by fine bin, blurred by one bin."""
    counts = np.bincount(palette.fine, weights.ravel(), int(np.prod(palette.box))).astype(
        np.float32
    )
    first, second, third = palette.box
    counts = cv2.GaussianBlur(counts.reshape(first, -1), (1, 5), 1e-6, sigmaY=1.0)
    counts = np.ascontiguousarray(counts.reshape(first * second, third))
    counts = cv2.GaussianBlur(counts, (5, 1), 1.0, sigmaY=1e-6)
    middle = np.ascontiguousarray(counts.reshape(first, second, third).transpose(1, 0, 2))
    middle = cv2.GaussianBlur(middle.reshape(second, -1), (1, 5), 1e-6, sigmaY=1.0)
    return middle.reshape(second, first, third).transpose(1, 0, 2).ravel()


def by_place(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """As `by_color`, for colours at their places."""
    palette = scene.palette
    seen = [local_counts(palette.coarse, palette.likeness, w, CELLS) for w in (inside, outside)]
    return scene.places.read(_odds(*seen, inside, outside))


def _odds(within: np.ndarray, beyond: np.ndarray, inside: Soft, outside: Soft) -> np.ndarray:
    """Logarithm of the odds from counts inside and outside; 0 where neither was seen."""
    total = float(inside.sum()), float(outside.sum())
    scale = sum(total) / 2
    a, b = within * (scale / max(total[0], 1e-3)), beyond * (scale / max(total[1], 1e-3))
    none = _UNSEEN * scale / len(inside.ravel()) * 20
    return np.clip(np.log((a + none) / (b + none)), -_MOST, _MOST).astype(np.float32)


def by_motion(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """How much likelier each pixel moves as the inside does than as the outside; 0 without flows."""
    total = np.zeros(scene.shape, np.float32)
    if not scene.flows:
        return total
    for bins, places in scene.motions:
        both = inside, outside
        here = [local_counts(bins, _MOTION_LIKENESS, w, _MOTION_CELLS) for w in both]
        everywhere = [table.sum((1, 2)) for table in here]
        total += 0.5 * _odds(*everywhere, *both)[bins].reshape(scene.shape)
        total += 0.5 * places.read(_odds(*here, *both))
    return scene.guide.smoothed(np.clip(_TOGETHER * total / len(scene.flows), -_MOVING, _MOVING))


_MOTION_BINS = np.argwhere(np.ones((_STEPS, _STEPS)))
_MOTION_LIKENESS = np.exp(-np.square(_MOTION_BINS[:, None] - _MOTION_BINS).sum(2) / 2).astype(
    np.float32
)


def _residual(flow: Float32[np.ndarray, "2 h w"], outside: Soft) -> Int[np.ndarray, " pixels"]:
    """Bins of the motion beyond the background's, a quadratic flow, compressed: 1 is about the noise."""
    height, width = outside.shape
    stride = max(1, min(outside.shape) // 48)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)  # type: ignore[misc]
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    rows = basis[::stride, ::stride].reshape(-1, 6)
    goal = flow[:, ::stride, ::stride].reshape(2, -1).T
    trust = outside[::stride, ::stride].ravel() + 1e-3
    weight, spread = trust, 1.0
    fit = np.zeros((6, 2), np.float32)
    for _ in range(_ROUNDS):
        fit = np.linalg.lstsq(
            rows * np.sqrt(weight)[:, None], goal * np.sqrt(weight)[:, None], rcond=None
        )[0]
        off = np.hypot(*(goal - rows @ fit).T)
        order = np.argsort(off)
        grown = np.cumsum(trust[order])
        spread = float(off[order][np.searchsorted(grown, grown[-1] / 2)])  # the median, weighted
        weight = trust / (1 + np.square(off / (2 * spread + 1e-6)))
    rest = flow - (basis.reshape(-1, 6) @ fit).T.reshape(2, height, width)
    compressed = np.arcsinh(rest / np.float32(spread + 0.15)).astype(np.float32)
    bins = np.clip((compressed / _REACH + 1) / 2 * _STEPS, 0, _STEPS - 1).astype(np.int64)
    return (bins[0] * _STEPS + bins[1]).ravel()


def rim(shape: tuple[int, int]) -> Soft:
    """1 at the frame's border, falling to 0.1 away from it."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    depth = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    return np.maximum(0.1, np.exp(-np.square(depth / (_BORDER * min(shape))) / 2)).astype(
        np.float32
    )
