"""Frames with regions and attention painted over them; NumPy and Pillow only."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from regrain.editing.media.lazy_frames import Grey, Rgb
from regrain.editing.media.mask_pictures import palette

_WASH = 0.42  # opacity of a region's colour
_RIM = 0.95  # opacity of it at the rim
_BRIGHTNESS = 0.45  # least mean of a colour on a darkened frame


def tint(frame: Rgb, labels: Grey, colors: dict[int, str]) -> Rgb:
    """Tint each region of a frame with its colour, "#rrggbb" by label, and draw its
    rim; 0 is background."""
    table = palette(colors).astype(np.float32)
    wash = np.zeros((256, 1), np.float32)
    wash[[*colors]] = _WASH
    alpha = wash[labels]
    is_colored = alpha[..., 0] > 0
    # within two pixels of another label
    rim = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            rim |= np.roll(labels, shift, axis) != labels
    alpha[rim & is_colored] = _RIM
    tinted = frame * (1 - alpha) + table[labels] * alpha
    return tinted.astype(np.uint8)


def washed(frame: Rgb, area: Bool[np.ndarray, "gh gw"], color: str) -> Rgb:
    """Tint an area of a frame, given on any grid, with one colour, "#rrggbb"."""
    height, width = frame.shape[:2]
    rows = np.arange(height) * area.shape[0] // height
    columns = np.arange(width) * area.shape[1] // width
    large = area[np.ix_(rows, columns)]
    return tint(frame, large.astype(np.uint8), {1: color})


def heat(frame: Rgb, values: Float[np.ndarray, "gh gw"], color: str) -> Rgb:
    """Draw a map, 0..1 on any grid, over the darkened grey frame: from dark through
    "#rrggbb" to white."""
    height, width = frame.shape[:2]
    small = np.clip(values, 0, 1) * 255
    steps = Image.fromarray(small.astype(np.uint8))
    large = steps.resize((width, height), Image.Resampling.BICUBIC)
    # Of each of the 256 levels: how much of it is seen, and in which colour.
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    base = np.asarray(rgb(color), np.float32)
    # A dark colour on a dark frame would not be seen: lift it.
    lift = max(0.0, _BRIGHTNESS - float(base.mean()) / 255)
    base = base + (255 - base) * lift
    # The hottest places go white.
    hottest = np.clip((levels - 0.6) / 0.4, 0, 1)
    hot = base + (255 - base) * hottest * 0.7
    alpha = levels**0.7
    level = np.asarray(large)
    sums = frame.sum(-1, dtype=np.uint16, keepdims=True)
    grey = sums / 3 * 0.4
    left = (1 - alpha)[level]
    drawn = (hot * alpha)[level]
    blended = grey * left + drawn
    return blended.astype(np.uint8)


def rgb(color: str) -> tuple[int, int, int]:
    """Return red, green and blue of "#rrggbb", 0..255."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
