"""Metrics of a run: change outside the regions, flicker, and where attention went."""

from __future__ import annotations

from collections.abc import Callable, Generator

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


def measuring(
    result: EditResult, request: EditRequest
) -> Generator[Progress, None, Metrics]:
    """Compute the `metrics` of report.json; yields how far it is. The request's labels
    say where regions are.

    Returns:
        outside_psnr (dB, at most 100), outside_ssim, outside_psnr_uncomposited,
        warp_error (0..1), warp_error_source (the source's own), inside_psnr (dB to the
        source where it was edited), inside_psnr_by_region, and attention: per region
        inside_before, inside_after, outside_before, outside_after (0..1). None if there
        is nothing to measure: no pixel outside, or only one frame.
    """
    outside_squares = Mean()
    outside_similarity = Mean()
    uncomposited_squares = Mean()
    inside_squares = Mean()
    by_region = {region.name: Mean() for region in request.edited}
    warping = _Warping()
    attention: dict[str, _AttentionShares] = {}
    for region in request.regions:
        if region.name in result.attention:
            attention[region.name] = _AttentionShares(result.attention[region.name])
    labels = {region.name: region.label for region in request.regions}
    parts = list(windows(len(result.source)))
    for number, (start, stop) in enumerate(parts, 1):
        source = result.source[start:stop]
        frames = result.frames[start:stop]
        uncomposited = result.uncomposited[start:stop]
        inside = result.edited_mask[start:stop]
        outside = ~inside
        _add_squares(outside_squares, source, frames, outside)
        _add_similarity(outside_similarity, source, frames, outside)
        _add_squares(uncomposited_squares, source, uncomposited, outside)
        _add_squares(inside_squares, source, frames, inside)
        warping.add(source, frames)
        areas = request.areas.read(start, stop) if labels else None
        for name, squares in by_region.items():
            _add_squares(squares, source, frames, areas == labels[name])
        for name, shares in attention.items():
            shares.add(start, areas == labels[name])
        yield Progress("measuring", number, len(parts), None)
    return {
        "outside_psnr": _decibels(outside_squares),
        "outside_ssim": outside_similarity.value,
        "outside_psnr_uncomposited": _decibels(uncomposited_squares),
        "warp_error": warping.mean.value,
        "warp_error_source": warping.own.value,
        "inside_psnr": _decibels(inside_squares),
        "inside_psnr_by_region": {
            name: _decibels(mean) for name, mean in by_region.items()
        },
        "attention": {name: shares.values() for name, shares in attention.items()},
    }


class Mean:
    """A running mean; None while it is empty."""

    def __init__(self) -> None:
        self.total = 0.0
        self.weight = 0.0

    def add(self, total: float, weight: float | int) -> None:
        """Add a weighted sum of values, and the sum of the weights."""
        self.total += total
        self.weight += weight

    @property
    def value(self) -> float | None:
        """The mean so far."""
        return self.total / self.weight if self.weight else None


