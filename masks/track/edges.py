"""Refine the edges of a moved mask: by the colours that the region had, or by SAM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from regrain.masks.draw import deepest, signed_distance
from regrain.masks.segmentation.click import embed, segment
from regrain.masks.segmentation.grabcut import learn, tighten

Mask = np.ndarray  # bool [height, width]
Refine = Callable[[np.ndarray, Mask, Mask], Mask]
"""(frame, moved mask, pixels of other regions) -> a better mask."""

_TELLING = 0.85  # IoU with itself that a right mask must keep for its colours to be asked
_AGREED = 0.7  # IoU of SAM's answer with the moved mask, from which it is believed


def reprompt(image: np.ndarray, mask: Mask, others: Mask) -> Mask:
    """Refine a moved mask with the built-in SAM, given the mask, a click inside and a click next to it."""
    points, labels = [deepest(mask)], [1]
    near = others & (signed_distance(mask) > -0.1 * max(mask.shape))
    if near.any():
        points.append(deepest(near))
        labels.append(0)
    return segment(embed(image), points, labels, previous=mask)


def by_colors(image: np.ndarray, mask: Mask) -> Refine | None:
    """Make a refiner from the colours of a correct mask; None if they do not separate it from the rest."""
    if (colors := learn(image, mask)) is None:
        return None
    again = tighten(image, mask, np.zeros_like(mask), colors)
    return partial(tighten, colors=colors) if iou(again, mask) >= _TELLING else None


def refined(refine: Refine, image: np.ndarray, mask: Mask, others: Mask) -> tuple[Mask, float]:
    """The refined mask if it shows the same object, and how far it agrees, at least 0.5."""
    answer = refine(image, mask, others) & ~others
    agreed = iou(answer, mask)
    return answer if agreed >= _AGREED else mask, 0.5 + 0.5 * agreed


def iou(a: Mask, b: Mask) -> float:
    """Compute the intersection over union, 0 to 1; 0 if both are empty."""
    return float((a & b).sum() / max(int((a | b).sum()), 1))
