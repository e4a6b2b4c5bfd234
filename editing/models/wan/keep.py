"""Pictures of a clip that control blocks read in place of a thing that is drawn anew, so
that it keeps something of the old one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from regrain.editing.media.lazy_frames import Masks, RgbFrames
from regrain.editing.models.files.location import about
from regrain.editing.models.unet.control_maps import CONTROL_MAPS
from regrain.editing.motion.flow import estimate_flow

Kept = Literal["grey", "canny", "depth", "pose", "flow", "layout"]
_LINE = 2  # pixels, of the box of a layout


def kept_of(frames: RgbFrames, areas: list[Masks], kind: Kept) -> RgbFrames:
    """Draw what a thing keeps, for the whole frame.

    Args:
        frames: The clip at the working size.
        areas: Where each region is.
        kind: "grey" values, "layout", which is the box of every region, "flow" or a map
            of `CONTROL_MAPS`.

    Raises:
        ModelError: Weights that estimate depth or pose are missing.

    Source: the annotators of VACE as released, whose layout draws black on white; but
        for "grey", where theirs swaps red and blue.
    """
    if kind == "grey":
        values = frames @ np.float32([0.299, 0.587, 0.114])
        return np.repeat(values[..., None].round().astype(np.uint8), 3, -1)
    if kind == "flow":
        return _flow(frames)
    if kind == "layout":
        return _layout(frames, areas)
    with about("params.keep"):
        return CONTROL_MAPS[kind](frames)


def _flow(frames: RgbFrames) -> RgbFrames:
    """Draw the motion to each frame as colours, the longest of a frame in full; the
    first frame has that of the second.

    Source: the wheel of Baker et al. 2011, "A Database and Evaluation Methodology for
        Optical Flow", as in torchvision.
    """
    from torchvision.utils import flow_to_image

    if len(frames) == 1:
        return np.full_like(frames, 255)
    flows = estimate_flow(frames[:-1], frames[1:])
    drawn = torch.stack([flow_to_image(flow) for flow in flows])
    drawn = torch.cat([drawn[:1], drawn])
    return drawn.movedim(1, -1).numpy()


def _layout(frames: RgbFrames, areas: list[Masks]) -> RgbFrames:
    import cv2

    drawn = np.full_like(frames, 255)
    for masks in areas:
        for picture, mask in zip(drawn, masks, strict=True):
            if mask.any():
                left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
                ends = (left + width - 1, top + height - 1)
                cv2.rectangle(picture, (left, top), ends, (0, 0, 0), _LINE)
    return drawn
