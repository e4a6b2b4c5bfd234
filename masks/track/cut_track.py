"""Masks of real clips, followed by cuts: moved along the flow as they are, then cut once along the edges.

A mask that is moved stays soft: rounding it at every frame would wear thin parts away. Colours have little
say and motion has none, since both are often the same on either side of an outline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from regrain.masks.draw import signed_distance
from regrain.masks.segmentation.cut_evidence import LONG_SIDE, Scene, Soft, by_color
from regrain.masks.segmentation.cut_motion import FLOW_SIDE, flow_between, resized, sampled, shrunk
from regrain.masks.segmentation.cut_solver import divide
from regrain.masks.track.consistency import MaskConsistency
from regrain.masks.track.edges import Mask

_WIDTH, _MOST = (
    2.0,
    3.0,
)  # evidence of the moved mask: its signed distance over so many pixels; its most
_DOUBTED = 0.3  # what is left of it where the two flows disagree
_SAME = 25.0  # grey levels up to which a pixel has kept its colour
_ENTERED = -0.5  # evidence of what comes into the frame: it is rather outside
_COLORS, _MOST_COLORS = 0.3, 2.0  # weight of colours as they were on the frame before; their most
_SLACK, _SHARE = 0.7, 0.05  # pixels by which flows may disagree, and share of the motion

_Flow = Float32[np.ndarray, "2 h w"]


def follow(
    frames: Iterable[tuple[int, UInt8[np.ndarray, "height width 3"]]],
    stated: Mapping[int, Mapping[int, Mask]],
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"], dict[int, float]]]:
    """Follow masks in one direction.

    Args:
        frames: Frame numbers and RGB pictures, in the order of following.
        stated: By key frame, masks by label (bool [height, width]); the earlier covers the later.

    Yields:
        Frame number, labels (0 is the background), and how sure each region is, 0..1; 0 once nothing is left.
    """
    held: dict[int, Soft] = {}
    before: tuple[Scene, np.ndarray] | None = None
    witness = MaskConsistency()
    for frame, picture in frames:
        scene = Scene(shrunk(picture, LONG_SIDE))
        grey = cv2.cvtColor(shrunk(picture, FLOW_SIDE), cv2.COLOR_RGB2GRAY)
        if before is not None and held:
            old, past = before
            back, ahead = (
                resized(flow_between(*two), scene.shape) for two in ((grey, past), (past, grey))
            )
            trust = _trust(scene, old, back, ahead)
            both = Scene(np.concatenate([old.image, scene.image]))
            for label, soft in held.items():
                held[label] = _moved(scene, soft, back, trust, _like(both, soft))
        given = stated.get(frame, {})
        for label, mask in given.items():
            held[label] = cv2.resize(
                mask.astype(np.float32), scene.shape[::-1], interpolation=cv2.INTER_AREA
            )
        labels = _labels(held, given, picture.shape[:2])
        believed = witness.see(picture, labels, frozenset(given))
        yield (
            frame,
            labels,
            {label: believed[label] if (labels == label).any() else 0.0 for label in held},
        )
        before = scene, grey


def _trust(scene: Scene, old: Scene, back: _Flow, ahead: _Flow) -> Soft:
    """How far the flow `back` to the old frame is to be believed at each pixel of the scene.

    1, less where it disagrees with the flow `ahead` from there, 0 where colours disagree.
    """
    off = np.hypot(*(back + sampled(ahead, back)))
    trust = np.where(off < _SLACK + _SHARE * np.hypot(*back), 1, _DOUBTED)
    came = sampled(old.image.transpose(2, 0, 1).astype(np.float32), back).transpose(1, 2, 0)
    changed = cv2.GaussianBlur(np.abs(came - scene.image).mean(2), (0, 0), 1)
    return np.where(changed < _SAME, trust, 0).astype(np.float32)


def _moved(scene: Scene, soft: Soft, back: _Flow, trust: Soft, colors: Soft) -> Soft:
    """A mask of the frame before, 0..1, moved along `back` to this one and cut; `colors` is evidence."""
    moved = sampled(soft[None], back)[0]
    inside = moved > 0.5
    if not inside.any():
        return moved
    distance = np.clip(signed_distance(inside) / _WIDTH, -_MOST, _MOST)
    evidence = np.where(_entered(back), _ENTERED, distance * trust) + _COLORS * colors
    return divide(evidence.astype(np.float32), *scene.fences, moved)


def _like(both: Scene, soft: Soft) -> Soft:
    """Evidence of a frame's colours by where they were in the mask of the frame before, capped.

    `both` shows the frame before, and this one below it.
    """
    nothing = np.zeros_like(soft)
    inside, outside = (np.concatenate([weights, nothing]) for weights in (soft, 1 - soft))
    return np.clip(by_color(both, inside, outside)[len(soft) :], -_MOST_COLORS, _MOST_COLORS)


def _entered(back: _Flow) -> Mask:
    """Pixels that were outside the frame before."""
    height, width = back.shape[1:]
    y, x = np.mgrid[:height, :width]
    x, y = x + back[0], y + back[1]
    return (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)


def _labels(
    held: Mapping[int, Soft], given: Mapping[int, Mask], shape: tuple[int, int]
) -> np.ndarray:
    """The surest region at each pixel; those of a key frame are as given."""
    labels, best = np.zeros(shape, np.uint8), np.full(shape, 0.5, np.float32)
    for label, soft in held.items():
        if label in given:
            continue
        sure = cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR)
        labels[sure > best] = label
        best = np.maximum(best, sure)
    for label, mask in reversed(given.items()):
        labels[mask] = label
    return labels
