"""Masks through a clip: from key frames both ways along optical flow, each region a layer of its own.

Flow moves a layer; colours decide who is in front and straighten its edges. A layer remembers how it looked
when it last stood free of the others. While they touch, that memory goes along as a whole, put where it fits
the frame best: it bounds what the layer may claim, and what was hidden comes back where it is remembered.
Between two key frames both ways are blended.
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
_UNKNOWN = 12.0  # more, where only the nearest of a layer's colours is known
_TELLING = 0.85  # IoU with itself that a right mask must keep for its colours to be asked
_SAME = 25.0  # grey levels up to which flow has found the same thing
_ENOUGH, _MOST = 0.15, 0.4  # of a layer must be in view to tell its velocity, its turning
_FAR = 0.1  # weight of that velocity against what is near
_EDGE = 4.0  # per pixel beyond the layer's edge
_AGREED = 0.7  # IoU of SAM's answer with the moved mask, from which it is believed
_FADE = 0.85  # what a remembered outline keeps per frame: limbs stay in it for four frames
_LIMB = 0.1  # of the root of a layer's area: how far limbs reach beyond the remembered outline
_APART = 0.08  # of the long side: so far from all others a memory stays fresh though they touch
_SEARCH = 4  # pixels by which a memory is moved to fit better


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
            by the colours the region had in its key frame; "sam" asks the built-in SAM, which helps
            less (of crossing actors it keeps a mean IoU of .88, colours .92, flow alone .83); None keeps what
            flow gave.
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
        memory: How it looked when it was last free of others, [h, w, 4]: red, green, blue, outline (0..1).
        palette: See `_palette`.
        refine: How its edges are straightened.
        place: Where in `memory` a pixel is, 3 x 3.
        shown: `memory`, brought to the frame.
        touched: Whether another region was beside it, or where it should be.
        velocity: Mean displacement per frame when last seen, from a frame to the one before.
    """

    distance: np.ndarray
    memory: np.ndarray
    palette: np.ndarray
    refine: Refine | None = None
    place: np.ndarray = field(default_factory=lambda: np.eye(3))
    shown: np.ndarray = field(init=False)
    touched: bool = False
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2, np.float32))

    def __post_init__(self) -> None:
        self.shown = self.memory

    @property
    def outline(self) -> Mask:
        return self.shown[..., 3] > 0.5


@dataclass
class _Ground:
    """What is behind all regions: its colours, where they have been seen, and `_palette`."""

    look: np.ndarray
    known: np.ndarray
    palette: np.ndarray


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
    labels, image, ground, sure = np.zeros(size[::-1], np.uint8), None, None, {}
    for frame, picture in _read(clip, order, size):
        if image is not None and ground is not None:
            labels, sure = _advance(layers, ground, labels, image, picture, method)
        given = stated.get(frame, {})
        for label, mask in reversed(given.items()):
            labels = np.where(labels == label, 0, labels).astype(np.uint8)
            labels[mask] = label
        for label, mask in given.items():
            ask = by_colors(picture, labels == label) if refine == "colors" else refine
            layers[label] = _layer(picture, mask, labels == label, labels, ask, layers.get(label))
        if given:  # a region that starts here had been taken for background before
            clear = _clear(labels)
            known = clear if ground is None else clear & ground.known
            look = picture.astype(np.float32) if ground is None else ground.look
            ground = _Ground(look, known, _palette(picture, clear))
        image = picture
        sure = {n: 1.0 if n in given else sure.get(n, 0.0) for n in layers}
        yield frame, labels, sure


def _layer(
    image: np.ndarray,
    mask: Mask,
    seen: Mask,
    labels: np.ndarray,
    refine: Refine | None,
    before: _Layer | None,
) -> _Layer:
    """A region as a key frame states it, and as it was remembered where another now hides it."""
    others = (labels != BACKGROUND) & ~seen
    whole, look, palette = mask, image, _palette(image, seen)
    if before is not None and mask.any():
        whole = mask | (before.outline & others)
        look = np.where(seen[..., None], image, before.shown[..., :3])
        palette = np.minimum(palette, before.palette)
    layer = _Layer(signed_distance(whole), np.dstack([look, whole]).astype(np.float32), palette, refine)
    layer.touched = bool((_near(whole) & others).any())
    return layer


