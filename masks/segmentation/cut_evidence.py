"""Evidence that tells a thing from its surroundings in one frame: its colours, its
place, its motion.

All evidence is in logarithms of odds, learnt from a soft mask of what is probably
inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int

from regrain.editing.media.lazy_frames import Rgb, Shape
from regrain.editing.motion.flow import Flow
from regrain.masks.segmentation.cut_tables import (
    CELLS,
    Guide,
    Palette,
    Places,
    Soft,
    likeness_of,
)

LONG_SIDE = 256  # pixels worked on
_MOST = 4.0  # of the evidence of colours
_SMOOTH = 2.5  # cost of an edge where colours are the same, beyond `_SLACK`
_SLACK = 0.1  # cost of an edge where colours part
_UNSEEN = 0.05  # pixels of a colour that count as nothing
_MOVING = 2.5  # most of the evidence of motion
_MOTION_CELLS = 6  # cells to a side in which motion is counted
_REACH = 4.0  # largest compressed residual that has a bin of its own
_STEPS = 17  # bins of compressed residuals in x and in y
_TOGETHER = 2.0  # flows are not independent: so many count as one
_BORDER = 0.12  # of the short side: what lies there is rather outside
_ROUNDS = 6  # of the fit of the background's motion


Flows = tuple[Flow, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """A frame on the working grid, and everything about it that does not depend on
    clicks.

    Attributes:
        image: RGB.
        flows: To frames next to it, (dx, dy) in pixels of this grid; may be empty.
    """

    image: Rgb
    flows: Flows = ()

    @property
    def shape(self) -> Shape:
        """Height and width."""
        return self.image.shape[:2]

    @cached_property
    def lab(self) -> Float32[np.ndarray, "h w 3"]:
        """Colours from 0 to 255 each."""
        return cv2.cvtColor(self.image, cv2.COLOR_RGB2LAB).astype(np.float32)

    @cached_property
    def fences(self) -> tuple[np.ndarray, np.ndarray]:
        """Costs of parting neighbours, to the right and down; see
        `cut_solver.divide`."""
        right = np.square(np.diff(self.lab, axis=1)).sum(2)
        down = np.square(np.diff(self.lab, axis=0)).sum(2)
        mean = max(float(np.mean([right.mean(), down.mean()])), 1e-3)
        right = np.float32(_SMOOTH) * np.exp(-right / (2 * mean)) + _SLACK
        down = np.float32(_SMOOTH) * np.exp(-down / (2 * mean)) + _SLACK
        return right.astype(np.float32), down.astype(np.float32)

    @cached_property
    def edges(self) -> Soft:
        """Strength of changes of colour, 1 on average."""
        return _slope(cv2.GaussianBlur(self.lab, (0, 0), 0.7))

    @cached_property
    def shifts(self) -> Soft:
        """Strength of changes of motion, 1 on average; 0 without flows."""
        if not self.flows:
            return np.zeros(self.shape, np.float32)
        slopes = [_slope(flow) for flow in self.flows]
        return np.mean(slopes, axis=0).astype(np.float32)

    @cached_property
    def palette(self) -> Palette:
        """The frame's colours in bins."""
        return Palette(self.lab)

    @cached_property
    def places(self) -> Places:
        """Lookup of colours by place."""
        palette = self.palette
        return Places(palette.coarse, [palette.likeness], CELLS, self.shape)

    @cached_property
    def motions(self) -> list[Places]:
        """Lookup of each flow's motion against the background, in bins."""
        residuals = [_motion_bins(flow, rim(self.shape)) for flow in self.flows]
        alike = likeness_of(np.arange(_STEPS))
        return [
            Places(bins, [alike, alike], _MOTION_CELLS, self.shape)
            for bins in residuals
        ]

    @cached_property
    def guide(self) -> Guide:
        """Filter that smooths where colours are the same."""
        return Guide(self.image.astype(np.float32) / 255)


def _slope(values: np.ndarray) -> np.ndarray:
    x = cv2.Sobel(values, cv2.CV_32F, 1, 0, ksize=3)
    y = cv2.Sobel(values, cv2.CV_32F, 0, 1, ksize=3)
    slope = np.sqrt(np.square(x).sum(2) + np.square(y).sum(2))
    return (slope / max(float(slope.mean()), 1e-6)).astype(np.float32)


