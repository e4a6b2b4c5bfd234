"""Frames between key frames: the edit follows the source's motion from the key frames
on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from regrain.editing.media.lazy_frames import (
    Grey,
    LabelFrames,
    LazyFrames,
    Mask,
    Rgb,
    RgbFrames,
    RgbPair,
)
from regrain.editing.motion.flow import (
    Flow,
    FlowMethod,
    Picture,
    Plane,
    enlarged,
    estimate_both,
    estimate_flow,
    sampled,
    shrunk,
)

Read = Callable[[int, int], RgbFrames]
ReadLabels = Callable[[int, int], LabelFrames]

# Measured on drawn clips whose true edit is known, key frames 4 and 8 apart; see
# `docs/experiments.md`.
_HALVED = 4.0  # grey levels of error that halve the weight of a pixel
_LEAPS = (8, 4, 2, 1)  # distances in pixels of the neighbours whose motion is tried
_BETTER = 0.5  # grey levels by which a neighbour's motion must be better
_CALM = 2.0  # grey levels by which the median of the neighbours' motion may be worse
_OTHER_REGION = 15.0  # grey levels that it costs to leave the region
_MEAN = np.full((1, 3), 1 / 3, np.float32)  # of the colours
_SIDE = 11  # of the box, in pixels, in which an edit is compared with its source
# share of the source's detail below which an edit has a shape of its own
_RESHAPED = 0.3
_NEAR = 1 / 8  # of the frame's short side: the box in which that is decided
_STEADIED = 12  # medians of motion taken there
_FLAT = (
    # variance of the source, in squared grey levels, at which half of its detail is
    # trusted
    100.0
)
_LEAST_WEIGHT = 1e-30  # so that weights never vanish


def fill_between(
    edited: UInt8[np.ndarray, "keys height width 3"] | LazyFrames,
    keys: Sequence[int],
    read: Read,
    method: FlowMethod,
    *,
    labels: ReadLabels | None = None,
) -> Iterator[Rgb]:
    """Yield every frame from the first edited key frame to the last, those between
    along the source's motion.

    Each pixel comes from the key frames before and after it: more from the nearer one,
    and from the one whose source frame resembles the source more there. Where the edit
    keeps the source's detail, the frame's own detail replaces what the motion missed.
    Key frames stay as they are. At most one stretch between two key frames is in
    memory.

    Args:
        edited: The edited key frames, RGB, read one at a time.
        keys: Their frames in the clip, rising.
        read: Reads frames start to stop - 1 of the source, RGB of the same size.
        method: See `estimate_flow`, also for errors.
        labels: Reads the regions of the same frames; a region's pixels then come from
            that region.
    """
    before = edited[0]
    yield before
    for index, (first, last) in enumerate(pairwise(keys), 1):
        after = edited[index]
        if last - first > 1:
            regions = None if labels is None else labels(first, last + 1)
            stretch = _Stretch((before, after), read(first, last + 1), regions, method)
            yield from map(stretch.fill, range(1, last - first))
        before = after
        yield before


@dataclass(frozen=True, eq=False)
class _Key:
    """A key frame: its edit, its source, its regions, and how much of the source's
    detail the edit keeps."""

    edit: Rgb
    source: Rgb
    labels: Grey | None
    kept: Picture

    def error(self, flow: Flow, goal: Rgb, labels: Grey | None) -> Plane:
        """Measure how far the source of the key frame, moved along `flow`, is from
        `goal`, in grey levels.

        The mean over 3 x 3 pixels counts: a single pixel may have the right colour by
        chance.
        """
        off = cv2.absdiff(sampled(self.source, flow, cv2.INTER_LINEAR), goal)
        mean = cv2.boxFilter(off, cv2.CV_32F, (3, 3))
        error = cv2.transform(mean, _MEAN)
        if self.labels is None:
            return error
        other = sampled(self.labels, flow, cv2.INTER_NEAREST) != labels
        return error + np.float32(_OTHER_REGION) * other

    def reshaped(self, flow: Flow) -> Mask:
        """Find the places to which `flow` moves parts of the edit with hardly any of
        the source's detail."""
        side = max(1, round(_NEAR * min(flow.shape[:2])))
        kept = cv2.transform(sampled(self.kept, flow, cv2.INTER_LINEAR), _MEAN)
        return cv2.blur(kept, (side, side)) < _RESHAPED

    def moved(self, flow: Flow, goal: Rgb) -> Picture:
        """Move the edit along `flow`, with the goal's detail in place of what the
        motion missed."""
        edit = sampled(self.edit, flow, cv2.INTER_CUBIC).astype(np.float32)
        source = sampled(self.source, flow, cv2.INTER_CUBIC).astype(np.float32)
        kept = sampled(self.kept, flow, cv2.INTER_LINEAR)
        return edit + kept * (goal - source)


class _Match(NamedTuple):
    """A flow to a key frame, and its error at each pixel."""

    flow: Flow
    error: Plane

    def improved(self, other: _Match, margin: float) -> _Match:
        """Take the other flow where its error is less by some margin."""
        better = other.error < self.error - margin
        flow = np.where(better[..., None], other.flow, self.flow)
        return _Match(flow, np.where(better, other.error, self.error))


