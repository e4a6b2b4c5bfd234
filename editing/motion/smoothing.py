"""Steady an edit once it is decoded: each frame is averaged with those around it along the clip's motion.

What a model makes of a thing differs from frame to frame where the source does not. The average has less of
that, but it is blurred a little, so it is sharpened until it has the detail of the frame that it replaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8

from regrain.editing.motion.flow import (
    FlowMethod,
    enlarged,
    estimate_both,
    occlusion,
    sampled,
    shrunk,
)

Frame = UInt8[np.ndarray, "h w 3"]
Picture = Float32[np.ndarray, "h w 3"]
Grey = Float32[np.ndarray, "h w"]

# Measured on edits of drawn clips whose true edit is known; see `benchmarks/README.md`.
_REACH = 2.5  # deviations after which a frame counts nothing
_SHOWN = 0.99  # share of what a sample is made of that must be visible
_ALIKE = 60.0  # grey levels by which what is averaged may differ: beyond, limbs would double
_COARSE = 3 / 128  # of the shorter side: deviation of the blur with which that is seen
_FINE = 1 / 128  # of the shorter side: deviation of the blur that fine detail does not survive
_DETAIL = 0.94  # of a frame's own slopes; the rest is what flickers
_AMOUNTS = (0.0, 1.0, 2.0)  # of sharpening, between which the right one is looked for
_NEAR = 1 / 64  # of the shorter side: what changed counts so far around it


@dataclass(frozen=True, eq=False)
class _Step:
    """The motion from one frame to its neighbour, and which of its pixels the neighbour shows."""

    flow: Float32[np.ndarray, "h w 2"]
    shown: Grey


def steady(
    edited: Iterable[Frame], source: Iterable[Frame], deviation: float, method: FlowMethod = "auto"
) -> Iterator[Frame]:
    """Average each frame with those around it, moved to where the clip's motion takes them.

    Where a pixel is hidden in a frame, or has left it, this frame and those beyond are left out. What looks
    different counts less. About five deviations of frames are held.

    Args:
        edited: Edited frames in their order, RGB.
        source: The same frames of the clip, of the same size.
        deviation: Of the bell curve by which the others count, in frames; 0 changes nothing.
        method: See `editing.motion.flow.estimate_flow`, also for errors.
    """
    if not deviation:
        yield from edited
        return
    reach = _reach(deviation)
    frames: list[Frame] = []
    steps: list[tuple[_Step, _Step]] = []  # from each held frame to the next, and back
    place, last = 0, None
    for frame, shown in zip(edited, source, strict=True):
        if last is not None:
            steps.append(_steps(last, shown, method))
        frames, last = [*frames, frame], shown
        if len(frames) - place > reach:
            yield _averaged(frames, steps, place, deviation)
            place += 1
        if place > reach:
            frames, steps, place = frames[1:], steps[1:], place - 1
    for rest in range(place, len(frames)):
        yield _averaged(frames, steps, rest, deviation)


def _reach(deviation: float) -> int:
    """How many frames on each side count."""
    return max(1, round(_REACH * deviation))


def _steps(before: Frame, after: Frame, method: FlowMethod) -> tuple[_Step, _Step]:
    """The motion between two frames of the clip, there and back."""
    large, size = enlarged(np.stack([before, after])), before.shape[:2]
    flows = [shrunk(flow, size)[0] for flow in estimate_both(large[:1], large[1:], method)]
    there, back = (torch.from_numpy(flow).movedim(-1, 0)[None] for flow in flows)
    hidden = (occlusion(there, back), occlusion(back, there))
    forth, again = (
        _Step(flow, (~x[0]).float().numpy()) for flow, x in zip(flows, hidden, strict=True)
    )
    return forth, again


def _averaged(
    frames: list[Frame], steps: list[tuple[_Step, _Step]], place: int, deviation: float
) -> Frame:
    """One of some frames as the average of those around it."""
    own = frames[place].astype(np.float32)
    total, weight = own.copy(), np.ones(own.shape[:2], np.float32)
    after = [
        (there, frame) for (there, _), frame in zip(steps[place:], frames[place + 1 :], strict=True)
    ]
    before = [(back, frame) for (_, back), frame in zip(steps[:place], frames[:place], strict=True)]
    for side in filter(None, (after, before[::-1])):
        for far, (moved, shown) in enumerate(_followed(side[: _reach(deviation)]), 1):
            seen = cv2.GaussianBlur(
                shown, (0, 0), _FINE * min(own.shape[:2])
            )  # else single pixels stand out
            counts = np.float32(np.exp(-((far / deviation) ** 2) / 2)) * seen * _alike(moved, own)
            total += counts[..., None] * moved
            weight += counts
    return _sharpened(total / weight[..., None], own).round().clip(0, 255).astype(np.uint8)


def _alike(a: Picture, b: Picture) -> Grey:
    """How far two frames show the same, place by place, 0..1."""
    off = cv2.GaussianBlur(a - b, (0, 0), _COARSE * min(a.shape[:2]))
    return np.exp(-np.square(off).sum(-1) / (2 * _ALIKE**2))


def _followed(side: list[tuple[_Step, Frame]]) -> Iterator[tuple[Picture, Grey]]:
    """Frames ever farther on one side, each moved to where it is compared, and what of it counts."""
    flow, seen = np.zeros_like(side[0][0].flow), np.ones_like(side[0][0].shown)
    for step, frame in side:
        seen = seen * (sampled(step.shown, flow, cv2.INTER_LINEAR) > _SHOWN)
        flow = flow + sampled(step.flow, flow, cv2.INTER_LINEAR)
        yield sampled(frame, flow, cv2.INTER_LINEAR).astype(np.float32), seen


def _sharpened(mean: Picture, own: Picture) -> Picture:
    """An average with the slopes that a frame of its own has where the two differ."""
    side = min(own.shape[:2])
    changed = cv2.GaussianBlur(np.abs(mean - own).mean(-1), (0, 0), _NEAR * side)
    if not changed.any():
        return own
    fine = mean - cv2.GaussianBlur(mean, (0, 0), _FINE * side)
    has = [float((_slopes(mean + amount * fine) * changed).sum()) for amount in _AMOUNTS]
    wanted = _DETAIL * float((_slopes(own) * changed).sum())
    return mean + np.float32(np.interp(wanted, has, _AMOUNTS)) * fine


def _slopes(frame: Picture) -> Grey:
    """Magnitude of the gradient of the brightness."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
