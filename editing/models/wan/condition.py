"""What the control blocks of a VACE read (arXiv:2503.07598): a clip and a mask of what
is drawn anew, and pictures of subjects, as latents in time.

A latent of the clip has what is kept, what the mask hides, and the mask itself; hidden
pixels are grey. Latents of pictures come before those of the clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Float32
from torch import Tensor

from regrain.editing.attention.layers import Grid, Size
from regrain.editing.media.labels import around_of
from regrain.editing.media.lazy_frames import Rgb, Rgba, RgbFrames

HIDDEN = np.float32(127.5)
"""The grey of hidden pixels: 0 of what the autoencoder reads."""
_WHITE = 255.0
_CUT = 0.5  # a mask hides pixels where it is above
Opacity = Float32[np.ndarray, "frames height width"]
Encode = Callable[[np.ndarray], Float[Tensor, "time c gh gw"]]
"""(float32 frames, 0..255) -> latents."""


def channels_of(latents: int, factor: int) -> int:
    """Return the channels of a condition: latents twice, and a channel for each pixel
    down and across that one stands for."""
    return 2 * latents + factor**2


def condition(
    encode: Encode,
    frames: RgbFrames | Float32[np.ndarray, "frames height width 3"],
    mask: Opacity,
    pictures: Sequence[Rgb] = (),
    *,
    per_latent: int = 4,
) -> Float[Tensor, "time channels gh gw"]:
    """Make what control blocks read; a clip that does not fill its latents goes on with
    its last frame, drawn anew.

    Args:
        encode: The autoencoder.
        frames: The clip at its working size, 0..255; what is drawn anew is hidden, or
            shows what it should keep.
        mask: 1 where it is drawn anew, 0 where it is kept; between them the latents
            take the nearer, and the channels of the mask what is given.
        pictures: Subjects, cut out on white.
        per_latent: Frames of a latent, of which the first has one.
    """
    count = len(frames)
    frames = filled(frames, per_latent)
    anew = np.ones_like(mask[:1]).repeat(len(frames) - count, 0)
    mask = np.concatenate([mask, anew])
    hidden = mask[..., None] > _CUT
    inactive = encode(np.where(hidden, HIDDEN, frames))
    reactive = encode(np.where(hidden, frames, HIDDEN))
    shown = mask_channels(mask, Grid(*inactive[:, 0].shape)).to(inactive)
    clip = torch.cat([inactive, reactive, shown], 1)
    before = []
    for picture in pictures:
        kept = encode(on_canvas(picture, frames.shape[1:3])[None])
        idle = kept.new_zeros(1, clip.shape[1] - kept.shape[1], *kept.shape[2:])
        before.append(torch.cat([kept, idle], 1))
    return torch.cat([*before, clip])


def filled(frames: np.ndarray, per_latent: int) -> np.ndarray:
    """Repeat the last frame of a clip until it fills its latents, of which the first
    has one frame."""
    lacking = (1 - len(frames)) % per_latent
    return np.concatenate([frames, np.repeat(frames[-1:], lacking, 0)])


def mask_channels(mask: Opacity, grid: Grid) -> Float32[Tensor, "time pixels gh gw"]:
    """Spread a mask over channels: one for each pixel, row by row, of those that a cell
    of the latents covers.

    A latent reads the frame in the middle of its share of the clip, as authors and
    diffusers do ("nearest-exact"), not one of the frames that it stands for.
    """
    count = len(mask)
    middles = [(2 * at + 1) * count // (2 * grid.time) for at in range(grid.time)]
    return rearrange(
        torch.from_numpy(mask[middles]),
        "time (gh rows) (gw columns) -> time (rows columns) gh gw",
        gh=grid.height,
        gw=grid.width,
    )


def cut_out(picture: Rgba) -> Rgb:
    """Return the opaque part of a picture on white, without what is transparent
    around it; a picture that is transparent everywhere counts as opaque."""
    part = picture[around_of(picture[..., 3], 0)]
    if not part.size:
        return picture[..., :3].copy()
    share = part[..., 3:] / np.float32(255)
    mixed = share * part[..., :3] + (1 - share) * _WHITE
    return mixed.round().astype(np.uint8)


def on_canvas(picture: Rgb, size: Size) -> Float32[np.ndarray, "height width 3"]:
    """Put a picture into the middle of a white one of this size, as large as it fits.

    Sides are rounded down, as authors and diffusers do.
    """
    scale = min(whole / own for whole, own in zip(size, picture.shape, strict=False))
    height, width = (max(1, int(side * scale)) for side in picture.shape[:2])
    pixels = torch.from_numpy(picture).float().movedim(2, 0)[None]
    small = F.interpolate(pixels, (height, width), mode="bilinear")
    top = (size[0] - height) // 2
    left = (size[1] - width) // 2
    around = (left, size[1] - width - left, top, size[0] - height - top)
    return F.pad(small, around, value=_WHITE)[0].movedim(0, 2).numpy()
