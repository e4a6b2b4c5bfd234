"""Masks: read from files, drawn, clicked, and tracked through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editing.labels import (
        flatten,
        read_labels,
        read_regions,
        split,
        write_labels,
        write_regions,
    )
    from editing.rle import read_rle, write_rle
    from masks.click import embed, segment
    from masks.draw import BrushStroke, brush, clean, drop_specks, fill_holes, grow
    from masks.embedded import Embedded
    from masks.finders import finders
    from masks.track import Confidence, propagate
    from masks.video import read_mask_video, write_mask_video

_HOME = {
    "Confidence": "masks.track",
    "Embedded": "masks.embedded",
    "BrushStroke": "masks.draw",
    "brush": "masks.draw",
    "clean": "masks.draw",
    "drop_specks": "masks.draw",
    "embed": "masks.click",
    "fill_holes": "masks.draw",
    "finders": "masks.finders",
    "flatten": "editing.labels",
    "grow": "masks.draw",
    "propagate": "masks.track",
    "read_labels": "editing.labels",
    "read_mask_video": "masks.video",
    "read_regions": "editing.labels",
    "read_rle": "editing.rle",
    "segment": "masks.click",
    "split": "editing.labels",
    "write_labels": "editing.labels",
    "write_mask_video": "masks.video",
    "write_regions": "editing.labels",
    "write_rle": "editing.rle",
}

__all__ = [
    "Confidence",
    "Embedded",
    "BrushStroke",
    "brush",
    "clean",
    "drop_specks",
    "embed",
    "fill_holes",
    "finders",
    "flatten",
    "grow",
    "propagate",
    "read_labels",
    "read_mask_video",
    "read_regions",
    "read_rle",
    "segment",
    "split",
    "write_labels",
    "write_mask_video",
    "write_regions",
    "write_rle",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
