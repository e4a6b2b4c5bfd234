"""Masks as one JSON file, a COCO data set: run lengths, a mask per frame and label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from regrain.editing.errors import MaskError


def runs(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """Encode a mask as COCO's RLE: lengths of runs down the columns, outside and inside in turn."""
    flat = mask.ravel(order="F")
    ends = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    return [0] * bool(flat[0]) + np.diff(ends).tolist()


def from_runs(
    counts: Sequence[object] | str | bytes, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Decode what `runs` returned, or COCO's compressed form of it, to a mask of (width, height).

    Raises:
        MaskError: The runs are not whole numbers, or do not add up to the size.
    """
    width, height = size
    lengths = _unpacked(counts) if isinstance(counts, str | bytes) else list(counts)
    # Summed by Python: NumPy's sum could wrap round to what is expected.
    if not all(type(n) is int and n >= 0 for n in lengths) or sum(lengths) != width * height:
        raise MaskError(
            "masks", f"The runs do not add up to {width}x{height} pixels. Export the masks again."
        )
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.array(lengths, int)).reshape(height, width, order="F")


def _unpacked(text: str | bytes) -> list[int]:
    """Run lengths of COCO's compressed string: five bits a character, each length less the last but one's."""
    lengths: list[int] = []
    value = shift = 0
    for code in text.encode("latin-1", "replace") if isinstance(text, str) else text:
        value |= ((code - 48) & 31) << shift
        shift += 5
        if code - 48 & 32:
            continue
        if code - 48 & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths
