"""Frames between key frames: the edit follows the source's motion from the key frames on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from regrain.editing.media.labels import LabelFrames
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.motion.flow import (
    FlowMethod,
    enlarged,
    estimate_both,
    estimate_flow,
    sampled,
    shrunk,
)

Frame = UInt8[np.ndarray, "h w 3"]
Labels = UInt8[np.ndarray, "h w"]
Flow = Float32[np.ndarray, "h w 2"]
Picture = Float32[np.ndarray, "h w 3"]
Frames = UInt8[np.ndarray, "frames h w 3"]
Read = Callable[[int, int], Frames]
ReadLabels = Callable[[int, int], LabelFrames]

# Measured on drawn clips whose true edit is known, key frames 4 and 8 apart; see `docs/experiments.md`.
_HALVED = 4.0  # grey levels of error that halve the weight of a pixel
_LEAPS = (8, 4, 2, 1)  # distances in pixels at which neighbours offer their motion
_BETTER = 0.5  # grey levels by which a neighbour's motion must be better
_CALM = 2.0  # grey levels by which the median of the neighbours' motion may be worse
_OTHER_REGION = 15.0  # grey levels that it costs to leave the region
_MEAN = np.full((1, 3), 1 / 3, np.float32)  # of the colours
_SIDE = 11  # of the box, in pixels, in which an edit is compared with its source
_RESHAPED = 0.3  # share of the source's detail below which an edit has a shape of its own
_NEAR = 1 / 8  # of the frame's short side: the box in which that is decided
_STEADIED = 12  # medians of motion taken there
_FLAT = (
    100.0  # variance of the source, in squared grey levels, at which half of its detail is trusted
)
_LEAST_WEIGHT = 1e-30  # so that weights never vanish


def fill_between(
    edited: UInt8[np.ndarray, "keys h w 3"] | LazyFrames,
    keys: Sequence[int],
    read: Read,
    method: FlowMethod = "auto",
    *,
    labels: ReadLabels | None = None,
) -> Iterator[Frame]:
    """Yield every frame from the first edited key frame to the last, those between along the source's motion.

    Each pixel comes from the key frames before and after it: more from the nearer one, and from the one whose
    source frame explains the source better there. Where the edit keeps the source's detail, the frame's own
    detail replaces what the motion missed. Key frames stay as they are. At most one stretch between two key
    frames is in memory.

    Args:
        edited: The edited key frames, RGB, read one at a time.
        keys: Their frames in the clip, rising.
        read: Reads frames start to stop - 1 of the source, RGB of the same size.
        method: See `estimate_flow`, also for errors.
        labels: Reads the regions of the same frames; a region's pixels then come from that region.
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
    """A key frame: its edit, its source, its regions, and how much of the source's detail the edit keeps."""

    edit: Frame
    source: Frame
    labels: Labels | None
    kept: Picture

    def error(self, flow: Flow, goal: Frame, labels: Labels | None) -> Float32[np.ndarray, "h w"]:
        """How badly the source of the key frame explains that of a frame, in grey levels.

        The mean over 3 x 3 pixels counts: a single pixel may have the right colour by chance.
        """
        off = cv2.absdiff(sampled(self.source, flow, cv2.INTER_LINEAR), goal)
        error = cv2.transform(cv2.boxFilter(off, cv2.CV_32F, (3, 3)), _MEAN)
        if self.labels is None:
            return error
        other = sampled(self.labels, flow, cv2.INTER_NEAREST) != labels
        return error + np.float32(_OTHER_REGION) * other

    def reshaped(self, flow: Flow) -> Bool[np.ndarray, "h w"]:
        """Where the motion takes parts of the edit that have hardly any of the source's detail."""
        side = max(1, round(_NEAR * min(flow.shape[:2])))
        kept = cv2.transform(sampled(self.kept, flow, cv2.INTER_LINEAR), _MEAN)
        return cv2.blur(kept, (side, side)) < _RESHAPED

    def moved(self, flow: Flow, goal: Frame) -> Picture:
        """The edit where the motion takes it, with the goal's detail in place of what the motion missed."""
        edit, source = (
            sampled(frame, flow, cv2.INTER_CUBIC).astype(np.float32)
            for frame in (self.edit, self.source)
        )
        return edit + sampled(self.kept, flow, cv2.INTER_LINEAR) * (goal - source)


