"""Masks, reaches and boxes of a clip that is shown as a smaller copy: from pixels of the
one to those of the other."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from regrain.editing.media.clip import Clip
from regrain.editing.media.lazy_frames import LazyFrames, Mask, Size, frames_of
from regrain.editing.media.reading import VideoClip
from regrain.editing.request.boxes import Boxes, read_boxes, read_focus, write_boxes
from regrain.editing.request.region import MAX_REACH, Region
from regrain.masks.draw import pack, unpack, unpack_whole
from regrain.masks.segmentation.carried import carry_up
from regrain.ui.values.layers import Key, MaskLayer, laid_over

_KEPT = 9600  # masks: of 1200 frames and 8 regions


class Carrier:
    """Carries masks of the copy of a clip up to the clip, whose `size` it has.

    A mask that came from a file in that size is the file's.
    """

    def __init__(self, clip: Clip, copies: LazyFrames) -> None:
        self.size = clip.size
        self._copies = copies
        if isinstance(clip, VideoClip):
            # With a place of its own: a run reads others of its frames in between.
            part = clip.start, clip.stride, len(clip)
            clip = VideoClip(clip.path, *part, deinterlace=clip.deinterlace)
        self._frame = frames_of(clip).__getitem__
        self._carried = lru_cache(_KEPT)(self._packed)

    def mask(self, layer: MaskLayer, frame: int) -> Mask:
        """Return a layer's mask on a frame of the clip, bool [height, width]."""
        own = layer.keys.get(frame), layer.track.get(frame)
        return unpack(self._carried(frame, *own), self.size)

    def _packed(self, frame: int, key: Key | None, track: bytes | None) -> bytes:
        key = key or Key()
        whole = unpack_whole(track if key.found is None else key.found, self.size)
        if whole is None or key.edits:
            copy = self._copies[frame]
            whole = laid_over(key, track, copy.shape[1::-1])
            if whole.any():
                whole = carry_up(whole, copy, self._frame(frame))
        return pack(whole)


def region_in(region: Region, before: Size, after: Size) -> Region:
    """Return a region of frames of one size with the margin and the feather that it has
    in frames of another."""
    scale = after[0] / before[0]
    reach = region.margin and min(MAX_REACH, round(region.margin * scale))
    feather = min(MAX_REACH, round(region.feather * scale))
    return replace(region, margin=reach, feather=feather)


def focus_in(focus: str, frames: int, before: Size, after: Size) -> str:
    """Return where an edit works in so many frames of another size than before."""
    if before == after or read_focus(focus).kind != "boxes":
        return focus
    return write_boxes(boxes_in(read_boxes(focus, frames, before), before, after))


def boxes_in(boxes: Boxes, before: Size, after: Size) -> Boxes:
    """Return boxes of frames of one size in those of another."""
    ratio = np.array(after) / before
    sides = np.rint(boxes[:, 2:] * ratio).clip(1)
    corners = np.minimum(np.rint(boxes[:, :2] * ratio), after - sides)
    return np.concatenate([corners, sides], 1).astype(np.int64)
