"""The appearance of tracked regions: layers that remember how they looked, and the
background behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from regrain.editing.motion.flow import warp
from regrain.masks.draw import signed_distance
from regrain.masks.track.edges import Mask, Refine

BACKGROUND = 0
STRANGE = 45.0  # grey levels beyond which a colour is not the layer's
_UNKNOWN = 12.0  # more, where only the nearest of a layer's colours is known
_ENOUGH = 0.15  # share of a layer that must be in view to tell its velocity
_MOST = 0.4  # share of a layer that must be in view to tell its turning
_FAR = 0.1  # weight of that velocity against what is near
# of the root of a layer's area: how far limbs reach beyond the remembered outline
_LIMB = 0.1
_SEARCH = 4  # pixels by which a memory is moved to fit better


@dataclass
class TrackedLayer:
    """One region during a pass.

    Attributes:
        distance: Signed distance to the edge of the whole object in pixels, hidden
            parts included.
        memory: How it looked when last clear of others, [h, w, 4]: red, green, blue,
            outline (0..1).
        palette: See `palette_of`.
        refine: How its edges are refined.
        place: Transform from frame to `memory`, 3 x 3.
        shown: `memory`, transformed to the frame.
        touched: True if another region was next to it, or where it should be.
        velocity: Mean displacement per frame when last seen, from a frame to the one
            before, in pixels.
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
        """Mask of the whole object in the frame, according to memory."""
        return self.shown[..., 3] > 0.5


@dataclass
class Background:
    """The background of all regions: its colours, where they have been seen, and
    `palette_of`."""

    look: np.ndarray
    known: np.ndarray
    palette: np.ndarray


def new_layer(
    image: np.ndarray,
    mask: Mask,
    seen: Mask,
    labels: np.ndarray,
    refine: Refine | None,
    before: TrackedLayer | None,
) -> TrackedLayer:
    """Make a region's layer from a key frame, with its earlier memory where another
    region now hides it."""
    others = (labels != BACKGROUND) & ~seen
    whole = mask
    look = image
    palette = palette_of(image, seen)
    if before is not None and mask.any():
        whole = mask | (before.outline & others)
        look = _painted(before.shown, image, seen)
        palette = np.minimum(palette, before.palette)
    memory = np.dstack([look, whole])
    layer = TrackedLayer(
        distance=signed_distance(whole),
        memory=memory.astype(np.float32),
        palette=palette,
        refine=refine,
    )
    layer.touched = bool((near(whole) & others).any())
    return layer


def _painted(shown: np.ndarray, image: np.ndarray, seen: Mask) -> np.ndarray:
    """Return the colours of a memory, those of the image where the layer is seen."""
    return np.where(seen[..., None], image, shown[..., :3])


def move_layer(layer: TrackedLayer, flow: Float32[np.ndarray, "2 h w"]) -> None:
    """Move a layer's distance along `flow`, pixels (x, y) from the frame to the one
    before; in place."""
    distance = _warped(layer.distance[None], flow)[0]
    layer.distance = np.where(_inside_frame(flow), distance, np.minimum(distance, -1))


def move_ground(
    ground: Background, flow: Float32[np.ndarray, "2 h w"], own: Mask
) -> None:
    """Move the background along `flow`, where `own` says that it was tracked; in
    place."""
    velocity = np.zeros(2, np.float32)
    if own.any():
        velocity = np.median(flow[:, own], axis=1)
    flow = own_flow(flow, own, velocity)
    layers = np.concatenate([ground.known[None], ground.look.transpose(2, 0, 1)])
    known, *look = _warped(layers, flow)
    ground.known = (known > 0.99) & _inside_frame(flow)
    ground.look = np.stack(look, -1)


def carry(
    layer: TrackedLayer,
    flow: Float32[np.ndarray, "2 h w"],
    own: Mask,
    target: np.ndarray,
) -> None:
    """Move a memory as a whole, following its visible part, then to where it fits
    best."""
    visible = int(own.sum())
    share = visible / max(int(layer.outline.sum()), 1)
    if share > _ENOUGH:
        layer.velocity = np.median(flow[:, own], axis=1)
    move = None
    if share > _MOST and visible > 1:  # one point shows no turn
        move = _similarity(flow, own)
    if move is None:
        move = _shift(layer.velocity)
    _place_anew(layer, move)
    if layer.touched:  # it was not seen as a whole: small errors would add up
        offset = np.array(_best_shift(layer.shown, target))
        _place_anew(layer, _shift(-offset))


def _shift(offset: np.ndarray) -> np.ndarray:
    """Return a shift by (x, y) as a 2 x 3 matrix."""
    return np.column_stack([np.eye(2), offset])


def _place_anew(layer: TrackedLayer, move: np.ndarray) -> None:
    """Move a memory in the frame by a 2 x 3 matrix, in place."""
    layer.place = layer.place @ np.vstack([move, [0, 0, 1]])
    layer.shown = _placed(layer)


def _similarity(flow: Float32[np.ndarray, "2 h w"], own: Mask) -> np.ndarray | None:
    """Estimate shift, turn and scale of the visible part, a 2 x 3 matrix; None if
    nothing fits."""
    y, x = _thinned(own, 500)
    here = np.stack([x, y], 1).astype(np.float32)
    there = here + flow[:, y, x].T
    move, _ = cv2.estimateAffinePartial2D(here, there, ransacReprojThreshold=1.5)
    return move