def psnr(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the peak signal-to-noise ratio over the pixels `where`: dB, at most 100;
    None for no pixel."""
    return _decibels(_mean_of(_add_squares, a, b, where))


def ssim(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the structural similarity averaged over the pixels `where` and channels;
    None for no pixel.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to
    structural similarity", Eq. 13; Gaussian window of 11 pixels, sigma 1.5.
    """
    return _mean_of(_add_similarity, a, b, where).value


def _mean_of(add: Callable[..., None], a: Frames, b: Frames, where: Masks) -> Mean:
    mean = Mean()
    for start, stop in windows(len(a)):
        add(mean, a[start:stop], b[start:stop], where[start:stop])
    return mean


def warp_error(source: Frames, edited: Frames) -> float | None:
    """Measure the deviation from the source's motion: 0 if the edit moves exactly like
    the source.

    Mean absolute difference between each edited frame and the next one warped back by
    the source's flow, over pixels that the next frame shows, 0..1; None for one frame.

    Source: Lai et al. 2018, arXiv:1808.00449, Sec. 4.3 (with absolute instead of
        squared differences).
    """
    warping = _Warping()
    for start, stop in windows(len(source)):
        warping.add(source[start:stop], edited[start:stop])
    return warping.mean.value


class _Warping:
    """`warp_error` of an edit and of the source itself, window after window."""

    def __init__(self) -> None:
        self.mean = Mean()
        self.own = Mean()
        self._last: tuple[np.ndarray, np.ndarray] | None = None  # frame and edit

    def add(self, source: Frames, edited: Frames) -> None:
        """Add frames that follow those added before."""
        for frame, edit in zip(source, edited, strict=True):
            if self._last:
                self._compare(*self._last, frame, edit)
            self._last = frame, edit

    def _compare(
        self,
        frame: np.ndarray,
        edit: np.ndarray,
        next_frame: np.ndarray,
        next_edit: np.ndarray,
    ) -> None:
        # Always DIS, so that figures of different machines compare.
        forward, backward = estimate_both(frame[None], next_frame[None], "dis")
        visible = ~occlusion(forward, backward)[0]
        self.own.add(*_warped_difference(frame, next_frame, forward, visible))
        self.mean.add(*_warped_difference(edit, next_edit, forward, visible))


def _warped_difference(
    frame: UInt8[np.ndarray, "h w 3"],
    following: UInt8[np.ndarray, "h w 3"],
    flow: Float[torch.Tensor, "1 2 h w"],
    visible: Bool[torch.Tensor, "h w"],
) -> tuple[float, int]:
    """Return sum and number of the differences whose mean is `warp_error`, of a frame
    and the next one."""
    now = _to_tensor(frame[None])
    after = _to_tensor(following[None])
    difference = (warp(after, flow) - now).abs().mean(1)[0]
    return float(difference[visible].sum()), int(visible.sum())


def _add_squares(mean: Mean, a: Frames, b: Frames, where: Masks) -> None:
    for x, y, inside in zip(a, b, where, strict=True):
        difference = x[inside].astype(np.float64) - y[inside]
        mean.add(float(np.square(difference).sum()), 3 * int(inside.sum()))


def _decibels(squares: Mean) -> float | None:
    if squares.value is None:
        return None
    if squares.value == 0:
        return BEST_PSNR
    return min(BEST_PSNR, 10 * float(np.log10(255**2 / squares.value)))


def _add_similarity(mean: Mean, a: Frames, b: Frames, where: Masks) -> None:
    for x, y, inside in zip(a, b, where, strict=True):
        if inside.any():
            similarity = _ssim_map(x, y)[inside]
            mean.add(float(similarity.sum()), 3 * int(inside.sum()))


def _to_tensor(
    frames: UInt8[np.ndarray, "frames h w 3"],
) -> Float[torch.Tensor, "frames 3 h w"]:
    return rearrange(
        torch.from_numpy(frames).float() / 255, "frames h w c -> frames c h w"
    )


def _ssim_map(
    a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "h w 3"]:
    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    x = a.astype(np.float64)
    y = b.astype(np.float64)
    mean_x = blur(x)
    mean_y = blur(y)
    var_x = blur(x * x) - mean_x**2
    var_y = blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1 = (0.01 * 255) ** 2
    c2 = (0.03 * 255) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    denominator = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return numerator / denominator


class _AttentionShares:
    """Mean attention to a region's words inside and outside its area, before and after
    the edit."""

    def __init__(self, maps: RegionAttention) -> None:
        self._before = maps.before
        self._after = maps.after
        self._means = {
            "inside_before": Mean(),
            "inside_after": Mean(),
            "outside_before": Mean(),
            "outside_after": Mean(),
        }

    def add(self, start: int, area: Bool[np.ndarray, "frames h w"]) -> None:
        """Add the area in the frames from `start` on; a cell of the grid counts by the
        share it covers."""
        _, height, width = self._before.shape
        for index, frame in enumerate(area, start):
            inside = frame.astype(np.float32)
            inside = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
            outside = 1 - inside
            self._add("inside_before", self._before[index], inside)
            self._add("inside_after", self._after[index], inside)
            self._add("outside_before", self._before[index], outside)
            self._add("outside_after", self._after[index], outside)

    def _add(self, name: str, attention: np.ndarray, weights: np.ndarray) -> None:
        weighted = attention * weights
        total = float(weighted.sum(dtype=np.float64))
        weight = float(weights.sum(dtype=np.float64))
        self._means[name].add(total, weight)

    def values(self) -> dict[str, float | None]:
        return {name: mean.value for name, mean in self._means.items()}
