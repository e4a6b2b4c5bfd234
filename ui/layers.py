"""Masks of regions as a person and a tracker made them: frozen values, so that undo means keeping them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool

from editing.request import Region

Mask = Bool[np.ndarray, "height width"]
FINDERS = {"sam": "SAM", "grabcut": "GrabCut, from colours"}  # as `masks.segment` names them, as people do


@dataclass(frozen=True)
class Stroke:
    """A polyline of the brush or the eraser, in pixels of the clip."""

    path: tuple[tuple[float, float], ...]
    radius: float
    erase: bool


@dataclass(frozen=True, eq=False)
class Key:
    """What a person did to a region on one frame.

    Attributes:
        points: (x, y, belongs to it).
        strokes: Painted over what was found.
        found: Packed mask of the points, None for none.
        by: Who found it: one of `FINDERS`.
    """

    points: tuple[tuple[float, float, bool], ...] = ()
    strokes: tuple[Stroke, ...] = ()
    found: bytes | None = None
    by: str = ""

    @property
    def counts(self) -> bool:
        """Whether it says what the mask is: points that found nothing do not."""
        return self.found is not None or bool(self.strokes)


@dataclass(frozen=True, eq=False)
class Layer:
    """Masks of one region: what was done by hand over what a tracker, or a file, said; masks are packed."""

    keys: Mapping[int, Key] = field(default_factory=dict)
    track: Mapping[int, bytes] = field(default_factory=dict)
    score: Mapping[int, float] = field(default_factory=dict)
    fresh: bool = True  # tracked since it was last corrected
    partial: bool = False  # tracked, and not to the end
    by: str = ""  # who finds its masks, if not the session's usual finder

    @property
    def drawn(self) -> list[int]:
        """Frames whose mask a person has made."""
        return [frame for frame, key in self.keys.items() if key.counts]

    def differs(self, other: Layer, frame: int) -> bool:
        """Whether the mask, or how sure it is, may be another on this frame."""
        return any(
            getattr(self, part).get(frame) is not getattr(other, part).get(frame)
            for part in ("keys", "track", "score")
        )


@dataclass(frozen=True, eq=False)
class State:
    """All that undo brings back; both by label, the regions in order: the earlier covers the later."""

    layers: Mapping[int, Layer]
    regions: Mapping[int, Region]


def pack(mask: Mask) -> bytes:
    """Eight pixels to a byte."""
    return np.packbits(mask).tobytes()


def unpack(packed: bytes | None, size: tuple[int, int]) -> Mask:
    """What `pack` was given; an empty mask for None. `size` is (width, height)."""
    width, height = size
    if packed is None:
        return np.zeros((height, width), bool)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=width * height)
    return bits.reshape(height, width).astype(bool)


def brushed(mask: Mask, strokes: Sequence[Stroke]) -> Mask:
    """A mask with strokes painted into it and erased from it, in their order."""
    canvas = mask.astype(np.uint8)
    for stroke in strokes:
        # OpenCV counts from the centre of a pixel, a browser from its corner; quarters of a pixel are kept.
        path = np.round((np.array(stroke.path) - 0.5) * 4).astype(np.int32)
        value, width = int(not stroke.erase), max(1, round(2 * stroke.radius))
        if len(path) == 1:
            cv2.circle(canvas, path[0].tolist(), max(1, round(4 * stroke.radius)), value, -1, shift=2)
        else:
            cv2.polylines(canvas, [path], False, value, width, shift=2)
    return canvas.astype(bool)


def encode_runs(mask: Mask) -> str:
    """Lengths of the runs of a mask, row by row, outside first; empty for an empty mask."""
    flat = mask.ravel().view(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat[0]:
        lengths.insert(0, 0)
    return " ".join(map(str, lengths)) if len(lengths) > 1 else ""
