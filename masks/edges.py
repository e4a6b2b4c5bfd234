"""Straighter edges for a mask that was moved: by the colours a region had, or by asking SAM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from masks.click import segment
from masks.draw import deepest, signed_distance
from masks.grabcut import learn, tighten
from masks.sam import embed

Mask = np.ndarray  # bool [height, width]
Refine = Callable[[np.ndarray, Mask, Mask], Mask]
"""(frame, moved mask, pixels of other regions) -> a better mask."""

_TELLING = 0.85  # IoU with itself that a right mask must keep for its colours to be asked
_AGREED = 0.7  # IoU of SAM's answer with the moved mask, from which it is believed


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
    return partial(tighten, colors=colors) if iou(again, mask) >= _TELLING else None


def refined(refine: Refine, image: np.ndarray, mask: Mask, others: Mask) -> tuple[Mask, float]:
    """The better mask, if it speaks of the same thing; and how far it agrees, at least one half."""
    answer = refine(image, mask, others) & ~others
    agreed = iou(answer, mask)
    return answer if agreed >= _AGREED else mask, 0.5 + 0.5 * agreed


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union, 0 to 1; 0 where both are empty."""
    return float((a & b).sum() / max(int((a | b).sum()), 1))
