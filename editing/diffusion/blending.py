"""Keep the source outside the edit: in the latents while denoising, in the pixels at
the end."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from regrain.editing.diffusion.schedule import FrameLatents, RowLatents
from regrain.editing.media.lazy_frames import Mask, Masks, Rgb, RgbFrames, Shape, Size

Area = Float[Tensor, "frames 1 h w"]
"""How much of each cell is inside, 0..1."""
Matte = Float[np.ndarray, "height width"]
"""How much of an edit each pixel shows, 0..1."""

# Differences, of 255, of which an edit shows nothing and all; they are smoothed over so
# many pixels. Around what it draws, an edit is the source after a round trip through the
# autoencoder, and smeared. On drawn scenes whose true edit is known, a third of that is
# left; where the true edit differs from the source, the distance to it rises by 3 %.
_RING = 8  # pixels around a mask whose colours are compared
_FACTORS = (0.8, 1.25)  # least and most by which colours are spread
_EVEN = 1.0  # variance of a ring of one colour
_AGREES, _DIFFERS, _SMOOTHED = 42.0, 82.0, 1.2
_BESIDE = np.ones((3, 3), np.uint8)


def blend_latents(
    edited: FrameLatents, source: FrameLatents, mask: Area
) -> FrameLatents:
    """Take `edited` inside the mask and `source` outside, at the same noise level.
    mask: 0..1."""
    return mask * edited + (1 - mask) * source


def blend_edits(edited: RowLatents, source: FrameLatents, mask: Area) -> RowLatents:
    """Blend the latents of several edits, one after the other; see `blend_latents`."""
    copies = (len(edited) // len(source), 1, 1, 1)
    return blend_latents(edited, source.repeat(copies), mask.repeat(copies))


def mix_noise(
    x: FrameLatents, mask: Area | None, variation: float, fresh: torch.Generator
) -> FrameLatents:
    """Mix fresh noise into inverted latents inside the mask, or everywhere, preserving
    the variance.

    Args:
        x: Inverted latents.
        mask: 0..1; None is everywhere.
        variation: Share of the variance that is fresh, 0..1; with 0 nothing is drawn.
        fresh: Generator of the noise, which is drawn once for all frames.
    """
    if not variation:
        return x
    noise = torch.randn(x.shape[1:], generator=fresh).to(x)
    mixed = (1 - variation) ** 0.5 * x + variation**0.5 * noise
    return mixed if mask is None else blend_latents(mixed, x, mask)


def mask_from_attention(
    mass: Float[Tensor, "frames h w"], size: Shape, threshold: float
) -> Float[Tensor, "frames 1 height width"]:
    """Turn attention into a mask: 1 where it exceeds a share of the frame's maximum,
    else 0.

    Args:
        mass: Attention to the words, 0 or more.
        size: Height and width of the result.
        threshold: The share, 0..1; nothing exceeds 1, everything but 0 exceeds 0.

    Source: Qi et al., arXiv:2303.09535, Sec. 3.3, as released: max-pooled over 3 x 3
    cells, then resized by nearest neighbour.
    """
    wide = F.max_pool2d(mass[:, None], 3, stride=1, padding=1)
    wide = F.interpolate(wide, size, mode="nearest")
    return (wide > threshold * wide.amax((2, 3), keepdim=True)).to(mass)


def matte(
    inside: Mask,
    feather: float,
    opacity: Matte | None,
) -> Matte:
    """Return how much of the edit a frame shows, 0..1: all inside a mask, nothing from
    `feather` pixels outside it, and a linear fade between.

    Args:
        inside: Where the edit is shown.
        feather: Pixels outside the mask over which it fades.
        opacity: How much of the edit is shown inside the mask, 0..1; None shows all.
            The fade outside takes the opacity of the nearest pixel of the mask.
    """
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 5)
    alpha = (1 - distance / max(feather, 1e-6)).clip(0, 1)
    return alpha if opacity is None else _faded(alpha, inside, opacity)


def differing(
    alpha: Matte,
    inside: Mask,
    edit: Rgb,
    source: Rgb,
    size: Size,
) -> Matte:
    """Return the part of a matte where an edit differs from the source.

    That is all inside a mask and a pixel around it, where the source's edge is blended.
    Beyond, it is what differs clearly and is joined to the mask by what does.

    Args:
        alpha: The matte, 0..1.
        inside: The mask, without a margin.
        edit: RGB.
        source: RGB.
        size: (width, height) at which the edit was drawn; a larger frame is compared at
            that size, since all its detail differs.
    """
    height, width = inside.shape
    small = (min(width, size[0]), min(height, size[1]))
    layers = [255 * inside.astype(np.uint8), np.float32(alpha), edit, source]
    mask, shown, *both = [
        cv2.resize(layer, small, interpolation=cv2.INTER_AREA) for layer in layers
    ]
    red, green, blue = cv2.split(cv2.absdiff(*both))
    gap = cv2.max(cv2.max(red, green), blue).astype(np.float32)
    gap = cv2.GaussianBlur(gap, (0, 0), _SMOOTHED)
    share = (gap - _AGREES) / (_DIFFERS - _AGREES)
    differs = share.clip(0, shown > 0)
    joined = np.zeros_like(mask)
    beside = cv2.dilate(mask, _BESIDE)
    _, wider = cv2.threshold(beside, 0, 255, cv2.THRESH_BINARY)
    levels = (255 * differs).astype(np.uint8)
    differs = np.maximum(levels, wider)
    while cv2.norm(joined, wider, cv2.NORM_INF):
        joined = wider
        wider = cv2.min(cv2.dilate(joined, _BESIDE), differs)
    shown = alpha * (cv2.resize(joined, (width, height)) / np.float32(255))
    np.copyto(shown, alpha, where=inside)
    return shown


def matched(
    edit: RgbFrames,
    source: RgbFrames,
    inside: Masks,
) -> RgbFrames:
    """Take the colours of an edit to those of the source on a ring around a mask, where
    the model was to keep it.

    A factor and an offset for each channel, the same in all frames, are fitted by least
    squares; with a ring that agrees they are 1 and 0.
    """
    kernel = np.ones((2 * _RING + 1, 2 * _RING + 1), np.uint8)
    grown = [cv2.dilate(mask.astype(np.uint8), kernel) for mask in inside]
    around = np.stack(grown) > 0
    ring = around & ~inside
    if not ring.any():
        return edit
    out = edit.astype(np.float32)
    drawn = out[ring]
    known = source[ring].astype(np.float32)
    mean = drawn.mean(0)
    wanted = known.mean(0)
    spread = drawn - mean
    variance = np.square(spread).mean(0)
    shared = spread * (known - wanted)
    factor = shared.mean(0) / np.maximum(variance, 1e-6)
    factor = factor.clip(*_FACTORS)
    factor[variance < _EVEN] = 1  # one colour tells no factor
    offset = wanted - factor * mean
    colours = np.rint(factor * out + offset)
    return colours.clip(0, 255).astype(np.uint8)


def over(
    below: Rgb,
    above: Rgb,
    alpha: Matte,
) -> Rgb:
    """Put a frame over another, RGB; where `alpha` (0..1) is 0, that is kept bit for
    bit."""
    out = below.copy()
    cv2.copyTo(above, (alpha >= 1).view(np.uint8), out)
    touched = np.flatnonzero((alpha > 0) & (alpha < 1))
    weight = alpha.reshape(-1, 1)[touched]
    mixed = weight * above.reshape(-1, 3)[touched]
    mixed += (1 - weight) * below.reshape(-1, 3)[touched]
    out.reshape(-1, 3)[touched] = np.rint(mixed).astype(np.uint8)
    return out


def _faded(
    alpha: Matte,
    mask: Mask,
    opacity: Matte,
) -> Matte:
    """Multiply a fade by the opacity inside the mask and, outside, by that of the
    mask's nearest pixel."""
    outside = (~mask).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.asarray(labels, np.int32)
    shown = np.zeros(int(nearest.max()) + 1, np.float32)
    shown[nearest[mask]] = opacity[mask]
    return alpha * shown[nearest]
