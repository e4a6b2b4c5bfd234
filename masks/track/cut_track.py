"""Masks followed by cuts: moved along the flow as they are, then cut
once along the edges.

A mask that is moved stays soft: rounding it at every frame would wear thin parts away.
Colours have little say and motion has none, since both are often the same on either
side of an outline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from regrain.editing.media.lazy_frames import Grey, Mask, Rgb, Shape
from regrain.editing.motion.flow import Flow, sampled
from regrain.masks.draw import signed_distance
from regrain.masks.segmentation.cut_evidence import (
    LONG_SIDE,
    Scene,
    Soft,
    by_color,
)
from regrain.masks.segmentation.cut_motion import (
    flow_between,
    grey_of,
    resized,
    shrunk,
)
from regrain.masks.segmentation.cut_solver import divide
from regrain.masks.track.consistency import MaskConsistency
from regrain.masks.track.corrections import Stated

_WIDTH = 2.0  # pixels of signed distance that count 1 as evidence of the moved mask
_MOST = 3.0  # most of that evidence
_DOUBTED = 0.3  # share of that evidence that is left where the two flows disagree
_SAME = 25.0  # grey levels up to which a pixel has kept its colour
_ENTERED = -0.5  # evidence of pixels that come into the frame: they are rather outside
_COLORS = 0.3  # weight of colours as they were on the frame before
_MOST_COLORS = 2.0  # most of the evidence of colours
_SLACK = 0.7  # pixels by which flows may always disagree
_SHARE = 0.05  # share of the motion by which flows may disagree as well


def follow(
    frames: Iterable[tuple[int, Rgb]], stated: Stated
) -> Iterator[tuple[int, Grey, dict[int, float]]]:
    """Follow masks in one direction.

    Args:
        frames: Frame numbers and RGB pictures, in the order of following.
        stated: By key frame, masks by label (bool [height, width]); the earlier covers
            the later.

    Yields:
        Frame number, labels (0 is the background), and how sure each region is, 0..1; 0
        once nothing is left.
    """
    held: dict[int, Soft] = {}
    before: _Frame | None = None
    consistency = MaskConsistency()
    for frame, picture in frames:
        now = _Frame(Scene(shrunk(picture, LONG_SIDE)), grey_of(picture))
        if before is not None and held:
            shape = now.scene.shape
            back = resized(flow_between(now.grey, before.grey), shape)
            ahead = resized(flow_between(before.grey, now.grey), shape)
            trusted = _trust(now.scene, before.scene, back, ahead)
            both = Scene(np.concatenate([before.scene.image, now.scene.image]))
            for label, soft in held.items():
                colors = _like(both, soft)
                held[label] = _moved(
                    now.scene,
                    soft,
                    back,
                    trusted,
                    colors,
                )
        given = stated.get(frame, {})
        size = now.scene.shape[::-1]
        for label, mask in given.items():
            held[label] = cv2.resize(
                mask.astype(np.float32), size, interpolation=cv2.INTER_AREA
            )
        labels = _labels(held, given, picture.shape[:2])
        trust = consistency.see(picture, labels, given)
        sure = {
            label: trust[label] if np.any(labels == label) else 0.0 for label in held
        }
        yield frame, labels, sure
        before = now


class _Frame(NamedTuple):
    """A frame as it is cut, and in grey as its flow is estimated."""

    scene: Scene
    grey: UInt8[np.ndarray, "flow_h flow_w"]


def _trust(scene: Scene, old: Scene, back: Flow, ahead: Flow) -> Soft:
    """Return the trust in the flow `back` to the old frame at each pixel of the scene,
    0..1.

    1, less where it disagrees with the flow `ahead` from there, 0 where colours
    disagree.
    """
    apart = back + sampled(ahead, back, cv2.INTER_LINEAR)
    allowed = _SLACK + _SHARE * np.hypot(*cv2.split(back))
    trust = np.where(np.hypot(*cv2.split(apart)) < allowed, 1, _DOUBTED)
    moved_colors = sampled(old.image.astype(np.float32), back, cv2.INTER_LINEAR)
    changed = cv2.GaussianBlur(np.abs(moved_colors - scene.image).mean(2), (0, 0), 1)
    return np.where(changed < _SAME, trust, 0).astype(np.float32)


def _moved(scene: Scene, soft: Soft, back: Flow, trust: Soft, colors: Soft) -> Soft:
    """Move a mask of the frame before, 0..1, along `back` to this one and cut it;
    `colors` is evidence."""
    moved = sampled(soft, back, cv2.INTER_LINEAR)
    inside = moved > 0.5
    if not inside.any():
        return moved
    distance = np.clip(signed_distance(inside) / _WIDTH, -_MOST, _MOST)
    evidence = np.where(_entered(back), _ENTERED, distance * trust) + _COLORS * colors
    return divide(evidence.astype(np.float32), *scene.fences, moved)


def _like(both: Scene, soft: Soft) -> Soft:
    """Return evidence of a frame's colours by where they were in the mask of the frame
    before, capped.

    `both` shows the frame before, and this one below it.
    """
    nothing = np.zeros_like(soft)
    inside = np.concatenate([soft, nothing])
    outside = np.concatenate([1 - soft, nothing])
    evidence = by_color(both, inside, outside)[len(soft) :]
    return np.clip(evidence, -_MOST_COLORS, _MOST_COLORS)


def _entered(back: Flow) -> Mask:
    """Find the pixels that were outside the frame before."""
    height, width = back.shape[:2]
    y, x = np.mgrid[:height, :width]
    x = x + back[..., 0]
    y = y + back[..., 1]
    return (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)


def _labels(
    held: Mapping[int, Soft], given: Mapping[int, Mask], shape: Shape
) -> np.ndarray:
    """Choose the surest region at each pixel; those of a key frame are as given."""
    labels = np.zeros(shape, np.uint8)
    best = np.full(shape, 0.5, np.float32)
    for label, soft in held.items():
        if label in given:
            continue
        sure = cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR)
        labels[sure > best] = label
        best = np.maximum(best, sure)
    for label, mask in reversed(given.items()):
        labels[mask] = label
    return labels