def _advance(
    layers: dict[int, _Layer],
    ground: _Ground,
    labels: np.ndarray,
    image: np.ndarray,
    target: np.ndarray,
    method: FlowMethod,
) -> tuple[np.ndarray, dict[int, float]]:
    """Move all layers from `image` to `target` and see what of them is in view there."""
    flow = estimate_flow(target[None], image[None], method)
    unseen = occlusion(flow, estimate_flow(image[None], target[None], method))[0].numpy()
    moved = flow[0].numpy()
    off = np.abs(_sampled(image, moved).astype(np.float32) - target).mean(2)
    same = ~unseen & (cv2.GaussianBlur(off, (0, 0), 1) < _SAME)
    source = np.where(same, _sampled(labels, moved).astype(np.int16), -1)
    _move_ground(ground, moved, source == BACKGROUND)
    errors = {BACKGROUND: _error(ground, target)}
    followed = {}
    for label, layer in layers.items():
        own = source == label
        _carry(layer, moved, own, target)
        own &= _bounds(layer)
        _move(layer, _own_flow(moved, own, layer.velocity))
        errors[label], followed[label] = _error(layer, target), own
    view = _arrange(layers, followed, errors)
    sure = {}
    for label, layer in layers.items():
        mask, whole = view == label, layer.distance > 0
        sure[label] = min(1.0, float((mask & (errors[label] < _STRANGE)).sum() / max(int(whole.sum()), 1)))
        if layer.refine and mask.any():
            better, agreed = _refined(layer.refine, target, mask, (view != BACKGROUND) & ~mask)
            sure[label] *= agreed
            view[mask & ~better] = BACKGROUND
            better &= _bounds(layer) & (errors[label] < errors[BACKGROUND])
            view[better & (view == BACKGROUND)] = label
        behind = whole & ~mask & (view != BACKGROUND)
        layer.distance = _redrawn(layer.distance, behind | (view == label))
    for label, layer in layers.items():
        seen, others = view == label, (view != label) & (view != BACKGROUND)
        layer.touched = bool((_near(seen | layer.outline) & others).any())
        free = signed_distance(others) < (-_APART * max(view.shape) if layer.touched else np.inf)
        if free.any():
            outline = np.where(free, np.maximum(_FADE * layer.shown[..., 3], seen), layer.shown[..., 3])
            look = np.where((free & seen)[..., None], target, layer.shown[..., :3])
            layer.memory = layer.shown = np.dstack([look, outline]).astype(np.float32)
            layer.place = np.eye(3)
    clear = _clear(view)
    ground.look[clear] = target[clear]
    ground.known |= clear
    return view, sure


def _clear(labels: np.ndarray) -> Mask:
    """Background that no edge of a region shines into."""
    return ~_near(labels != BACKGROUND)


def _near(mask: Mask) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0


def _move(layer: _Layer, flow: Float32[np.ndarray, "2 h w"]) -> None:
    distance = _warped(layer.distance[None], flow)[0]
    layer.distance = np.where(_inside_frame(flow), distance, np.minimum(distance, -1))


def _move_ground(ground: _Ground, flow: Float32[np.ndarray, "2 h w"], own: Mask) -> None:
    flow = _own_flow(flow, own, np.median(flow[:, own], axis=1) if own.any() else np.zeros(2, np.float32))
    stack = _warped(np.concatenate([ground.known[None], ground.look.transpose(2, 0, 1)]), flow)
    ground.known = (stack[0] > 0.99) & _inside_frame(flow)
    ground.look = np.ascontiguousarray(stack[1:].transpose(1, 2, 0))


def _warped(stack: np.ndarray, flow: Float32[np.ndarray, "2 h w"]) -> Float32[np.ndarray, "c h w"]:
    return warp(torch.from_numpy(stack.astype(np.float32))[None], torch.from_numpy(flow)[None])[0].numpy()


