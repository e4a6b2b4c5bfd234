"""Facts remembered of a picture that was cut out, and what is seen of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from regrain.ui.server.media import as_url
from regrain.ui.values.layers import Mask

Point = tuple[float, float, bool]
LARGE = 640  # pixels a side of what is shown, at most
_VEIL = 170  # opacity of what lies over the rest, 0..255


@dataclass(frozen=True)
class Cutout:
    """How a region's picture was cut out of another.

    Attributes:
        whole: The file of the other.
        points: x and y of clicks, 0..1 of its width and height, and whether what is
            there belongs to the thing.
        veil: What lies over the rest, as a data URL.
    """

    whole: str
    points: tuple[Point, ...]
    veil: str


def veil_over(mask: Mask) -> str:
    """Return a dark, half transparent picture with a hole of a mask, as a data URL."""
    veil = np.zeros((*mask.shape, 4), np.uint8)
    veil[..., 3] = np.where(mask, 0, _VEIL)
    image = Image.fromarray(veil)
    image.thumbnail((LARGE, LARGE), Image.Resampling.NEAREST)
    return as_url(image, "png")