def _placed(layer: TrackedLayer) -> np.ndarray:
    size = layer.memory.shape[1::-1]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(layer.memory, layer.place[:2], size, flags=how)


def _best_shift(shown: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Find the shift (x, y) by which a memory fits the frame best; hidden pixels count
    the same for all."""
    y, x = _thinned(shown[..., 3] > 0.5, 1500)
    if len(y) == 0:
        return 0, 0
    colors = shown[y, x, :3]
    padding = ((_SEARCH, _SEARCH), (_SEARCH, _SEARCH), (0, 0))
    padded = np.pad(target, padding, "edge").astype(np.float32)

    def misfit(shift: tuple[int, int]) -> float:
        dx, dy = shift
        there = padded[y + _SEARCH + dy, x + _SEARCH + dx]
        return _misfit(colors, there) + 0.1 * float(np.hypot(dx, dy))

    return min(_shifts(), key=misfit)


def _misfit(colors: np.ndarray, there: np.ndarray) -> float:
    """Return the mean difference of colours in grey levels; what is hidden by something
    else counts `STRANGE`."""
    off = np.abs(colors - there).mean(1)
    return float(np.minimum(off, STRANGE).mean())


def _shifts() -> Iterator[tuple[int, int]]:
    """Yield all shifts (x, y) that are tried, row by row."""
    steps = range(-_SEARCH, _SEARCH + 1)
    for dy in steps:
        for dx in steps:
            yield dx, dy


def _thinned(mask: Mask, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of about `most` pixels of a mask, or of all."""
    y, x = np.nonzero(mask)
    every = max(1, len(y) // most)
    return y[::every], x[::every]


def bounds(layer: TrackedLayer) -> Mask:
    """Return the pixels that a layer may claim: its remembered outline and a little
    around it, for limbs."""
    outline = layer.outline
    limb = _LIMB * float(outline.sum()) ** 0.5
    return signed_distance(outline) > -limb - 1


def palette_of(image: np.ndarray, mask: Mask) -> Float32[np.ndarray, "32 32 32"]:
    """Return each colour's distance in grey levels, in steps of eight, to the nearest
    colour in the mask."""
    shown = np.zeros((32, 32, 32), np.uint8)
    shown[tuple(image[mask].T // 8)] = 1
    steps = np.abs(8.0 * np.arange(32)[:, None] - 8.0 * np.arange(32)) / 3
    table = np.where(shown > 0, 0, 255).astype(np.float32)
    # the mean of absolute differences, one channel after the other
    for axis in range(3):
        from_each = np.moveaxis(table, axis, 0)[None] + steps[:, :, None, None]
        table = np.moveaxis(from_each.min(1), 0, axis)
    return table.astype(np.float32)


def error_of(layer: TrackedLayer | Background, target: np.ndarray) -> np.ndarray:
    """Return the difference in grey levels between frame and colours: the known ones
    there, or the nearest.

    A layer's limbs move within its outline, so the nearest may be right there too.
    """
    steps = tuple(target.reshape(-1, 3).T // 8)
    nearest = layer.palette[steps].reshape(target.shape[:2]) + _UNKNOWN
    if isinstance(layer, Background):
        off = np.where(layer.known, np.abs(layer.look - target).mean(2), nearest)
    else:
        here = np.abs(layer.shown[..., :3] - target).mean(2)
        off = np.where(layer.outline, np.minimum(here, nearest), nearest)
    return cv2.GaussianBlur(off.astype(np.float32), (0, 0), 1.2)


def own_flow(
    flow: Float32[np.ndarray, "2 h w"], own: Mask, velocity: np.ndarray
) -> Float32[np.ndarray, "2 h w"]:
    """Return a layer's motion everywhere: its own where visible, spread around, and far
    away its velocity."""
    weight = own.astype(np.float32)
    sigma = 0.03 * max(own.shape)
    share = cv2.GaussianBlur(weight, (0, 0), sigma)
    near = np.stack([cv2.GaussianBlur(part * weight, (0, 0), sigma) for part in flow])
    far = velocity[:, None, None]
    spread = (near + _FAR * far) / (share + _FAR)
    return np.where(own, flow, spread).astype(np.float32)


def _inside_frame(flow: np.ndarray) -> Mask:
    """Find the pixels that `flow` leads to a pixel inside the frame."""
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width]
    x = x + flow[0]
    y = y + flow[1]
    return (x > -1) & (x < width) & (y > -1) & (y < height)


def _warped(
    stack: np.ndarray, flow: Float32[np.ndarray, "2 h w"]
) -> Float32[np.ndarray, "c h w"]:
    values = torch.from_numpy(stack.astype(np.float32))
    return warp(values[None], torch.from_numpy(flow)[None])[0].numpy()


def clear_background(labels: np.ndarray) -> Mask:
    """Return the background without the pixels near regions."""
    return ~near(labels != BACKGROUND)


def near(mask: Mask) -> Mask:
    """Return the mask with three pixels around it."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
