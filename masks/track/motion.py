"""From one frame to the next: layers move along the flow, then colours decide which one is visible where."""

from __future__ import annotations

import cv2
import numpy as np

from regrain.editing.motion.flow import FlowMethod, estimate_both, occlusion, sampled
from regrain.masks.draw import signed_distance
from regrain.masks.track.appearance import (
    BACKGROUND,
    STRANGE,
    Background,
    TrackedLayer,
    bounds,
    carry,
    clear_background,
    error_of,
    move_ground,
    move_layer,
    near,
    own_flow,
)
from regrain.masks.track.edges import Mask, refined

_STEADY = 12.0  # grey levels by which what flow says outweighs what colours say
_SAME = 25.0  # grey levels up to which flow has found the same thing
_EDGE = 4.0  # per pixel beyond the layer's edge
_FADE = 0.85  # what a remembered outline keeps per frame: limbs stay in it for four frames
_APART = 0.08  # of the long side: so far from all others a memory stays fresh though they touch


def advance(
    layers: dict[int, TrackedLayer],
    ground: Background,
    labels: np.ndarray,
    image: np.ndarray,
    target: np.ndarray,
    method: FlowMethod,
) -> tuple[np.ndarray, dict[int, float]]:
    """Move all layers from `image` to `target`; return the visible labels and each region's confidence, 0..1.

    Changes layers and background in place; `labels` are those of `image`.
    """
    flow, back = estimate_both(target[None], image[None], method)
    unseen = occlusion(flow, back)[0].numpy()
    moved = flow[0].numpy()
    off = np.abs(_read(image, moved).astype(np.float32) - target).mean(2)
    same = ~unseen & (cv2.GaussianBlur(off, (0, 0), 1) < _SAME)
    source = np.where(same, _read(labels, moved).astype(np.int16), -1)
    move_ground(ground, moved, source == BACKGROUND)
    errors = {BACKGROUND: error_of(ground, target)}
    followed = {}
    for label, layer in layers.items():
        own = source == label
        carry(layer, moved, own, target)
        own &= bounds(layer)
        move_layer(layer, own_flow(moved, own, layer.velocity))
        errors[label], followed[label] = error_of(layer, target), own
    view = _arrange(layers, followed, errors)
    sure = _straighten(layers, view, target, errors)
    for label, layer in layers.items():
        _remember(layer, view == label, (view != label) & (view != BACKGROUND), target)
    clear = clear_background(view)
    ground.look[clear] = target[clear]
    ground.known |= clear
    return view, sure


def _straighten(
    layers: dict[int, TrackedLayer],
    view: np.ndarray,
    target: np.ndarray,
    errors: dict[int, np.ndarray],
) -> dict[int, float]:
    """Refine the edges of each layer in `view`, in place; return the confidence of each, 0..1."""
    sure = {}
    for label, layer in layers.items():
        mask, whole = view == label, layer.distance > 0
        sure[label] = min(
            1.0, float((mask & (errors[label] < STRANGE)).sum() / max(int(whole.sum()), 1))
        )
        if layer.refine and mask.any():
            better, agreed = refined(layer.refine, target, mask, (view != BACKGROUND) & ~mask)
            sure[label] *= agreed
            view[mask & ~better] = BACKGROUND
            better &= bounds(layer) & (errors[label] < errors[BACKGROUND])
            view[better & (view == BACKGROUND)] = label
        inside = (whole & ~mask & (view != BACKGROUND)) | (view == label)
        new = signed_distance(inside)
        # Edges keep their place within a pixel where they did not change.
        same = (inside == whole) & (np.abs(new) < 2)
        layer.distance = np.where(same, layer.distance, new).astype(np.float32)
    return sure


def _remember(layer: TrackedLayer, seen: Mask, others: Mask, target: np.ndarray) -> None:
    """Update a layer's memory where it is clear of the others; if they touch, only far from them."""
    layer.touched = bool((near(seen | layer.outline) & others).any())
    free = signed_distance(others) < (-_APART * max(seen.shape) if layer.touched else np.inf)
    if free.any():
        outline = np.where(free, np.maximum(_FADE * layer.shown[..., 3], seen), layer.shown[..., 3])
        look = np.where((free & seen)[..., None], target, layer.shown[..., :3])
        layer.memory = layer.shown = np.dstack([look, outline]).astype(np.float32)
        layer.place = np.eye(3)


def _arrange(
    layers: dict[int, TrackedLayer], followed: dict[int, Mask], errors: dict
) -> np.ndarray:
    """The visible label at each pixel: of the possible layers, the one that looks most like it."""
    best = errors[BACKGROUND].copy()
    view = np.zeros(best.shape, np.uint8)
    reach = 0.03 * max(view.shape)
    strange = errors[BACKGROUND] > STRANGE  # no background: something has moved there
    for label, layer in layers.items():
        remembered = signed_distance(layer.outline)
        # What was hidden comes back where it is remembered, if it looks more like this than like background.
        back = (remembered > 0) & (errors[label] < errors[BACKGROUND])
        there = ((layer.distance > 0) | back | (strange & (layer.distance > -reach))) & bounds(
            layer
        )
        outside = np.maximum(-np.maximum(layer.distance, remembered), 0) * ~strange
        cost = errors[label] - _STEADY * followed[label] + _EDGE * outside
        shown = there & (cost < best) & (errors[label] < STRANGE)
        view[shown], best[shown] = label, cost[shown]
    return view


def _read(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return sampled(values, flow.transpose(1, 2, 0), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
