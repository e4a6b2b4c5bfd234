"""Masks: read from files, drawn, clicked, and tracked through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regrain.editing.media.annotations import read_rle
    from regrain.editing.media.coco import write_rle
    from regrain.editing.media.labels import (
        flatten,
        read_labels,
        read_regions,
        split,
        write_labels,
        write_regions,
    )
    from regrain.masks.draw import (
        BrushStroke,
        brush,
        clean,
        drop_specks,
        fill_holes,
        grow,
    )
    from regrain.masks.io.video import read_mask_video, write_mask_video
    from regrain.masks.models.embedded import Embedded
    from regrain.masks.models.finders import finders
    from regrain.masks.segmentation.click import embed, segment
    from regrain.masks.track.propagate import Confidence, propagate

_NAMES = {
    "editing.media.annotations": "read_rle",
    "editing.media.coco": "write_rle",
    "editing.media.labels": "flatten read_labels read_regions split write_labels write_regions",
    "masks.draw": "BrushStroke brush clean drop_specks fill_holes grow",
    "masks.io.video": "read_mask_video write_mask_video",
    "masks.models.embedded": "Embedded",
    "masks.models.finders": "finders",
    "masks.segmentation.click": "embed segment",
    "masks.track.propagate": "Confidence propagate",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

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
    return getattr(import_module(f"regrain.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