class _Stretch:
    """The frames of a source from one key frame to the next, both included, and their motion to both."""

    def __init__(
        self,
        edits: tuple[Frame, Frame],
        source: Frames,
        labels: LabelFrames | None,
        method: FlowMethod,
    ) -> None:
        self._source, self._labels, self._last = source, labels, len(source) - 1
        self._keys = [
            _Key(
                edit,
                source[key],
                None if labels is None else labels[key],
                _kept_detail(edit, source[key]),
            )
            for edit, key in zip(edits, (0, -1), strict=True)
        ]
        large, size = enlarged(source), source.shape[1:3]
        there, back = (shrunk(flow, size) for flow in estimate_both(large[:-1], large[1:], method))
        composed = (_composed(back), _composed(there[::-1])[::-1])
        ends = (np.broadcast_to(large[key], large[1:-1].shape) for key in (0, -1))
        direct = [shrunk(estimate_flow(large[1:-1], end, method), size) for end in ends]
        self._flows = [(composed[0][:-1], direct[0]), (composed[1][1:], direct[1])]

    def fill(self, frame: int) -> Frame:
        """A frame between the key frames, counted from the first of them."""
        goal, share = self._source[frame], frame / self._last
        labels = None if self._labels is None else self._labels[frame]
        mixed, total = np.zeros(goal.shape, np.float32), np.zeros(goal.shape[:2], np.float32)
        for key, flows, near in zip(self._keys, self._flows, (1 - share, share), strict=True):
            flow, error = _best_flow(key, [found[frame - 1] for found in flows], goal, labels)
            # Limbs of a new kind do not move like the source's, whose motion would tear them to specks.
            # An edit of the whole frame, a style, keeps its shapes and needs their exact motion.
            if labels is not None and not labels.all():
                flow = np.where(key.reshaped(flow)[..., None], _calmed(flow, _STEADIED), flow)
            weight = near * np.exp2(-error / _HALVED) + _LEAST_WEIGHT
            mixed += weight[..., None] * key.moved(flow, goal)
            total += weight
        return (mixed / total[..., None]).round().clip(0, 255).astype(np.uint8)


def _best_flow(
    key: _Key, flows: Sequence[Flow], goal: Frame, labels: Labels | None
) -> tuple[Flow, Float32[np.ndarray, "h w"]]:
    """The flow to the key frame that explains each pixel best: one of several, none, or a neighbour's."""
    flow = np.zeros_like(flows[0])
    error = key.error(flow, goal, labels)

    def consider(other: Flow, margin: float) -> None:
        nonlocal flow, error
        found = key.error(other, goal, labels)
        better = found < error - margin
        flow, error = np.where(better[..., None], other, flow), np.where(better, found, error)

    for other in flows:
        consider(other, 0.0)
    for leap in _LEAPS:
        for down, right in ((0, leap), (0, -leap), (leap, 0), (-leap, 0)):
            consider(_shifted(flow, down, right), _BETTER)
    # Where the source is flat, matches scatter, but the edit may not be flat.
    consider(_calmed(flow, 1), -_CALM)
    return flow, error


def _calmed(flow: Flow, times: int) -> Flow:
    """Take the median of the neighbours' motion, so many times over."""
    parts = [np.ascontiguousarray(part) for part in np.moveaxis(flow, -1, 0)]
    for _ in range(times):
        parts = [cv2.medianBlur(part, 5) for part in parts]
    return np.dstack(parts)


def _composed(flows: Float32[np.ndarray, "pairs h w 2"]) -> Float32[np.ndarray, "pairs h w 2"]:
    """Flow of ever more distant frames to a key frame, from that of each frame to the one before."""
    out = [flows[0]]
    for step in flows[1:]:
        out.append(step + sampled(out[-1], step, cv2.INTER_LINEAR))
    return np.stack(out)


def _kept_detail(edit: Frame, source: Frame) -> Picture:
    """How much of the source's detail an edit keeps, 0..1: the slope of the local regression on it."""

    mean = partial(cv2.blur, ksize=(_SIDE, _SIDE))
    a, b = source.astype(np.float32), edit.astype(np.float32)
    shared = mean(a * b) - mean(a) * mean(b)
    return (shared / (mean(a * a) - mean(a) ** 2 + _FLAT)).clip(0, 1)


def _shifted(x: Float[np.ndarray, "h w c"], down: int, right: int) -> Float[np.ndarray, "h w c"]:
    """Move a picture by some pixels; its border is repeated."""
    height, width = x.shape[:2]
    by = max(abs(down), abs(right))
    wide = cv2.copyMakeBorder(x, by, by, by, by, cv2.BORDER_REPLICATE)
    return wide[by - down :][:height, by - right : by - right + width]
