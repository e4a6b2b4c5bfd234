"""Masks through a clip: from key frames both ways along optical flow, each region a layer of its own.

A layer remembers the whole thing and its colours, also where something hides it. Flow moves it; colours
decide who is in front and straighten its edges. Between two key frames both ways are blended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from editing.clip import Clip, resize
from editing.errors import MaskError
from editing.flow import FlowMethod, estimate_flow, occlusion, warp
from masks.click import embed, segment
from masks.draw import deepest, signed_distance
from masks.grabcut import learn, tighten

Mask = np.ndarray  # bool [height, width]
Keys = Mapping[int, np.ndarray | Mapping[int, np.ndarray]]
Refine = Callable[[np.ndarray, Mask, Mask], Mask]

BACKGROUND = 0
SHORT_SIDE = 480  # pixels worked on; larger frames are shrunk and their masks enlarged
_WINDOW = 16  # frames read at once
_STEADY = 12.0  # grey levels by which what flow says outweighs what colours say
_STRANGE = 45.0  # grey levels beyond which a colour is not the layer's
_UNKNOWN = 25.0  # and where nobody knows what a layer looks like
_GROUND = 25.0  # grey levels by which background must look better to win back a region's pixel
_TELLING = 0.85  # IoU with itself that a right mask must keep for its colours to be asked
_SAME = 25.0  # grey levels up to which flow has found the same thing
_ENOUGH = 0.15  # of a layer must be in view to tell its velocity
_FAR = 0.1  # weight of that velocity against what is near
_EDGE = 4.0  # per pixel beyond the layer's edge
_AGREED = 0.7  # IoU of SAM's answer with the moved mask, from which it is believed


class Confidence(float):
    """Of a frame: the least of its regions, 0 lost to 1 sure.

    Attributes:
        regions: Confidence by label: how much of the whole thing is in view and looks as it did.
    """

    regions: dict[int, float]

    def __new__(cls, regions: Mapping[int, float]) -> Confidence:  # noqa: D102
        value = super().__new__(cls, min(regions.values(), default=1.0))
        value.regions = dict(regions)
        return value


def propagate(
    clip: Clip,
    keys: Keys,
    *,
    start: int = 0,
    stop: int | None = None,
    refine: Refine | Literal["colors", "sam"] | None = "colors",
    flow: FlowMethod = "auto",
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"], Confidence]]:
    """Carry masks from key frames to all others.

    Each frame comes once: from the first key frame to the end, then from there back to the start. A region is
    bound by those key frames that state it, so that regions may have key frames of their own. To correct a
    frame, make it a key frame and call again; `start` and `stop` limit the work to what that changes.

    Args:
        clip: Frames.
        keys: By frame, labels [height, width] (uint8, 0 = background, stating every label present), or masks
            by label (bool [height, width], stating also what is empty; the earlier covers the later).
        start: First frame to do.
        stop: Frame after the last; None is the end of the clip.
        refine: Given a frame, a moved mask and the pixels of other regions, a better mask; "colors" is a cut
            by the colours the region had in its key frame; "sam" asks the built-in SAM, which is too coarse
            to help (of crossing actors it keeps a mean IoU of .53 where colours keep .82, flow alone .70);
            None keeps what flow gave.
        flow: How motion is found; see `editing.flow.estimate_flow`.

    Yields:
        Frame, its labels, and the confidence. Key frames are as they were given.

    Raises:
        MaskError: No key frame, or one outside the clip or of another size.
        ModelError: "raft" without weights.
    """
    stop = len(clip) if stop is None else stop
    stated = _check(clip, keys, start, stop)
    return _propagate(clip, stated, start, stop, reprompt if refine == "sam" else refine, flow)


def reprompt(image: np.ndarray, mask: Mask, others: Mask) -> Mask:
    """Ask the built-in SAM about a moved mask: itself, a click inside, a click on what is beside it."""
    points, labels = [deepest(mask)], [1]
    near = others & (signed_distance(mask) > -0.1 * max(mask.shape))
    if near.any():
        points.append(deepest(near))
        labels.append(0)
    return segment(embed(image), points, labels, previous=mask)


def by_colors(image: np.ndarray, mask: Mask) -> Refine | None:
    """Edges by the colours of a mask that is right; None where they do not tell it from the rest."""
    if (colors := learn(image, mask)) is None:
        return None
    again = tighten(image, mask, np.zeros_like(mask), colors)
    return partial(tighten, colors=colors) if _iou(again, mask) >= _TELLING else None


@dataclass
class _Layer:
    """One region during a pass.

    Attributes:
        distance: Signed distance to the edge of the whole thing, hidden parts too.
        look: Its colours, seen or remembered.
        known: Where `look` has been seen.
        refine: How its edges are straightened.
        velocity: Mean displacement per frame when last seen, from a frame to the one before.
    """

    distance: np.ndarray
    look: np.ndarray
    known: np.ndarray
    refine: Refine | None = None
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))


def _check(clip: Clip, keys: Keys, start: int, stop: int) -> dict[int, dict[int, Mask]]:
    width, height = clip.size
    if not keys:
        raise MaskError("keys", "no key frame was given; give the labels of at least one frame")
    stated: dict[int, dict[int, Mask]] = {}
    for frame, value in sorted(keys.items()):
        if not 0 <= frame < len(clip):
            raise MaskError("keys", f"frame {frame} was given; the clip has {len(clip)}; choose one of them")
        masks = (
            value if isinstance(value, Mapping) else {n: value == n for n in np.unique(value).tolist() if n}
        )
        for mask in [value] if not isinstance(value, Mapping) else value.values():
            if np.shape(mask) != (height, width):
                raise MaskError("keys", f"frame {frame} is {np.shape(mask)}; the clip is {(height, width)}")
        if start <= frame < stop and masks:
            stated[frame] = {int(label): np.asarray(mask, bool) for label, mask in masks.items()}
    if not stated:
        raise MaskError("keys", f"no key frame from {start} to {stop - 1} names a region; paint or click one")
    return stated


def _propagate(
    clip: Clip,
    stated: dict[int, dict[int, Mask]],
    start: int,
    stop: int,
    refine: Refine | Literal["colors"] | None,
    method: FlowMethod,
) -> Iterator[tuple[int, np.ndarray, Confidence]]:
    scale = min(1.0, SHORT_SIDE / min(clip.size))
    size = (round(clip.size[0] * scale), round(clip.size[1] * scale))
    small = {
        frame: {label: _scaled(mask, size) for label, mask in masks.items()}
        for frame, masks in stated.items()
    }
    first, last = min(stated), max(stated)
    # What comes from later key frames is needed first, packed as labels; the rest streams.
    later = {}
    backwards = _follow(clip, range(last, start - 1, -1), small, size, refine, method)
    if last > first:
        for frame, labels, sure in backwards:
            later[frame] = labels, sure
            if frame == first:
                break
    else:
        next(backwards)
    for frame, labels, sure in _follow(clip, range(first, stop), small, size, refine, method):
        found = {label: (labels == label, sure[label]) for label in sure}
        if frame in later:
            found = _blend(frame, stated, found, later.pop(frame))
        yield _finish(frame, found, stated, clip.size)
    for frame, labels, sure in backwards:
        yield _finish(frame, {label: (labels == label, sure[label]) for label in sure}, stated, clip.size)


def _blend(frame: int, stated: dict, earlier: dict, later: tuple) -> dict[int, tuple[Mask, float]]:
    """Both ways' masks: their edges meet in between, nearer to the nearer key frame's and the surer one's."""
    labels, sure = later
    blended = {}
    for label in [*earlier, *(label for label in sure if label not in earlier)]:
        if label not in sure or label not in earlier:
            blended[label] = earlier[label] if label in earlier else (labels == label, sure[label])
            continue
        times = [key for key, masks in stated.items() if label in masks]
        before = frame - max((key for key in times if key <= frame), default=frame)
        after = min((key for key in times if key >= frame), default=frame) - frame
        mask, certainty = earlier[label]
        weights = np.array([(after + 1e-6) * (certainty + 0.05), (before + 1e-6) * (sure[label] + 0.05)])
        weights /= weights.sum()
        reach = np.float32(0.1 * max(mask.shape))  # what one way has lost must not outvote the other
        two = [signed_distance(m).clip(-reach, reach) for m in (mask, labels == label)]
        blended[label] = weights[0] * two[0] + weights[1] * two[1] > 0, max(certainty, sure[label])
    return blended


