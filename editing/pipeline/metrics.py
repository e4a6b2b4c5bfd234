"""Metrics of a run: change outside the regions, flicker, and where attention went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import torch
from jaxtyping import Bool

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.media.lazy_frames import Frames, LazyFrames, Mask, Rgb, windows
from regrain.editing.motion.flow import estimate_both, occlusion, warp
from regrain.editing.recipe.events import EditResult, Progress
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.texts import Content

Metrics = Content
Masks = Bool[np.ndarray | LazyFrames, "frames height width"]
Sum = tuple[float, float]
"""A weighted sum of values, and the sum of the weights."""
BEST_PSNR = 100.0  # reported for equal frames, where the formula gives infinity


class _Mean:
    """A running mean; None while it is empty."""

    def __init__(self) -> None:
        self._total = 0.0
        self._weight = 0.0

    def add(self, more: Sum) -> None:
        total, weight = more
        self._total += total
        self._weight += weight

    @property
    def value(self) -> float | None:
        return self._total / self._weight if self._weight else None

    @property
    def decibels(self) -> float | None:
        """Of a mean of squares: the peak signal-to-noise ratio, at most 100."""
        if not self.value:
            return None if self.value is None else BEST_PSNR
        return min(BEST_PSNR, 10 * float(np.log10(255**2 / self.value)))


_Means = defaultdict[str, _Mean]


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
    means: _Means = defaultdict(_Mean)
    by_region = {region.name: _Mean() for region in request.edited}
    labels = {region.name: region.label for region in request.regions}
    attention: dict[str, _Means] = {
        name: defaultdict(_Mean) for name in labels if name in result.attention
    }
    last: tuple[Rgb, Rgb] | None = None
    shown = (result.source, result.frames, result.uncomposited, result.edited_mask)
    parts = list(windows(len(result.source)))
    for number, (start, stop) in enumerate(parts, 1):
        read = [frames[start:stop] for frames in (*shown, request.areas)]
        for index, frames in enumerate(zip(*read, strict=True), start):
            source, frame, alone, inside, areas = frames
            means["outside"].add(_squares(source, frame, ~inside))
            means["similar"].add(_similarity(source, frame, ~inside))
            means["alone"].add(_squares(source, alone, ~inside))
            means["inside"].add(_squares(source, frame, inside))
            if last:
                _add_warping(means, last, (source, frame))
            last = source, frame
            for name, mean in by_region.items():
                mean.add(_squares(source, frame, areas == labels[name]))
            for name, shares in attention.items():
                area = areas == labels[name]
                _add_attention(shares, result.attention[name], index, area)
        yield Progress("measuring", number, len(parts), None)
    return {
        "outside_psnr": means["outside"].decibels,
        "outside_ssim": means["similar"].value,
        "outside_psnr_uncomposited": means["alone"].decibels,
        "warp_error": means["edit"].value,
        "warp_error_source": means["own"].value,
        "inside_psnr": means["inside"].decibels,
        "inside_psnr_by_region": {n: mean.decibels for n, mean in by_region.items()},
        "attention": {
            name: {share: mean.value for share, mean in shares.items()}
            for name, shares in attention.items()
        },
    }


def psnr(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the peak signal-to-noise ratio over the pixels `where`: dB, at most 100;
    None for no pixel."""
    return _mean_of(_squares, a, b, where).decibels


def ssim(a: Frames, b: Frames, where: Masks) -> float | None:
    """Compute the structural similarity averaged over the pixels `where` and channels;
    None for no pixel.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to
    structural similarity", Eq. 13; Gaussian window of 11 pixels, sigma 1.5.
    """
    return _mean_of(_similarity, a, b, where).value


def warp_error(source: Frames, edited: Frames) -> float | None:
    """Measure the deviation of an edit from the source's motion, 0..1; see
    `_add_warping`. None for one frame."""
    means: _Means = defaultdict(_Mean)
    for last, now in pairwise(zip(source, edited, strict=True)):
        _add_warping(means, last, now)
    return means["edit"].value


def _mean_of(add: Callable[..., Sum], a: Frames, b: Frames, where: Masks) -> _Mean:
    mean = _Mean()
    for frames in zip(a, b, where, strict=True):
        mean.add(add(*frames))
    return mean


def _squares(a: Rgb, b: Rgb, where: Mask) -> Sum:
    difference = a[where].astype(np.float64) - b[where]
    return float(np.square(difference).sum()), difference.size


def _similarity(a: Rgb, b: Rgb, where: Mask) -> Sum:
    if not where.any():
        return 0.0, 0
    blur = partial(cv2.GaussianBlur, ksize=(11, 11), sigmaX=1.5)
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
    similarity = (numerator / denominator)[where]
    return float(similarity.sum()), similarity.size


def _add_warping(means: _Means, last: tuple[Rgb, Rgb], now: tuple[Rgb, Rgb]) -> None:
    """Add the deviation of a frame and its edit, from those before, from the source's
    motion: 0 for an edit that moves exactly like the source.

    Mean absolute difference between each frame and the next one warped back by the
    source's flow, over pixels that the next frame shows, 0..1.

    Source: Lai et al. 2018, arXiv:1808.00449, Sec. 4.3 (with absolute instead of
        squared differences).
    """
    # Always DIS, so that figures of different machines compare.
    forward, backward = estimate_both(last[0][None], now[0][None], "dis")
    visible = ~occlusion(forward, backward)[0]
    for name, before, after in zip(("own", "edit"), last, now, strict=True):
        frames = torch.from_numpy(np.stack([before, after])).float() / 255
        first, second = frames.movedim(-1, 1).split(1)
        difference = (warp(second, forward) - first).abs().mean(1)[0][visible]
        means[name].add((float(difference.sum()), len(difference)))


def _add_attention(
    means: _Means, maps: RegionAttention, index: int, area: Mask
) -> None:
    """Add the attention to a region's words inside and outside its area in a frame; a
    cell of the grid counts by the share it covers."""
    before = maps.before[index]
    after = maps.after[index]
    size = before.shape[::-1]
    covered = cv2.resize(area.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    for place, weights in (("inside", covered), ("outside", 1 - covered)):
        weight = float(weights.sum(dtype=np.float64))
        for when, values in (("before", before), ("after", after)):
            total = float((values * weights).sum(dtype=np.float64))
            means[f"{place}_{when}"].add((total, weight))
