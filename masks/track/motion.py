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
from regrain.masks.track.edges import Mask, Refine, refined

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
        followed[label] = _move(layer, flow, source == label, target)
        errors[label] = error_of(layer, target)
    view = _arrange(layers, followed, errors)
    sure = _straighten(layers, view, target, errors)
    _remember_all(layers, ground, view, target)
    return view, sure


def _move(
    layer: TrackedLayer,
    flow: Float32[np.ndarray, "2 h w"],
    own: Mask,
    target: np.ndarray,
) -> Mask:
    """Move a layer along the flow of its `own` pixels; return those within its
    bounds."""
    carry(layer, flow, own, target)
    within = own & bounds(layer)
    move_layer(layer, own_flow(flow, within, layer.velocity))
    return within


def _remember_all(
    layers: dict[int, TrackedLayer],
    ground: Background,
    view: np.ndarray,
    target: np.ndarray,
) -> None:
    """Update the memory of all layers and of the background, in place."""
    for label, layer in layers.items():
        seen = view == label
        others = ~seen & (view != BACKGROUND)
        _remember(layer, seen, others, target)
    clear = clear_background(view)
    ground.look[clear] = target[clear]
    ground.known |= clear


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
        sure[label] = _share_in_view(mask, whole, errors[label])
        if layer.refine and mask.any():
            allowed = bounds(layer) & (errors[label] < errors[BACKGROUND])
            sure[label] *= _refine(layer.refine, view, label, target, allowed)
        hidden = whole & ~mask & (view != BACKGROUND)
        _set_inside(layer, hidden | (view == label))
    return sure


def _share_in_view(mask: Mask, whole: Mask, error: np.ndarray) -> float:
    """Return the share of a whole layer that is in view and looks like it, 0..1."""
    right = mask & (error < STRANGE)
    share = float(right.sum() / max(int(whole.sum()), 1))
    return min(1.0, share)


def _refine(
    refine: Refine, view: np.ndarray, label: int, target: np.ndarray, allowed: Mask
) -> float:
    """Refine the edges of one label in `view`, in place; return the agreement, 0.5 to
    1.

    It takes pixels from the background where that is `allowed`.
    """
    mask = view == label
    others = (view != BACKGROUND) & ~mask
    better, agreed = refined(refine, target, mask, others)
    view[mask & ~better] = BACKGROUND
    free = view == BACKGROUND
    view[better & allowed & free] = label
    return agreed


def _set_inside(layer: TrackedLayer, inside: Mask) -> None:
    """Give a layer a new outline; edges keep their place within a pixel where they did
    not change."""
    new = signed_distance(inside)
    whole = layer.distance > 0
    same = (inside == whole) & (np.abs(new) < 2)
    layer.distance = np.where(same, layer.distance, new).astype(np.float32)


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
    for label, layer in layers.items():
        error = errors[label]
        possible, outside = _possible(layer, error, errors[BACKGROUND])
        cost = error - _STEADY * followed[label] + _EDGE * outside
        shown = possible & (cost < best) & (error < STRANGE)
        view[shown] = label
        best[shown] = cost[shown]
    return view


def _possible(
    layer: TrackedLayer, error: np.ndarray, error_of_ground: np.ndarray
) -> tuple[Mask, np.ndarray]:
    """Return where a layer may be seen, and the pixels beyond its edge that count
    against it."""
    strange = error_of_ground > STRANGE  # no background: something has moved there
    remembered = signed_distance(layer.outline)
    # What was hidden comes back where it is remembered, if it looks more like this
    # than like background.
    back = (remembered > 0) & (error < error_of_ground)
    within = layer.distance > 0
    reach = 0.03 * max(strange.shape)
    close = strange & (layer.distance > -reach)
    possible = (within | back | close) & bounds(layer)
    beyond = -np.maximum(layer.distance, remembered)
    return possible, np.maximum(beyond, 0) * ~strange


def _read(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    return sampled(
        values, flow.transpose(1, 2, 0), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT
    )