def _finish(
    frame: int, found: dict[int, tuple[Mask, float]], stated: dict, size: tuple[int, int]
) -> tuple[int, np.ndarray, Confidence]:
    labels = np.zeros(size[::-1], np.uint8)
    for label, (mask, _) in reversed(found.items()):
        labels[_scaled(mask, size)] = label
    given = stated.get(frame, {})
    for label, mask in reversed(given.items()):
        labels[labels == label] = 0
        labels[mask] = label
    sure = {label: 1.0 if label in given else certainty for label, (_, certainty) in found.items()}
    return frame, labels, Confidence({label: round(sure[label], 4) for label in sorted(sure)})


def _follow(
    clip: Clip,
    order: range,
    stated: dict[int, dict[int, Mask]],
    size: tuple[int, int],
    refine: Refine | Literal["colors"] | None,
    method: FlowMethod,
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w"], dict[int, float]]]:
    """One way through the clip: labels of what is in view, and how sure each region is."""
    layers: dict[int, _Layer] = {}
    labels, image, sure = np.zeros(size[::-1], np.uint8), None, {}
    for frame, picture in _read(clip, order, size):
        if image is not None:
            labels, sure = _advance(layers, labels, image, picture, method)
        given = stated.get(frame, {})
        for label, mask in reversed(given.items()):
            labels = np.where(labels == label, 0, labels).astype(np.uint8)
            labels[mask] = label
        for label, mask in given.items():
            ask = by_colors(picture, labels == label) if refine == "colors" else refine
            layers[label] = _Layer(signed_distance(mask), picture.astype(np.float32), mask.copy(), ask)
        if image is None:
            everywhere = np.full(labels.shape, sum(labels.shape), np.float32)
            layers[BACKGROUND] = _Layer(everywhere, picture.astype(np.float32), _clear(labels))
        image = picture
        sure = {n: 1.0 if n in given else sure.get(n, 0.0) for n in layers if n != BACKGROUND}
        yield frame, labels, sure


def _advance(
    layers: dict[int, _Layer],
    labels: np.ndarray,
    image: np.ndarray,
    target: np.ndarray,
    method: FlowMethod,
) -> tuple[np.ndarray, dict[int, float]]:
    """Move all layers from `image` to `target` and see what of them is in view there."""
    flow = estimate_flow(target[None], image[None], method)
    unseen = occlusion(flow, estimate_flow(image[None], target[None], method))[0].numpy()
    moved = flow[0].numpy()
    source = _sampled(labels, moved)
    same = (
        cv2.GaussianBlur(np.abs(_sampled(image, moved).astype(np.float32) - target).mean(2), (0, 0), 1)
        < _SAME
    )
    errors, costs = {}, {}
    for label, layer in layers.items():
        followed = (source == label) & ~unseen & same
        _move(layer, _own_flow(moved, followed, layer))
        errors[label] = _error(layer, target)
        costs[label] = errors[label] - _STEADY * followed
    view = _arrange(layers, costs, errors)
    sure = {}
    for label, layer in layers.items():
        if label == BACKGROUND:
            continue
        mask, whole = view == label, layer.distance > 0
        sure[label] = min(1.0, float((mask & (errors[label] < _STRANGE)).sum() / max(int(whole.sum()), 1)))
        if layer.refine and mask.any():
            better, agreed = _refined(layer.refine, target, mask, (view != BACKGROUND) & ~mask)
            sure[label] *= agreed
            view[mask & ~better] = BACKGROUND
            view[better & (view == BACKGROUND)] = label
        behind = whole & ~mask & (view != BACKGROUND)
        layer.distance = _redrawn(layer.distance, behind | (view == label))
    for label, layer in layers.items():
        seen = view == label if label else _clear(view)
        layer.look[seen] = target[seen]
        layer.known |= seen
    return view, sure


def _clear(labels: np.ndarray) -> Mask:
    """Background that no edge of a region shines into."""
    return cv2.dilate((labels != BACKGROUND).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0


def _move(layer: _Layer, flow: Float32[np.ndarray, "2 h w"]) -> None:
    stack = np.concatenate([layer.distance[None], layer.known[None], layer.look.transpose(2, 0, 1)])
    stack = warp(torch.from_numpy(stack.astype(np.float32))[None], torch.from_numpy(flow)[None])[0].numpy()
    inside = _inside_frame(flow)
    layer.distance = np.where(inside, stack[0], np.minimum(stack[0], -1))
    layer.known = (stack[1] > 0.99) & inside
    layer.look = np.ascontiguousarray(stack[2:].transpose(1, 2, 0))


def _error(layer: _Layer, target: np.ndarray) -> np.ndarray:
    """Grey levels by which a layer's colours differ from the frame; unknown ones by a middling guess."""
    off = np.where(layer.known, np.abs(layer.look - target).mean(2), _UNKNOWN).astype(np.float32)
    return cv2.GaussianBlur(off, (0, 0), 1.2)


def _arrange(layers: dict[int, _Layer], costs: dict, errors: dict) -> np.ndarray:
    """The label in view at each pixel: of the layers that are there, the one that looks most like it."""
    ground = layers[BACKGROUND]
    view = np.zeros(ground.known.shape, np.uint8)
    best = np.where(ground.known, errors[BACKGROUND] + _GROUND, np.inf).astype(np.float32)
    reach = 0.03 * max(view.shape)
    strange = ground.known & (errors[BACKGROUND] > _STRANGE)  # no background: something has moved there
    for label, layer in layers.items():
        if label == BACKGROUND:
            continue
        there = (layer.distance > 0) | (strange & (layer.distance > -reach))
        cost = costs[label] + _EDGE * np.maximum(-layer.distance, 0) * ~strange
        shown = there & (cost < best) & (errors[label] < _STRANGE)
        view[shown], best[shown] = label, cost[shown]
    return view


def _redrawn(distance: np.ndarray, inside: Mask) -> np.ndarray:
    """Signed distance of what is inside now, finer than a pixel where the edge did not change."""
    new = signed_distance(inside)
    return np.where((inside == (distance > 0)) & (np.abs(new) < 2), distance, new).astype(np.float32)


def _own_flow(flow: Float32[np.ndarray, "2 h w"], own: Mask, layer: _Layer) -> Float32[np.ndarray, "2 h w"]:
    """The layer's motion everywhere: its own where it is in view, spread from there, or as it last was."""
    if own.sum() > _ENOUGH * (layer.distance > 0).sum():
        layer.velocity = np.median(flow[:, own], axis=1)
    weight = own.astype(np.float32)
    spread = 0.03 * max(own.shape)
    share = cv2.GaussianBlur(weight, (0, 0), spread)
    near = [cv2.GaussianBlur(part * weight, (0, 0), spread) for part in flow]
    far = layer.velocity[:, None, None]
    return np.where(own, flow, (np.stack(near) + _FAR * far) / (share + _FAR)).astype(np.float32)


def _refined(refine: Refine, image: np.ndarray, mask: Mask, others: Mask) -> tuple[Mask, float]:
    """The better mask, if it speaks of the same thing; and how far it agrees, at least one half."""
    answer = refine(image, mask, others) & ~others
    agreed = _iou(answer, mask)
    return answer if agreed >= _AGREED else mask, 0.5 + 0.5 * agreed


def _iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))


def _inside_frame(flow: np.ndarray) -> Mask:
    """Where `flow` leads to a pixel of the frame, not to its border repeated."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[0], y + flow[1]
    return (x > -1) & (x < width) & (y > -1) & (y < height)


def _sampled(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = labels.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(labels, x + flow[0], y + flow[1], cv2.INTER_NEAREST, borderValue=0)


def _scaled(mask: Mask, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    if mask.shape[::-1] == tuple(size):
        return mask
    method = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), size, interpolation=method) > 0.5


def _read(clip: Clip, order: range, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames in order, a window at a time: a video file cannot be read backwards one by one."""
    for first in range(0, len(order), _WINDOW):
        window = order[first : first + _WINDOW]
        low = min(window)
        frames = resize(clip.read(low, max(window) + 1), size)
        for index in window:
            yield index, np.ascontiguousarray(frames[index - low])
