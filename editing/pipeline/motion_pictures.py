"""Optical flow between two frames, and what has no counterpart, as pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.utils import flow_to_image

from regrain.editing.motion.correspondence import find_cuts, find_motion
from regrain.editing.motion.flow import FlowMethod
from regrain.editing.pipeline.pictures import Frame, rgb

_STRIPE = 4  # pixels
_HATCH = "#ff6a2b"


class MotionPictures(NamedTuple):
    """What moves from one frame to the next.

    Attributes:
        flow: Colours of direction and distance, on the grid of the first frame.
        wheel: What the colours mean, square: a displacement from the middle to a place has that place's
            colour.
        reach: Displacement at the wheel's rim, in pixels of the frames as given; at least one.
        hidden: The first frame, hatched where the second does not show it.
        appeared: The second frame, hatched where the first does not show it.
        hidden_share: Share of the first frame that is hatched, 0..1.
        appeared_share: Share of the second frame that is hatched, 0..1.
        cut: Whether the two frames seem to be of different shots; then flow means nothing.
    """

    flow: Frame
    wheel: Frame
    reach: float
    hidden: Frame
    appeared: Frame
    hidden_share: float
    appeared_share: float
    cut: bool


def motion_pictures(
    frame: Frame, target: Frame, side: int = 320, method: FlowMethod = "auto"
) -> MotionPictures:
    """Draw the motion from a frame to a target of the same size, both RGB.

    Frames whose longer side has more than `side` pixels are reduced before motion is estimated, by a method
    of `editing.motion.flow.estimate_flow`, which may raise.
    """
    first, second = _reduced(frame, side), _reduced(target, side)
    motion = find_motion(first[None], second[None], method)
    hidden, appeared = motion.hidden[0].numpy(), motion.appeared[0].numpy()
    flow, wheel, reach = _colours(motion.forward)
    scale = max(frame.shape[:2]) / max(first.shape[:2])
    return MotionPictures(
        flow,
        wheel,
        reach * scale,
        hatched(first, hidden),
        hatched(second, appeared),
        hidden_share=float(hidden.mean()),
        appeared_share=float(appeared.mean()),
        cut=bool(find_cuts(np.stack([first, second]), motion)),
    )


def hatched(frame: Frame, area: Bool[np.ndarray, "height width"]) -> Frame:
    """Darken an area of a frame and hatch it."""
    y, x = np.indices(area.shape)
    stripes = ((x + y) // _STRIPE % 2 == 0)[..., None]
    inside = np.where(stripes, np.uint8(rgb(_HATCH)), frame // 3)
    return np.where(area[..., None], inside, frame).astype(np.uint8)


def _colours(
    flow: Float[Tensor, "1 2 h w"],
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "size size 3"], float]:
    """The flow and the wheel as pictures on one scale; the displacement at the wheel's rim in pixels."""
    height, width = flow.shape[2:]
    radius = min(height, width) // 2
    reach = max(float(flow.square().sum(1).max().sqrt()), 1.0)  # noise of a still pair stays pale
    wheel = torch.zeros_like(flow)
    wheel[0, :, : 2 * radius, : 2 * radius] = _disc(radius) * reach
    # Torchvision scales the pictures of one call together.
    drawn = flow_to_image(torch.cat([flow, wheel])).permute(0, 2, 3, 1).numpy()
    return drawn[0], drawn[1, : 2 * radius, : 2 * radius], reach


def _disc(radius: int) -> Float[Tensor, "2 side side"]:
    """(x, y) of every pixel of a square from its middle, 1 at the rim of the disc in it; 0 outside."""
    line = (torch.arange(2 * radius) + 0.5) / radius - 1
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"))
    return places * (places.square().sum(0) <= 1)


def _reduced(frame: Frame, side: int) -> UInt8[np.ndarray, "high wide 3"]:
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.array(image)
