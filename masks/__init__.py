"""Masks: read from files, drawn, clicked, and tracked through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editing.media.coco import read_rle, write_rle
    from editing.media.labels import flatten, read_labels, read_regions, split, write_labels, write_regions
    from masks.draw import BrushStroke, brush, clean, drop_specks, fill_holes, grow
    from masks.io.video import read_mask_video, write_mask_video
    from masks.models.embedded import Embedded
    from masks.models.finders import finders
    from masks.segmentation.click import embed, segment
    from masks.track.propagate import Confidence, propagate

_HOME = {
    "Confidence": "masks.track.propagate",
    "Embedded": "masks.models.embedded",
    "BrushStroke": "masks.draw",
    "brush": "masks.draw",
    "clean": "masks.draw",
    "drop_specks": "masks.draw",
    "embed": "masks.segmentation.click",
    "fill_holes": "masks.draw",
    "finders": "masks.models.finders",
    "flatten": "editing.media.labels",
    "grow": "masks.draw",
    "propagate": "masks.track.propagate",
    "read_labels": "editing.media.labels",
    "read_mask_video": "masks.io.video",
    "read_regions": "editing.media.labels",
    "read_rle": "editing.media.coco",
    "segment": "masks.segmentation.click",
    "split": "editing.media.labels",
    "write_labels": "editing.media.labels",
    "write_mask_video": "masks.io.video",
    "write_regions": "editing.media.labels",
    "write_rle": "editing.media.coco",
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
