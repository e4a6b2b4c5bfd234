"""Steady an edit once it is decoded: each frame is averaged with those around it along
the clip's motion.

An edited thing differs from frame to frame where the source does not. The average
flickers less, but is slightly blurred, so it is sharpened until it has the detail of
the frame that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.motion.flow import (
    Flow,
    FlowMethod,
    Picture,
    Plane,
    enlarged,
    estimate_both,
    occlusion,
    sampled,
    shrunk,
)

# Measured on edits of drawn clips whose true edit is known; see `benchmarks/README.md`.
_REACH = 2.5  # deviations beyond which frames do not count
_SHOWN = 0.99  # share of a sample that must be visible
# grey levels by which averaged frames may differ: beyond, limbs would double
_ALIKE = 60.0
# deviation of the blur before frames are compared, by the shorter side
_COARSE = 3 / 128
_FINE = 1 / 128  # deviation of the blur that removes fine detail, by the shorter side
_DETAIL = 0.94  # wanted share of a frame's own slopes; the rest flickers
_AMOUNTS = (0.0, 1.0, 2.0)  # of sharpening, between which the right one is looked for
_NEAR = 1 / 64  # deviation of the blur of what changed, by the shorter side


@dataclass(frozen=True, eq=False)
class _Step:
    """The motion from one frame to its neighbour, and 1 for its pixels that the
    neighbour shows, else 0."""

    flow: Flow
    shown: Plane


_Steps = tuple[_Step, _Step]
"""From one frame to the next, and back."""
_Side = list[tuple[_Step, Rgb]]
"""The frames on one side of another, the nearest first, each with the step to it."""


def steady(
    edited: Iterable[Rgb],
    source: Iterable[Rgb],
    deviation: float,
    method: FlowMethod = "auto",
) -> Iterator[Rgb]:
    """Average each frame with those around it, moved along the clip's motion.

    Where a pixel is hidden in a frame, or has left it, this frame and those beyond are
    left out. Places that look different count less. About five deviations of frames are
    held.

    Args:
        edited: Edited frames in their order, RGB.
        source: The same frames of the clip, of the same size.
        deviation: Of the bell curve by which the others count, in frames; 0 changes
            nothing.
        method: See `editing.motion.flow.estimate_flow`, also for errors.
    """
    if not deviation:
        yield from edited
        return
    reach = _reach(deviation)
    frames: list[Rgb] = []
    steps: list[_Steps] = []  # of each held frame
    place = 0  # of the next frame to be averaged, among those that are held
    last = None
    for frame, shown in zip(edited, source, strict=True):
        if last is not None:
            steps.append(_steps(last, shown, method))
        frames.append(frame)
        last = shown
        if len(frames) - place > reach:
            yield _averaged(frames, steps, place, deviation)
            place += 1
        if place > reach:
            del frames[0], steps[0]
            place -= 1
    for rest in range(place, len(frames)):
        yield _averaged(frames, steps, rest, deviation)


def _reach(deviation: float) -> int:
    """Return how many frames on each side count."""
    return max(1, round(_REACH * deviation))


def _steps(before: Rgb, after: Rgb, method: FlowMethod) -> _Steps:
    """Estimate the motion between two frames of the clip, there and back, and find the
    pixels that the other one shows."""
    large = enlarged(np.stack([before, after]))
    flows = [
        shrunk(flow, before.shape[:2])
        for flow in estimate_both(large[:1], large[1:], method)
    ]
    there, back = (torch.from_numpy(flow).movedim(-1, 1) for flow in flows)
    hidden = (occlusion(there, back)[0], occlusion(back, there)[0])
    forward, backward = (
        _Step(flow[0], (~unseen).float().numpy())
        for flow, unseen in zip(flows, hidden, strict=True)
    )
    return forward, backward


def _averaged(
    frames: list[Rgb], steps: list[_Steps], place: int, deviation: float
) -> Rgb:
    """Average one of some frames with its neighbours."""
    own = frames[place].astype(np.float32)
    total = own.copy()
    weight = np.ones(own.shape[:2], np.float32)
    for side in _neighbours(frames, steps, place, _reach(deviation)):
        for far, (moved, shown) in enumerate(_followed(side), 1):
            bell = np.float32(np.exp(-((far / deviation) ** 2) / 2))
            counts = bell * _softened(shown) * _alike(moved, own)
            total += counts[..., None] * moved
            weight += counts
    mean = total / weight[..., None]
    return _sharpened(mean, own).round().clip(0, 255).astype(np.uint8)


def _neighbours(
    frames: list[Rgb], steps: list[_Steps], place: int, reach: int
) -> tuple[_Side, ...]:
    """Return the frames after one and those before it, the nearest first, each with the
    motion of the step to it."""
    later = range(place + 1, min(place + reach + 1, len(frames)))
    after = [(steps[other - 1][0], frames[other]) for other in later]
    earlier = reversed(range(max(place - reach, 0), place))
    before = [(steps[other][1], frames[other]) for other in earlier]
    return after, before


def _softened(shown: Plane) -> Plane:
    """Blur a map of shown pixels a little, so that single pixels do not stand out."""
    return cv2.GaussianBlur(shown, (0, 0), _FINE * min(shown.shape))


def _alike(a: Picture, b: Picture) -> Plane:
    """Measure how alike two frames are, place by place, 0..1."""
    off = cv2.GaussianBlur(a - b, (0, 0), _COARSE * min(a.shape[:2]))
    return np.exp(-np.square(off).sum(-1) / (2 * _ALIKE**2))


def _followed(side: _Side) -> Iterator[tuple[Picture, Plane]]:
    """Yield the frames of one side, moved along the steps so far, and 1 where all of
    them show the pixel."""
    if not side:
        return
    nearest, _ = side[0]
    flow = np.zeros_like(nearest.flow)
    seen = np.ones_like(nearest.shown)
    for step, frame in side:
        seen = seen * (sampled(step.shown, flow, cv2.INTER_LINEAR) > _SHOWN)
        flow = flow + sampled(step.flow, flow, cv2.INTER_LINEAR)
        yield sampled(frame, flow, cv2.INTER_LINEAR).astype(np.float32), seen


def _sharpened(mean: Picture, own: Picture) -> Picture:
    """Sharpen an average to the slopes of the frame itself, measured where the two
    differ."""
    side = min(own.shape[:2])
    changed = cv2.GaussianBlur(np.abs(mean - own).mean(-1), (0, 0), _NEAR * side)
    if not changed.any():
        return own
    fine = mean - cv2.GaussianBlur(mean, (0, 0), _FINE * side)
    has = [
        float((_slopes(mean + amount * fine) * changed).sum()) for amount in _AMOUNTS
    ]
    wanted = _DETAIL * float((_slopes(own) * changed).sum())
    amount = np.float32(np.interp(wanted, has, _AMOUNTS))
    return mean + amount * fine


def _slopes(frame: Picture) -> Plane:
    """Return the magnitude of the gradient of the brightness."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
