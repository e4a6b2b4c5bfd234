"""Masks of regions as a person and a tracker made them: frozen values, so that undo
just keeps old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    Tag,
    WrapSerializer,
)

from regrain.editing.media.coco import runs
from regrain.editing.media.lazy_frames import Mask, Size
from regrain.masks.draw import (
    BrushStroke,
    Rectangle,
    brush,
    drop_specks,
    fill_box,
    fill_holes,
    grow,
    unpack,
)
from regrain.ui.values.kept import Content, Packed

CLICKS = "clicks"  # finder of a mask, where a project says no more


@dataclass(frozen=True)
class Reshape:
    """A mask tool used on a whole mask."""

    # "fill" every hole, "drop" small specks, "invert" inside and outside
    kind: Literal["grow", "shrink", "fill", "drop", "invert"]
    pixels: int = 1  # of the clip, at least 1, by which it grows or shrinks


def _tool_of(stroke: object) -> str:
    return stroke["tool"] if isinstance(stroke, dict) else type(stroke).__name__


def _with_tool(stroke: object, handler: SerializerFunctionWrapHandler) -> Content:
    return {"tool": _tool_of(stroke), **handler(stroke)}


Stroke = BrushStroke | Rectangle | Reshape
KeptStroke = Annotated[
    Annotated[BrushStroke, Tag("BrushStroke")]
    | Annotated[Rectangle, Tag("Rectangle")]
    | Annotated[Reshape, Tag("Reshape")],
    Discriminator(_tool_of),
    WrapSerializer(_with_tool),
]
Box = tuple[float, float, float, float]
Place = tuple[float, float]
"""x and y in pixels, from the frame's corner."""


@dataclass(frozen=True, eq=False)
class Key:
    """A person's work on a region on one frame."""

    points: tuple[tuple[float, float, bool], ...] = ()  # (x, y, belongs to it)
    # strokes, boxes and tools over what was found, in their order
    edits: tuple[KeptStroke, ...] = ()
    found: Packed | None = None  # packed mask of the points and the box, None for none
    # its finder: a name of a mask model, or `CLICKS`; empty if it was drawn
    by: str = ""
    # x0, y0, x1, y1 around it, in pixels from the frame's corner
    box: Box | None = None

    @property
    def counts(self) -> bool:
        """True if it makes a mask, even an empty one: points that found nothing do
        not."""
        return self.found is not None or bool(self.edits)

    @property
    def clicked(self) -> bool:
        """True if it was found from clicks or a box, and nothing was drawn by hand."""
        return self.found is not None and not self.edits and bool(self.by)


_Score = Annotated[float, PlainSerializer(lambda score: round(score, 4))]


@dataclass(frozen=True, eq=False)
class MaskLayer:
    """Masks of one region: work by hand lies over those of a tracker or a file. Masks
    are packed."""

    keys: Mapping[int, Key] = field(default_factory=dict)
    track: Mapping[int, Packed] = field(default_factory=dict)
    score: Mapping[int, _Score] = field(default_factory=dict)
    # frames drawn, or cleared, since it was tracked
    corrected: frozenset[int] = frozenset()
    followed: frozenset[int] = frozenset()  # corrections that are being tracked
    partial: bool = False  # tracked, and not to the end
    by: str = ""  # finder of its masks, if not the session's usual one
    rest: bool = False  # its mask is what no other region covers

    @property
    def fresh(self) -> bool:
        """True if it was tracked since it was last corrected."""
        return not (self.corrected and self.drawn)

    @property
    def to_follow(self) -> list[int]:
        """Frames to track from: the corrected ones, or all that are drawn if there is
        nothing to correct."""
        if self.fresh or not self.track:
            return self.drawn
        return list(self.corrected)

    @property
    def drawn(self) -> list[int]:
        """Frames whose mask a person has made, by clicks or by hand."""
        return [frame for frame, key in self.keys.items() if key.counts]

    @property
    def clicked(self) -> list[int]:
        """Frames whose mask was found from clicks, with nothing drawn."""
        return [frame for frame, key in self.keys.items() if key.clicked]

    def with_key(self, frame: int, key: Key) -> MaskLayer:
        """Return the layer with other work by hand on a frame, which is a correction to
        be tracked."""
        keys = {**self.keys, frame: key}
        if not (key.points or key.edits or key.box):
            del keys[frame]
        return replace(self, keys=keys, corrected=self.corrected | {frame})

    def differs(self, other: MaskLayer, frame: int) -> bool:
        """Return whether the mask, or how sure it is, may be another on this frame."""
        return (
            self.keys.get(frame) is not other.keys.get(frame)
            or self.track.get(frame) is not other.track.get(frame)
            or self.score.get(frame) is not other.score.get(frame)
        )


def _kept(layer: MaskLayer, handler: SerializerFunctionWrapHandler) -> Content:
    content = handler(layer)
    # what is being followed is to be followed again
    del content["followed"]
    return content | {"corrected": sorted(layer.corrected | layer.followed)}


KeptLayer = Annotated[MaskLayer, WrapSerializer(_kept)]


def mask_on(layer: MaskLayer, frame: int, size: Size) -> Mask:
    """Return a layer's mask on a frame: work by hand over what was found or tracked.

    `size` is (width, height).
    """
    return laid_over(layer.keys.get(frame, Key()), layer.track.get(frame), size)


def laid_over(key: Key, packed: bytes | None, size: Size) -> Mask:
    """Return work by hand over a packed mask of a tracker or a file; see `mask_on`."""
    below = packed if key.found is None else key.found
    return touched_up(unpack(below, size), key.edits)


def touched_up(mask: Mask, edits: Sequence[Stroke]) -> Mask:
    """Use strokes, boxes and tools on a mask, in their order; itself where there are
    none."""
    for edit in edits:
        match edit:
            case BrushStroke():
                mask = brush(mask, edit)
            case Rectangle():
                mask = fill_box(mask, edit)
            case Reshape("grow", pixels):
                mask = grow(mask, pixels)
            case Reshape("shrink", pixels):
                mask = grow(mask, -pixels)
            case Reshape("fill"):
                mask = fill_holes(mask, mask.size)
            case Reshape("drop"):
                mask = drop_specks(mask)
            case Reshape("invert"):
                mask = ~mask
    return mask


def run_lengths(key: Key | None, packed: bytes | None, size: Size) -> str:
    """Return the mask of a frame, see `mask_on`, as `encode_runs` does; empty where
    there is none."""
    if key is None and packed is None:
        return ""
    return encode_runs(laid_over(key or Key(), packed, size))


def encode_runs(mask: Mask) -> str:
    """Return lengths of the runs of a mask, row by row, outside first; empty for an
    empty mask."""
    lengths = runs(mask.T)  # which go down the columns
    return " ".join(map(str, lengths)) if len(lengths) > 1 else ""
