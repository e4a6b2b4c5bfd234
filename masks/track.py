"""Masks through a clip: from key frames both ways along optical flow, each region a layer of its own.

A layer remembers the whole thing and its colours, also where something hides it. Flow moves it; colours decide
who is in front; SAM, where there are weights, straightens its edges. Between two key frames both ways are blended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from editing.clip import Clip, resize
from editing.errors import MaskError
from editing.flow import estimate_flow, occlusion, warp
from masks.click import embed, missing, segment
from masks.draw import deepest, signed_distance

Mask = np.ndarray  # bool [height, width]
Keys = Mapping[int, np.ndarray | Mapping[int, np.ndarray]]
Refine = Callable[[np.ndarray, Mask, Mask], Mask]

SHORT_SIDE = 480  # pixels worked on; larger frames are shrunk and their masks enlarged
_WINDOW = 16  # frames read at once
_STEADY = 12.0  # grey levels by which what flow says outweighs what colours say
_STRANGE = 45.0  # grey levels beyond which a colour is not the layer's
_AGREED = 0.7  # IoU of SAM's answer with the moved mask, from which it is believed


class Confidence(float):
    """Of a frame: the least of its regions, 0 lost to 1 sure.

    Attributes:
        regions: Confidence by label: how much of the whole thing is in view and looks as it did.
    """

    regions: dict[int, float]

    def __new__(cls, regions: Mapping[int, float]) -> Confidence:
        value = super().__new__(cls, min(regions.values(), default=1.0))
        value.regions = dict(regions)
        return value


def propagate(
    clip: Clip,
    keys: Keys,
    *,
    start: int = 0,
    stop: int | None = None,
    refine: Refine | Literal["auto"] | None = "auto",
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"], Confidence]]:
    """Carry masks from key frames to all others.

    Each frame comes once: from the first key frame to the end, then from there back to the start. A region is
    bound by those key frames that state it, so that regions may have key frames of their own. To correct a
    frame, make it a key frame and call again; `start` and `stop` limit the work to what that changes.

    Args:
        clip: Frames.
        keys: By frame, labels [height, width] (uint8, 0 = background, stating every label present) or masks by
            label (bool [height, width], stating also what is empty; the earlier covers the later).
        start: First frame to do.
        stop: Frame after the last; None is the end of the clip.
        refine: Given a frame, a moved mask and the pixels of other regions, a better mask; "auto" asks the
            built-in SAM where it has weights; None keeps what flow gave.

    Yields:
        Frame, its labels, and the confidence. Key frames are as they were given.

    Raises:
        MaskError: No key frame, or one outside the clip or of another size.
    """
    stop = len(clip) if stop is None else stop
    stated = _check(clip, keys, start, stop)
    ask = (None if missing() else reprompt) if refine == "auto" else refine
    return _propagate(clip, stated, start, stop, ask)


def reprompt(image: np.ndarray, mask: Mask, others: Mask) -> Mask:
    """Ask the built-in SAM about a moved mask: a click where it is deepest, the mask itself, clicks on others."""
    points, labels = [deepest(mask)], [1]
    near = others & (signed_distance(mask) > -0.1 * max(mask.shape))
    if near.any():
        points.append(deepest(near))
        labels.append(0)
    return segment(embed(image), points, labels, previous=mask)


@dataclass
class _Layer:
    """One region during a pass.

    Attributes:
        distance: Signed distance to the edge of the whole thing, hidden parts too.
        look: Its colours, seen or remembered.
        velocity: Mean displacement per frame when last seen, from a frame to the one before.
    """

    distance: np.ndarray
    look: np.ndarray
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
    clip: Clip, stated: dict[int, dict[int, Mask]], start: int, stop: int, refine: Refine | None
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
    backwards = _follow(clip, range(last, start - 1, -1), small, size, refine)
    if last > first:
        for frame, labels, sure in backwards:
            later[frame] = labels, sure
            if frame == first:
                break
    else:
        next(backwards)
    for frame, labels, sure in _follow(clip, range(first, stop), small, size, refine):
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
    clip: Clip, order: range, stated: dict[int, dict[int, Mask]], size: tuple[int, int], refine: Refine | None
) -> Iterator[tuple[int, UInt8[np.ndarray, "h w"], dict[int, float]]]:
    """One way through the clip: labels of what is in view, and how sure each region is."""
    layers: dict[int, _Layer] = {}
    labels, image, sure = np.zeros(size[::-1], np.uint8), None, {}
    for frame, picture in _read(clip, order, size):
        if layers and image is not None:
            labels, sure = _advance(layers, labels, image, picture, refine)
        given = stated.get(frame, {})
        for label, mask in reversed(given.items()):
            labels = np.where(labels == label, 0, labels).astype(np.uint8)
            labels[mask] = label
        for label, mask in given.items():
            layers[label] = _Layer(signed_distance(mask), picture.astype(np.float32))
        image, sure = picture, {label: 1.0 if label in given else sure.get(label, 0.0) for label in layers}
        yield frame, labels, sure


def _advance(
    layers: dict[int, _Layer],
    labels: np.ndarray,
    image: np.ndarray,
    target: np.ndarray,
    refine: Refine | None,
) -> tuple[np.ndarray, dict[int, float]]:
    """Move all layers from `image` to `target` and see what of them is in view there."""
    flow = estimate_flow(target[None], image[None])
    unseen = occlusion(flow, estimate_flow(image[None], target[None]))[0].numpy()
    moved = flow[0].numpy()
    source = _sampled(labels, moved)
    errors = {}
    for label, layer in layers.items():
        own = _own_flow(moved, (source == label) & ~unseen, layer)
        stack = np.concatenate([layer.distance[None], layer.look.transpose(2, 0, 1)])
        stack = warp(torch.from_numpy(stack)[None], torch.from_numpy(own)[None])[0].numpy()
        layer.distance = signed_distance(_inside_frame(stack[0] > 0, own))
        layer.look = stack[1:].transpose(1, 2, 0)
        errors[label] = cv2.GaussianBlur(np.abs(layer.look - target).mean(2), (0, 0), 1.5)
    best = np.full(labels.shape, np.inf, np.float32)
    view = np.zeros_like(labels)
    for label, layer in layers.items():
        followed = (source == label) & ~unseen
        cost = errors[label] - _STEADY * followed
        shown = (layer.distance > 0) & (cost < best) & (followed | (errors[label] < _STRANGE))
        view[shown], best[shown] = label, cost[shown]
    sure = {}
    for label, layer in layers.items():
        mask, whole = view == label, layer.distance > 0
        fits = (mask & (errors[label] < _STRANGE)).sum() / max(int(whole.sum()), 1)
        sure[label] = float(min(fits, 1.0))
        if refine and mask.any():
            better, agreed = _refined(refine, target, mask, (view > 0) & ~mask)
            sure[label] *= agreed
            view[mask & ~better] = 0
            view[better & (view == 0)] = label
            layer.distance = signed_distance((whole & ~mask & (view != 0)) | (view == label))
        seen = view == label
        layer.look[seen] = target[seen]
    return view, sure


def _own_flow(flow: Float32[np.ndarray, "2 h w"], own: Mask, layer: _Layer) -> Float32[np.ndarray, "2 h w"]:
    """The layer's motion everywhere: its own where it is in view, spread from there, or as it last was."""
    if not own.any():
        return np.broadcast_to(layer.velocity[:, None, None], flow.shape).copy()
    layer.velocity = np.median(flow[:, own], axis=1)
    weight = own.astype(np.float32)
    spread = 0.03 * max(own.shape)
    share = cv2.GaussianBlur(weight, (0, 0), spread)
    near = [cv2.GaussianBlur(part * weight, (0, 0), spread) for part in flow]
    far = layer.velocity[:, None, None]
    trust = 1e-3
    spreaded = (np.stack(near) + trust * far) / (share + trust)
    return np.where(own, flow, spreaded).astype(np.float32)


def _refined(refine: Refine, image: np.ndarray, mask: Mask, others: Mask) -> tuple[Mask, float]:
    """SAM's edges near ours, if it speaks of the same thing; and how far it agrees, at least one half."""
    answer = refine(image, mask, others) & ~others
    both = (answer & mask).sum() / max(int((answer | mask).sum()), 1)
    if both < _AGREED:
        return mask, 0.5 + 0.5 * float(both)
    band = np.abs(signed_distance(mask)) <= 0.03 * max(mask.shape)
    return np.where(band, answer, mask), 0.5 + 0.5 * float(both)


def _inside_frame(mask: Mask, flow: np.ndarray) -> Mask:
    """What is sampled from beyond the frame's border is not the border repeated, but unknown."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width]
    x, y = x + flow[0], y + flow[1]
    return mask & (x > -1) & (x < width) & (y > -1) & (y < height)


def _sampled(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    height, width = labels.shape
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