def by_color(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """Return the evidence of each pixel's colour, from soft masks 0..1 of inside and
    outside; capped."""
    palette = scene.palette
    within = _color_counts(palette, inside)
    beyond = _color_counts(palette, outside)
    odds = _log_odds(within, beyond, inside, outside)
    return odds[palette.fine].reshape(scene.shape)


def _color_counts(palette: Palette, weights: Soft) -> np.ndarray:
    """Sum weights by fine bin, and blur the sums by one bin."""
    bins = int(np.prod(palette.box))
    counts = np.bincount(palette.fine, weights.ravel(), bins).astype(np.float32)
    first, second, third = palette.box
    counts = cv2.GaussianBlur(counts.reshape(first, -1), (1, 5), 1e-6, sigmaY=1.0)
    counts = np.ascontiguousarray(counts.reshape(first * second, third))
    counts = cv2.GaussianBlur(counts, (5, 1), 1.0, sigmaY=1e-6)
    middle = np.ascontiguousarray(
        counts.reshape(first, second, third).transpose(1, 0, 2)
    )
    middle = cv2.GaussianBlur(middle.reshape(second, -1), (1, 5), 1e-6, sigmaY=1.0)
    return middle.reshape(second, first, third).transpose(1, 0, 2).ravel()


def by_place(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """Return the evidence of colours at their places; else as `by_color`."""
    within = scene.places.counts(inside)
    beyond = scene.places.counts(outside)
    return scene.places.read(_log_odds(within, beyond, inside, outside))


def _log_odds(
    within: np.ndarray, beyond: np.ndarray, inside: Soft, outside: Soft
) -> np.ndarray:
    """Return the logarithm of the odds from counts inside and outside; 0 where neither
    was seen."""
    area_inside = float(inside.sum())
    area_outside = float(outside.sum())
    scale = (area_inside + area_outside) / 2
    within = within * (scale / max(area_inside, 1e-3))
    beyond = beyond * (scale / max(area_outside, 1e-3))
    unseen = _UNSEEN * scale / len(inside.ravel()) * 20
    odds = (within + unseen) / (beyond + unseen)
    return np.clip(np.log(odds), -_MOST, _MOST).astype(np.float32)


def by_motion(scene: Scene, inside: Soft, outside: Soft) -> Soft:
    """Return the evidence of each pixel's motion, from soft masks as for `by_color`; 0
    without flows."""
    total = np.zeros(scene.shape, np.float32)
    if not scene.flows:
        return total
    for places in scene.motions:
        within = places.counts(inside)
        beyond = places.counts(outside)
        here = _log_odds(within, beyond, inside, outside)
        everywhere = _log_odds(
            within.sum((1, 2)),
            beyond.sum((1, 2)),
            inside,
            outside,
        )
        total += places.read(0.5 * (here + everywhere[:, None, None]))
    evidence = _TOGETHER * total / len(scene.flows)
    return scene.guide.smoothed(np.clip(evidence, -_MOVING, _MOVING))


def _motion_bins(flow: Flow, outside: Soft) -> Int[np.ndarray, " pixels"]:
    """Bin each pixel's motion beyond that of the background, whose flow is quadratic in
    x and y."""
    residual, spread = _residual(flow, outside)
    # 1 is about the noise
    compressed = np.arcsinh(residual / np.float32(spread + 0.15))
    steps = (compressed.astype(np.float32) / _REACH + 1) / 2 * _STEPS
    bins = np.clip(steps, 0, _STEPS - 1).astype(np.int64)
    return (bins @ [_STEPS, 1]).ravel()


def _residual(flow: Flow, outside: Soft) -> tuple[Float[np.ndarray, "h w 2"], float]:
    """Subtract the background's motion from a flow; return that and its median length
    outside.

    The background is fitted by least squares, with less weight from round to round for
    what is far off.
    """
    height, width = outside.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)  # type: ignore[misc]
    basis = np.stack(
        [
            np.ones_like(x),
            x,
            y,
            x * x,
            x * y,
            y * y,
        ],
        -1,
    )
    stride = max(1, min(outside.shape) // 48)
    rows = basis[::stride, ::stride].reshape(-1, 6)
    goal = flow[::stride, ::stride].reshape(-1, 2)
    trust = outside[::stride, ::stride].ravel() + 1e-3
    weight = trust
    fit = np.zeros((6, 2), np.float32)
    spread = 1.0
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)[:, None]
        fit, *_ = np.linalg.lstsq(rows * root, goal * root, rcond=None)
        off = np.hypot(*(goal - rows @ fit).T)
        # the median, weighted by trust
        order = np.argsort(off)
        grown = np.cumsum(trust[order])
        middle = np.searchsorted(grown, grown[-1] / 2)
        spread = float(off[order][middle])
        weight = trust / (1 + np.square(off / (2 * spread + 1e-6)))
    background = basis.reshape(-1, 6) @ fit
    return flow - background.reshape(flow.shape), spread


def rim(shape: Shape) -> Soft:
    """Return a soft mask that is 1 at the frame's border and falls to 0.1 away from
    it."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    depth = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))
    border = np.exp(-np.square(depth / (_BORDER * min(shape))) / 2)
    return np.maximum(0.1, border).astype(np.float32)
