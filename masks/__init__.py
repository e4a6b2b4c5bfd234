"""Masks: read from files, drawn, clicked, and tracked through a clip.

Names are loaded when first used: importing this package loads no torch.
"""

from typing import TYPE_CHECKING

from regrain.public import public

if TYPE_CHECKING:
    from regrain.editing.media.coco import write_rle as write_rle
    from regrain.editing.media.labels import flatten as flatten, split as split
    from regrain.editing.media.mask_files import (
        read_labels as read_labels,
        read_regions as read_regions,
        read_rle as read_rle,
        write_labels as write_labels,
        write_regions as write_regions,
    )
    from regrain.masks.draw import (
        BrushStroke as BrushStroke,
        brush as brush,
        drop_specks as drop_specks,
        fill_holes as fill_holes,
        grow as grow,
    )
    from regrain.masks.io.video import write_mask_video as write_mask_video
    from regrain.masks.models.embedded import Embedded as Embedded
    from regrain.masks.models.finders import finders as finders
    from regrain.masks.segmentation.click import embed as embed, segment as segment
    from regrain.masks.track.propagate import (
        Confidence as Confidence,
        propagate as propagate,
    )

__getattr__, __dir__ = public(__name__, __file__)
