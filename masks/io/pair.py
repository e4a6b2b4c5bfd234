"""A clip and its masks as the pair of videos that VACE and its nodes in ComfyUI take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from regrain.editing.media.clip import Clip
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.writing import write_video
from regrain.masks.io.files import Masks

SOURCE, MASK = "src_video.mp4", "src_mask.mp4"
_GREY = 127  # VACE reads it as "nothing is known here"


def write_pair(clip: Clip, masks: Masks, folder: Path) -> None:
    """Write the clip with the masked area in grey, and the area in white on black.

    Args:
        clip: The frames.
        masks: By label, as large and as long as the clip; all of them together are the area.
        folder: Gets `src_video.mp4` and `src_mask.mp4`.

    Source: Jiang et al., arXiv:2503.07598, "V2V with masks", as released: pixels to be made are mid grey.
    """
    height, width = clip.size[::-1]

    def area(start: int, stop: int) -> Bool[np.ndarray, "frames height width"]:
        return np.any([mask[start:stop] for mask in masks.values()], axis=0)

    def greyed(start: int, stop: int) -> np.ndarray:
        return np.where(area(start, stop)[..., None], np.uint8(_GREY), clip.read(start, stop))

    def white(start: int, stop: int) -> np.ndarray:
        return np.repeat(area(start, stop)[..., None] * np.uint8(255), 3, axis=-1)

    for name, read in ((SOURCE, greyed), (MASK, white)):
        frames = LazyFrames((len(clip), height, width, 3), np.uint8, read)
        write_video(folder / name, frames, clip.fps, comment="Made for video-to-video editing with masks")
