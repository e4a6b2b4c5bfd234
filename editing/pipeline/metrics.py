"""Metrics of a run: change outside the regions, flicker, and where attention went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from itertools import pairwise, product

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.media.clip import resize, within
from regrain.editing.media.lazy_frames import (
    WINDOW,
    Grey,
    Mask,
    Rgb,
    RgbPair,
    few,
    windows,
)
from regrain.editing.motion.flow import estimate_both, occluded_once, warp
from regrain.editing.recipe.events import EditResult, Progress, Steps
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.texts import Content
from regrain.editing.storage.threads import each

Metrics = Content
Sum = tuple[float, float]
"""A weighted sum of values, and the sum of the weights."""
BEST_PSNR = 100.0  # reported for equal frames, where the formula gives infinity
_MOTION_SIDE = 1920  # pixels of frames whose motion is looked for
_TILE = 64  # pixels of a side, so that what is computed of it stays in the cache
_REACH = 5  # of the window of the structural similarity, from its middle


class Mean:
    """A running mean; None while it is empty."""

    def __init__(self) -> None:
        self._total = 0.0
        self._weight = 0.0

    def add(self, more: Sum) -> None:
        """Add a sum."""
        total, weight = more
        self._total += total
        self._weight += weight

    @property
    def value(self) -> float | None:
        """The mean so far."""
        return self._total / self._weight if self._weight else None

    @property
    def decibels(self) -> float | None:
        """Of a mean of squares: the peak signal-to-noise ratio, at most 100."""
        if not self.value:
            return None if self.value is None else BEST_PSNR
        return min(BEST_PSNR, 10 * float(np.log10(255**2 / self.value)))


_Means = defaultdict[str, Mean]


_Frame = tuple[Rgb, Rgb, Rgb, Mask, Grey]
"""A frame of the source, the edit, the edit alone, where that is, and labels."""


def measure(result: EditResult, request: EditRequest) -> Metrics:
    """Compute the `metrics` of report.json; see `measuring`."""
    steps = measuring(result, request)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return stop.value


def measuring(result: EditResult, request: EditRequest) -> Steps[Metrics]:
    """Compute the `metrics` of report.json; yields how far it is. The request's labels
    say where regions are.

    Returns:
        outside_psnr (dB, at most 100), outside_ssim, outside_psnr_uncomposited,
        warp_error (within shots, 0..1), warp_error_source (the source's own),
        inside_psnr (dB to the source where it was edited), inside_psnr_by_region, and
        attention: per region inside_before, inside_after, outside_before, outside_after
        (0..1). None if there is nothing to measure: no pixel outside, or only one frame.
    """
    means: _Means = defaultdict(Mean)
    by_region = {region.name: Mean() for region in request.edited}
    labels = {region.name: region.label for region in request.regions}
    attention: dict[str, _Means] = {
        name: defaultdict(Mean) for name in labels if name in result.attention
    }
    cuts = result.plan.cuts if result.plan else ()
    last: list[RgbPair] = []
    shown = (
        result.source,
        result.frames,
        result.uncomposited,
        result.edited_mask,
        request.areas,
    )

    def add(start: int, stop: int) -> list[RgbPair]:
        """Measure some frames; return the last of them, for the next ones' motion."""
        read = [frames[start:stop] for frames in shown]
        frames: list[_Frame] = [*zip(*read, strict=True)]
        for alike in each(lambda one: similarity(one[0], one[1], ~one[3]), frames):
            means["similar"].add(alike)
        small = [*last, *(for_motion(*one[:2]) for one in frames)]
        pairs = enumerate(pairwise(small), start + 1 - len(last))
        moved = (pair for number, pair in pairs if number not in cuts)
        for own, of_edit in each(warping, moved):
            means["own"].add(own)
            means["edit"].add(of_edit)
        for index, (source, frame, alone, inside, areas) in enumerate(frames, start):
            outside = ~inside
            means["outside"].add(squares(source, frame, outside))
            means["alone"].add(squares(source, alone, outside))
            means["inside"].add(squares(source, frame, inside))
            for name, mean in by_region.items():
                mean.add(squares(source, frame, areas == labels[name]))
            for name, shares in attention.items():
                area = areas == labels[name]
                _add_attention(shares, result.attention[name], index, area)
        return small[-1:]

    together = few(WINDOW, result.edited_mask.shape)
    parts = list(windows(len(result.source), together))
    for number, (start, stop) in enumerate(parts, 1):
        last = add(start, stop)
        yield Progress("measuring", number, len(parts))
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


def squares(a: Rgb, b: Rgb, where: Mask) -> Sum:
    """Add up the squares of differences over the pixels `where` and channels."""
    asked = where.view(np.uint8)
    total = cv2.norm(a, b, cv2.NORM_L2SQR, asked)
    return round(total), 3 * cv2.countNonZero(asked)  # whole, but for rounding


def similarity(a: Rgb, b: Rgb, where: Mask) -> Sum:
    """Add up the structural similarity over the pixels `where` and channels.

    Where all that a window reaches is alike, it is 1; else it is computed tile by tile.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to
    structural similarity", Eq. 13; Gaussian window of 11 pixels, sigma 1.5.
    """
    asked = where.view(np.uint8)
    pixels = cv2.countNonZero(asked)
    changed = cv2.bitwise_and(asked, _reached(a, b))
    total = 3.0 * (pixels - cv2.countNonZero(changed))
    edges = (_REACH,) * 4
    wide_a = cv2.copyMakeBorder(a, *edges, cv2.BORDER_REFLECT_101)
    wide_b = cv2.copyMakeBorder(b, *edges, cv2.BORDER_REFLECT_101)
    height, width = where.shape
    corners = product(range(0, height, _TILE), range(0, width, _TILE))
    for y, x in corners:
        tile = changed[y : y + _TILE, x : x + _TILE]
        left, top, wide, high = cv2.boundingRect(tile)
        if wide:
            first_row = y + top
            first_column = x + left
            rows = slice(first_row, first_row + high + 2 * _REACH)
            columns = slice(first_column, first_column + wide + 2 * _REACH)
            found = _similarities(wide_a[rows, columns], wide_b[rows, columns])
            inner = changed[rows, columns][:high, :wide] > 0
            total += float(found[inner].sum(dtype=np.float64))
    return total, 3 * pixels


def _reached(a: Rgb, b: Rgb) -> Grey:
    """Return 255 for the pixels whose window has a difference in it, else 0."""
    alike = cv2.inRange(cv2.absdiff(a, b), (0, 0, 0), (0, 0, 0))
    side = 2 * _REACH + 1
    return cv2.dilate(~alike, np.ones((side, side), np.uint8))


def _similarities(a: Rgb, b: Rgb) -> Float32[np.ndarray, "height width 3"]:
    """Return the similarity of all pixels but the outermost."""
    blur = partial(cv2.GaussianBlur, ksize=(11, 11), sigmaX=1.5)
    # Halves of sum and difference, near 0: single precision is enough for their squares.
    middle = np.float32(128)
    x = a.astype(np.float32)
    y = b.astype(np.float32)
    both = (x + y) / 2 - middle
    half = (x - y) / 2
    mean = blur(both)
    off = np.square(blur(half))
    var_both = blur(np.square(both)) - np.square(mean)
    var_half = blur(np.square(half)) - off
    light = np.square(mean + middle)
    c1 = np.float32((0.01 * 255) ** 2 / 2)
    c2 = np.float32((0.03 * 255) ** 2 / 2)
    lightness = light - off + c1
    structure = var_both - var_half + c2
    numerator = lightness * structure
    most_light = light + off + c1
    most_structure = var_both + var_half + c2
    denominator = most_light * most_structure
    similar = numerator / denominator
    return similar[_REACH:-_REACH, _REACH:-_REACH]


def warping(pair: tuple[RgbPair, RgbPair]) -> tuple[Sum, Sum]:
    """Add up the deviation of the second of two frames, and of its edit, from those
    before, moved along the source: 0 for an edit that moves exactly like the source.

    Mean absolute difference between each frame and the next one warped back by the
    source's flow, over pixels that the next frame shows, 0..1. See `for_motion`.

    Source: Lai et al. 2018, arXiv:1808.00449, Sec. 4.3 (with absolute instead of
        squared differences).
    """
    before, after = pair
    # Always DIS, so that figures of different machines compare.
    forward, backward = estimate_both(before[0][None], after[0][None], "dis")
    shown = (before[0], after[0])
    visible = ~occluded_once(shown, forward, backward, "dis")
    shown_next = np.float32(_planes(after))
    planes = torch.from_numpy(shown_next)
    (moved,) = warp(planes[None], forward).numpy()
    where = visible.view(np.uint8)
    off = []
    for one, other in zip(_planes(before), moved, strict=True):
        still = np.float32(one)
        off.append(cv2.norm(still, other, cv2.NORM_L1, where))
    seen = cv2.countNonZero(where)
    largest = 3 * 255
    of_source = sum(off[:3]) / largest
    of_edit = sum(off[3:]) / largest
    return (of_source, seen), (of_edit, seen)


def for_motion(source: Rgb, edit: Rgb) -> RgbPair:
    """Scale a frame and its edit down to at most 1920 pixels a side, for `warping`."""
    size = within(source.shape[1::-1], _MOTION_SIDE)
    return resize(source[None], size)[0], resize(edit[None], size)[0]


def _planes(frames: Iterable[Rgb]) -> list[Grey]:
    return [plane for frame in frames for plane in cv2.split(frame)]


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