def _carry(layer: _Layer, flow: Float32[np.ndarray, "2 h w"], own: Mask, target: np.ndarray) -> None:
    """Move what is remembered as a whole, as what is in view moves; then to where it fits best."""
    share = own.sum() / max(int(layer.outline.sum()), 1)
    if share > _ENOUGH:
        layer.velocity = np.median(flow[:, own], axis=1)
    move = None
    if share > _MOST and own.sum() > 1:  # one point shows no turn
        y, x = (part[:: max(1, int(own.sum()) // 500)] for part in np.nonzero(own))
        here = np.stack([x, y], 1).astype(np.float32)
        move, _ = cv2.estimateAffinePartial2D(here, here + flow[:, y, x].T, ransacReprojThreshold=1.5)
    if move is None:
        move = np.column_stack([np.eye(2), layer.velocity])
    layer.place = layer.place @ np.vstack([move, [0, 0, 1]])
    if layer.touched:  # it was not seen as a whole: small errors would add up
        x, y = _best_shift(_placed(layer), target)
        layer.place = layer.place @ np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    layer.shown = _placed(layer)


def _placed(layer: _Layer) -> np.ndarray:
    size = layer.memory.shape[1::-1]
    return cv2.warpAffine(layer.memory, layer.place[:2], size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _best_shift(shown: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """The shift (x, y) by which a memory looks most like the frame; what hides it counts the same for all."""
    y, x = np.nonzero(shown[..., 3] > 0.5)
    y, x = (part[:: max(1, len(y) // 1500)] for part in (y, x))
    if not len(y):
        return 0, 0
    padded = np.pad(target, ((_SEARCH, _SEARCH), (_SEARCH, _SEARCH), (0, 0)), "edge").astype(np.float32)
    colors, shifts = shown[y, x, :3], range(-_SEARCH, _SEARCH + 1)

    def off(shift: tuple[int, int]) -> float:
        there = padded[y + _SEARCH + shift[1], x + _SEARCH + shift[0]]
        return float(np.minimum(np.abs(colors - there).mean(1), _STRANGE).mean() + 0.1 * np.hypot(*shift))

    return min(((dx, dy) for dy in shifts for dx in shifts), key=off)


def _bounds(layer: _Layer) -> Mask:
    """What the layer may claim: its remembered outline and a little around it, for limbs."""
    outline = layer.outline
    return signed_distance(outline) > -_LIMB * float(outline.sum()) ** 0.5 - 1


def _palette(image: np.ndarray, mask: Mask) -> Float32[np.ndarray, "32 32 32"]:
    """For each colour, in steps of eight, how many grey levels it is from the nearest that the mask shows."""
    shown = np.zeros((32, 32, 32), np.uint8)
    shown[tuple(image[mask].T // 8)] = 1
    apart = [np.abs(8.0 * np.arange(32)[:, None] - 8.0 * np.arange(32)) / 3 for _ in range(3)]
    table = np.where(shown > 0, 0, 255).astype(np.float32)
    for axis, steps in enumerate(apart):  # the mean of absolute differences, one channel after the other
        table = np.moveaxis((np.moveaxis(table, axis, 0)[None] + steps[:, :, None, None]).min(1), 0, axis)
    return table.astype(np.float32)


def _error(layer: _Layer | _Ground, target: np.ndarray) -> np.ndarray:
    """Grey levels by which colours differ from the frame: from what is known there, or from the nearest.

    A layer's limbs move within its outline: there too the nearest may be right.
    """
    nearest = layer.palette[tuple(target.reshape(-1, 3).T // 8)].reshape(target.shape[:2]) + _UNKNOWN
    if isinstance(layer, _Ground):
        off = np.where(layer.known, np.abs(layer.look - target).mean(2), nearest)
    else:
        here = np.abs(layer.shown[..., :3] - target).mean(2)
        off = np.where(layer.outline, np.minimum(here, nearest), nearest)
    return cv2.GaussianBlur(off.astype(np.float32), (0, 0), 1.2)


def _arrange(layers: dict[int, _Layer], followed: dict[int, Mask], errors: dict) -> np.ndarray:
    """The label in view at each pixel: of the layers that may be there, the one that looks most like it."""
    best = errors[BACKGROUND].copy()
    view = np.zeros(best.shape, np.uint8)
    reach = 0.03 * max(view.shape)
    strange = errors[BACKGROUND] > _STRANGE  # no background: something has moved there
    for label, layer in layers.items():
        remembered = signed_distance(layer.outline)
        # What was hidden comes back where it is remembered, if it looks more like this than like background.
        back = (remembered > 0) & (errors[label] < errors[BACKGROUND])
        there = ((layer.distance > 0) | back | (strange & (layer.distance > -reach))) & _bounds(layer)
        outside = np.maximum(-np.maximum(layer.distance, remembered), 0) * ~strange
        cost = errors[label] - _STEADY * followed[label] + _EDGE * outside
        shown = there & (cost < best) & (errors[label] < _STRANGE)
        view[shown], best[shown] = label, cost[shown]
    return view


def _redrawn(distance: np.ndarray, inside: Mask) -> np.ndarray:
    """Signed distance of what is inside now, finer than a pixel where the edge did not change."""
    new = signed_distance(inside)
    return np.where((inside == (distance > 0)) & (np.abs(new) < 2), distance, new).astype(np.float32)


def _own_flow(
    flow: Float32[np.ndarray, "2 h w"], own: Mask, velocity: np.ndarray
) -> Float32[np.ndarray, "2 h w"]:
    """A layer's motion everywhere: its own where it is in view, spread from there, far off its velocity."""
    weight = own.astype(np.float32)
    spread = 0.03 * max(own.shape)
    share = cv2.GaussianBlur(weight, (0, 0), spread)
    near = [cv2.GaussianBlur(part * weight, (0, 0), spread) for part in flow]
    far = velocity[:, None, None]
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
