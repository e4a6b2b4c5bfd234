"""Metrics of a run: change outside the regions, flicker, and where attention went."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import product

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.media.lazy_frames import LazyFrames, windows
from regrain.editing.motion.flow import estimate_both, occlusion, warp
from regrain.editing.recipe.events import EditResult, Progress
from regrain.editing.request.edit_request import EditRequest

Metrics = dict[str, object]
Frames = UInt8[np.ndarray | LazyFrames, "frames h w 3"]
Masks = Bool[np.ndarray | LazyFrames, "frames h w"]
BEST_PSNR = 100.0  # reported for equal frames, where the formula gives infinity


def measure(result: EditResult, request: EditRequest) -> Metrics:
    """Compute the `metrics` of report.json; see `measuring`."""
    steps = measuring(result, request)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def measuring(result: EditResult, request: EditRequest) -> Generator[Progress, None, Metrics]:
    """Compute the `metrics` of report.json; yields how far it is. The request's labels say where regions are.

    Returns:
        outside_psnr (dB, at most 100), outside_ssim, outside_psnr_uncomposited, warp_error (0..1),
        warp_error_source (the source's own), inside_psnr (dB to the source where it was edited),
        inside_psnr_by_region, and attention: per region inside_before, inside_after, outside_before,
        outside_after (0..1). None if there is nothing to measure: no pixel outside, or only one frame.
    """
    squares, similar, squares_uncomposited, warping = Mean(), Mean(), Mean(), _Warping()
    inside, changes = Mean(), {region.name: Mean() for region in request.edited}
    seen = {
        r.name: _Inside(result.attention[r.name])
        for r in request.regions
        if r.name in result.attention
    }
    labels = {region.name: region.label for region in request.regions}
    parts = list(windows(len(result.source)))
    for number, (start, stop) in enumerate(parts, 1):
        source, frames, uncomposited = (
            x[start:stop] for x in (result.source, result.frames, result.uncomposited)
        )
        edited = result.edited_mask[start:stop]
        outside = ~edited
        _add_squares(squares, source, frames, outside)
        _add_similarity(similar, source, frames, outside)
        _add_squares(squares_uncomposited, source, uncomposited, outside)
        _add_squares(inside, source, frames, edited)
        warping.add(source, frames)
        areas = request.areas.read(start, stop) if labels else None
        for name, change in changes.items():
            _add_squares(change, source, frames, areas == labels[name])
        for name, maps in seen.items():
            maps.add(start, areas == labels[name])
        yield Progress("measuring", number, len(parts), None)
    return {
        "outside_psnr": _decibels(squares),
        "outside_ssim": similar.value,
        "outside_psnr_uncomposited": _decibels(squares_uncomposited),
        "warp_error": warping.mean.value,
        "warp_error_source": warping.own.value,
        "inside_psnr": _decibels(inside),
        "inside_psnr_by_region": {name: _decibels(change) for name, change in changes.items()},
        "attention": {name: maps.values() for name, maps in seen.items()},
    }


class Mean:
    """A running mean; None while it is empty."""

    def __init__(self) -> None:
        self.total, self.weight = 0.0, 0.0

    def add(self, total: float, weight: float | int) -> None:
        """Add a weighted sum of values, and the sum of the weights."""
        self.total, self.weight = self.total + total, self.weight + weight

    @property
    def value(self) -> float | None:
        """The mean so far."""
        return self.total / self.weight if self.weight else None


def psnr(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the peak signal-to-noise ratio over the pixels `where`: dB, at most 100; None for no pixel."""
    return _decibels(_mean_of(_add_squares, a, b, where))


def ssim(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the structural similarity averaged over the pixels `where` and channels; None for no pixel.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
    Eq. 13; Gaussian window of 11 pixels, sigma 1.5.
    """
    return _mean_of(_add_similarity, a, b, where).value


def _mean_of(add: Callable[..., None], a: Frames, b: Frames, where: Masks) -> Mean:
    mean = Mean()
    for start, stop in windows(len(a)):
        add(mean, *(x[start:stop] for x in (a, b, where)))
    return mean


def warp_error(source: Frames, edited: Frames) -> float | None:
    """Measure the deviation from the source's motion: 0 if the edit moves exactly like the source.

    Mean absolute difference between each edited frame and the next one warped back by the source's flow,
    over pixels that the next frame shows, 0..1; None for one frame.

    Source: Lai et al. 2018, arXiv:1808.00449, Sec. 4.3 (with absolute instead of squared differences).
    """
    warping = _Warping()
    for start, stop in windows(len(source)):
        warping.add(source[start:stop], edited[start:stop])
    return warping.mean.value


class _Warping:
    """`warp_error` of an edit and of the source itself, window after window."""

    def __init__(self) -> None:
        self.mean, self.own, self._last = Mean(), Mean(), None

    def add(self, source: Frames, edited: Frames) -> None:
        """Add frames that follow those added before."""
        for pair in zip(source, edited, strict=True):
            if self._last:
                here, there = (frames[0][None] for frames in (self._last, pair))
                # Everywhere the same, so that figures of different machines compare.
                forward, backward = estimate_both(here, there, "dis")
                visible = ~occlusion(forward, backward)[0]
                for mean, now, after in zip((self.own, self.mean), self._last, pair, strict=True):
                    mean.add(*_warped_difference(now, after, forward, visible))
            self._last = pair


def _warped_difference(
    frame: UInt8[np.ndarray, "h w 3"],
    following: UInt8[np.ndarray, "h w 3"],
    flow: Float[torch.Tensor, "1 2 h w"],
    visible: Bool[torch.Tensor, "h w"],
) -> tuple[float, int]:
    """Sum and number of the differences `warp_error` is the mean of, for a frame and the one that follows."""
    now, after = _to_tensor(frame[None]), _to_tensor(following[None])
    difference = (warp(after, flow) - now).abs().mean(1)[0]
    return float(difference[visible].sum()), int(visible.sum())


def _add_squares(mean: Mean, a: Frames, b: Frames, where: Masks) -> None:
    for x, y, w in zip(a, b, where, strict=True):
        mean.add(float(np.square(x[w].astype(np.float64) - y[w]).sum()), 3 * int(w.sum()))


def _decibels(squares: Mean) -> float | None:
    if squares.value is None:
        return None
    return (
        min(BEST_PSNR, 10 * float(np.log10(255**2 / squares.value))) if squares.value else BEST_PSNR
    )


def _add_similarity(mean: Mean, a: Frames, b: Frames, where: Masks) -> None:
    for x, y, w in zip(a, b, where, strict=True):
        if w.any():
            mean.add(float(_ssim_map(x, y)[w].sum()), 3 * int(w.sum()))


def _to_tensor(frames: UInt8[np.ndarray, "frames h w 3"]) -> Float[torch.Tensor, "frames 3 h w"]:
    return rearrange(torch.from_numpy(frames).float() / 255, "frames h w c -> frames c h w")


def _ssim_map(
    a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "h w 3"]:
    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )


class _Inside:
    """How much attention to a region's words lies inside and outside its area, before and after."""

    def __init__(self, maps: RegionAttention) -> None:
        self._maps = maps
        self._means = {key: Mean() for key in product(("inside", "outside"), ("before", "after"))}

    def add(self, start: int, area: Bool[np.ndarray, "frames h w"]) -> None:
        """Add the area in the frames from `start` on; a cell of the grid counts by the share it covers."""
        grid = self._maps.before.shape[2], self._maps.before.shape[1]
        for index, frame in enumerate(area, start):
            share = cv2.resize(frame.astype(np.float32), grid, interpolation=cv2.INTER_AREA)
            for (place, when), mean in self._means.items():
                weights = share if place == "inside" else 1 - share
                values = getattr(self._maps, when)[index] * weights
                mean.add(float(values.sum(dtype=np.float64)), float(weights.sum(dtype=np.float64)))

    def values(self) -> dict[str, float | None]:
        return {f"{place}_{when}": mean.value for (place, when), mean in self._means.items()}