class _Stretch:
    """The frames of a source from one key frame to the next, both included, and their
    motion to both."""

    def __init__(
        self,
        edits: RgbPair,
        source: RgbFrames,
        labels: LabelFrames | None,
        method: FlowMethod,
    ) -> None:
        self._source = source
        self._labels = labels
        self._last = len(source) - 1
        self._keys = [
            _Key(
                edit,
                source[place],
                self._labels_of(place),
                _kept_detail(edit, source[place]),
            )
            for edit, place in zip(edits, (0, -1), strict=True)
        ]
        # Two flows from every frame between to the first frame, and two to the last:
        # composed step by step, and estimated at once.
        large = enlarged(source)
        size = source.shape[1:3]
        forward, backward = estimate_both(
            large[:-1],
            large[1:],
            method,
        )
        between = large[1:-1]
        at_once = []
        for key in (large[0], large[-1]):
            keys = np.broadcast_to(key, between.shape)
            at_once.append(shrunk(estimate_flow(between, keys, method), size))
        to_first = _composed(shrunk(backward, size))[:-1]
        to_last = _composed(shrunk(forward, size)[::-1])[::-1][1:]
        self._flows = ((to_first, at_once[0]), (to_last, at_once[1]))

    def _labels_of(self, place: int) -> Grey | None:
        return None if self._labels is None else self._labels[place]

    def fill(self, frame: int) -> Rgb:
        """Return a frame between the key frames, counted from the first of them."""
        size = self._source.shape[1:3]
        share = frame / self._last
        mixed = np.zeros((*size, 3), np.float32)
        total = np.zeros(size, np.float32)
        for key, near in enumerate((1 - share, share)):
            moved, likeness = self._moved(key, frame)
            weight = near * likeness + _LEAST_WEIGHT
            mixed += weight[..., None] * moved
            total += weight
        mean = mixed / total[..., None]
        return mean.round().clip(0, 255).astype(np.uint8)

    def _moved(self, number: int, frame: int) -> tuple[Picture, Plane]:
        """Move the edit of the first or last key frame, 0 or 1, to a frame between.

        Returns:
            The picture, and how well the source fits at each pixel when it is moved
            likewise, 0..1.
        """
        key = self._keys[number]
        goal = self._source[frame]
        labels = self._labels_of(frame)
        known = [flows[frame - 1] for flows in self._flows[number]]
        flow, error = _best_flow(key, known, goal, labels)
        # Limbs of a new kind do not move like the source's, whose motion would tear
        # them to specks. An edit of the whole frame, a style, keeps its shapes and
        # needs their exact motion.
        if labels is not None and not labels.all():
            reshaped = key.reshaped(flow)[..., None]
            flow = np.where(reshaped, _calmed(flow, _STEADIED), flow)
        return key.moved(flow, goal), np.exp2(-error / _HALVED)


def _best_flow(
    key: _Key, flows: Sequence[Flow], goal: Rgb, labels: Grey | None
) -> _Match:
    """Choose the flow to the key frame that has the least error at each pixel.

    Candidates are `flows`, no motion, and the flow of neighbours.
    """

    def match(flow: Flow) -> _Match:
        return _Match(flow, key.error(flow, goal, labels))

    height, width = goal.shape[:2]
    best = match(np.zeros_like(flows[0]))
    for flow in flows:
        best = best.improved(match(flow), 0.0)
    for leap in _LEAPS:
        for down, right in ((0, leap), (0, -leap), (leap, 0), (-leap, 0)):
            border = (leap, leap, leap, leap)
            wide = cv2.copyMakeBorder(best.flow, *border, cv2.BORDER_REPLICATE)
            rows = wide[leap - down :][:height]
            shifted = rows[:, leap - right : leap - right + width]
            best = best.improved(match(shifted), _BETTER)
    # Where the source is flat, matches scatter, but the edit may not be flat.
    calm = match(_calmed(best.flow, 1))
    return best.improved(calm, -_CALM)


def _calmed(flow: Flow, times: int) -> Flow:
    """Take the median of the neighbours' motion, so many times over."""
    parts = [np.ascontiguousarray(part) for part in np.moveaxis(flow, -1, 0)]
    for _ in range(times):
        parts = [cv2.medianBlur(part, 5) for part in parts]
    return np.dstack(parts)


def _composed(
    flows: Float32[np.ndarray, "pairs height width 2"],
) -> Float32[np.ndarray, "pairs height width 2"]:
    """Compose the flows from each frame to the one before into flows to the first
    frame."""
    out = [flows[0]]
    for step in flows[1:]:
        out.append(step + sampled(out[-1], step, cv2.INTER_LINEAR))
    return np.stack(out)


def _kept_detail(edit: Rgb, source: Rgb) -> Picture:
    """Measure how much of the source's detail an edit keeps, 0..1: the slope of a local
    regression on it."""
    mean = partial(cv2.blur, ksize=(_SIDE, _SIDE))
    a = source.astype(np.float32)
    b = edit.astype(np.float32)
    covariance = mean(a * b) - mean(a) * mean(b)
    variance = mean(a * a) - mean(a) ** 2
    return (covariance / (variance + _FLAT)).clip(0, 1)
