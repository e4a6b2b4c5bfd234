"""Masks: read from files, drawn, clicked, and tracked through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrain.editing.media.coco import read_rle, write_rle
    from regrain.editing.media.labels import (
        flatten,
        read_labels,
        read_regions,
        split,
        write_labels,
        write_regions,
    )
    from regrain.masks.draw import BrushStroke, brush, clean, drop_specks, fill_holes, grow
    from regrain.masks.io.video import read_mask_video, write_mask_video
    from regrain.masks.models.embedded import Embedded
    from regrain.masks.models.finders import finders
    from regrain.masks.segmentation.click import embed, segment
    from regrain.masks.track.propagate import Confidence, propagate

_HOME = {
    "Confidence": "regrain.masks.track.propagate",
    "Embedded": "regrain.masks.models.embedded",
    "BrushStroke": "regrain.masks.draw",
    "brush": "regrain.masks.draw",
    "clean": "regrain.masks.draw",
    "drop_specks": "regrain.masks.draw",
    "embed": "regrain.masks.segmentation.click",
    "fill_holes": "regrain.masks.draw",
    "finders": "regrain.masks.models.finders",
    "flatten": "regrain.editing.media.labels",
    "grow": "regrain.masks.draw",
    "propagate": "regrain.masks.track.propagate",
    "read_labels": "regrain.editing.media.labels",
    "read_mask_video": "regrain.masks.io.video",
    "read_regions": "regrain.editing.media.labels",
    "read_rle": "regrain.editing.media.coco",
    "segment": "regrain.masks.segmentation.click",
    "split": "regrain.editing.media.labels",
    "write_labels": "regrain.editing.media.labels",
    "write_mask_video": "regrain.masks.io.video",
    "write_regions": "regrain.editing.media.labels",
    "write_rle": "regrain.editing.media.coco",
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
