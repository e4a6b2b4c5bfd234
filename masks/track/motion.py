"""From one frame to the next: layers move along the flow, then colours decide which one
is visible where."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, Int16

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
# what a remembered outline keeps per frame: limbs stay in it for four frames
_FADE = 0.85
# of the long side: so far from all others a memory stays fresh though they touch
_APART = 0.08


def advance(
    layers: dict[int, TrackedLayer],
    ground: Background,
    labels: np.ndarray,
    image: np.ndarray,
    target: np.ndarray,
    method: FlowMethod,
) -> tuple[np.ndarray, dict[int, float]]:
    """Move all layers from `image` to `target`; return the visible labels and each
    region's confidence, 0..1.

    Changes layers and background in place; `labels` are those of `image`.
    """
    flow, source = _followed(labels, image, target, method)
    move_ground(ground, flow, source == BACKGROUND)
    errors = {BACKGROUND: error_of(ground, target)}
    followed = {}
    for label, layer in layers.items():
        own = source == label
        carry(layer, flow, own, target)
        own &= bounds(layer)
        move_layer(layer, own_flow(flow, own, layer.velocity))
        errors[label] = error_of(layer, target)
        followed[label] = own
    view = _arrange(layers, followed, errors)
    sure = _straighten(layers, view, target, errors)
    for label, layer in layers.items():
        seen = view == label
        others = ~seen & (view != BACKGROUND)
        _remember(layer, seen, others, target)
    clear = clear_background(view)
    ground.look[clear] = target[clear]
    ground.known |= clear
    return view, sure


def _followed(
    labels: np.ndarray, image: np.ndarray, target: np.ndarray, method: FlowMethod
) -> tuple[Float32[np.ndarray, "2 h w"], Int16[np.ndarray, "h w"]]:
    """Follow labels from `image` to `target`.

    Returns:
        The flow from `target` to `image`, and the label that each pixel had; -1 where
        that is not known, since the pixel was hidden or its colour has changed.
    """
    flow, back = estimate_both(target[None], image[None], method)
    hidden = occlusion(flow, back)[0].numpy()
    flow = flow[0].numpy()
    off = np.abs(_read(image, flow).astype(np.float32) - target).mean(2)
    same = ~hidden & (cv2.GaussianBlur(off, (0, 0), 1) < _SAME)
    source = np.where(same, _read(labels, flow).astype(np.int16), -1)
    return flow, source


def _straighten(
    layers: dict[int, TrackedLayer],
    view: np.ndarray,
    target: np.ndarray,
    errors: dict[int, np.ndarray],
) -> dict[int, float]:
    """Refine the edges of each layer in `view`, in place; return the confidence of
    each, 0..1."""
    sure = {}
    for label, layer in layers.items():
        mask = view == label
        whole = layer.distance > 0
        right = mask & (errors[label] < STRANGE)
        sure[label] = min(1.0, float(right.sum() / max(int(whole.sum()), 1)))
        if layer.refine and mask.any():
            others = (view != BACKGROUND) & ~mask
            better, agreed = refined(layer.refine, target, mask, others)
            sure[label] *= agreed
            view[mask & ~better] = BACKGROUND
            better &= bounds(layer) & (errors[label] < errors[BACKGROUND])
            view[better & (view == BACKGROUND)] = label
        hidden = whole & ~mask & (view != BACKGROUND)
        inside = hidden | (view == label)
        new = signed_distance(inside)
        # Edges keep their place within a pixel where they did not change.
        same = (inside == whole) & (np.abs(new) < 2)
        layer.distance = np.where(same, layer.distance, new).astype(np.float32)
    return sure


def _remember(
    layer: TrackedLayer, seen: Mask, others: Mask, target: np.ndarray
) -> None:
    """Update a layer's memory where it is clear of the others; if they touch, only far
    from them."""
    layer.touched = bool((near(seen | layer.outline) & others).any())
    apart = -_APART * max(seen.shape) if layer.touched else np.inf
    free = signed_distance(others) < apart
    if free.any():
        outline = layer.shown[..., 3]
        outline = np.where(free, np.maximum(_FADE * outline, seen), outline)
        look = np.where((free & seen)[..., None], target, layer.shown[..., :3])
        layer.memory = layer.shown = np.dstack([look, outline]).astype(np.float32)
        layer.place = np.eye(3)


def _arrange(
    layers: dict[int, TrackedLayer], followed: dict[int, Mask], errors: dict
) -> np.ndarray:
    """Choose the visible label at each pixel: of the possible layers, the one that
    looks most like it."""
    best = errors[BACKGROUND].copy()
    view = np.zeros(best.shape, np.uint8)
    reach = 0.03 * max(view.shape)
    strange = errors[BACKGROUND] > STRANGE  # no background: something has moved there
    for label, layer in layers.items():
        remembered = signed_distance(layer.outline)
        error = errors[label]
        # What was hidden comes back where it is remembered, if it looks more like this
        # than like background.
        back = (remembered > 0) & (error < errors[BACKGROUND])
        within = layer.distance > 0
        close = strange & (layer.distance > -reach)
        possible = (within | back | close) & bounds(layer)
        outside = np.maximum(-np.maximum(layer.distance, remembered), 0) * ~strange
        cost = error - _STEADY * followed[label] + _EDGE * outside
        shown = possible & (cost < best) & (error < STRANGE)
        view[shown] = label
        best[shown] = cost[shown]
    return view


def _read(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return sampled(
        values, flow.transpose(1, 2, 0), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT
    )
