"""What a run is judged by: what changed outside, what flickers, where attention went."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8

from editing.events import EditResult, RegionAttention
from editing.flow import estimate_flow, occlusion, warp
from editing.request import EditRequest

Metrics = dict[str, object]
BEST_PSNR = 100.0  # reported for equal frames, where the formula gives infinity


def measure(result: EditResult, request: EditRequest) -> Metrics:
    """Compute what report.json shows under `metrics`.

    Args:
        result: What the run made.
        request: Whose labels tell each region's pixels.

    Returns:
        outside_psnr (dB, at most 100), outside_ssim, outside_psnr_uncomposited, warp_error (0..1), and
        attention: per region inside_before, inside_after, outside_before, outside_after (0..1). None where
        there is nothing to measure: no pixel outside, one frame only.
    """
    outside = ~result.edited_mask
    return {
        "outside_psnr": psnr(result.source, result.frames, outside),
        "outside_ssim": ssim(result.source, result.frames, outside),
        "outside_psnr_uncomposited": psnr(result.source, result.uncomposited, outside),
        "warp_error": warp_error(result.source, result.frames),
        "attention": {
            region.name: _attention(result.attention[region.name], request.areas == region.label)
            for region in request.regions
            if region.name in result.attention
        },
    }


def psnr(
    a: UInt8[np.ndarray, "frames h w 3"],
    b: UInt8[np.ndarray, "frames h w 3"],
    where: Bool[np.ndarray, "frames h w"],
) -> float | None:
    """Peak signal-to-noise ratio over the pixels `where`, in dB, at most 100; None for no pixel."""
    count = int(where.sum())
    if not count:
        return None
    total = sum(
        float(np.square(x[w].astype(np.float64) - y[w]).sum()) for x, y, w in zip(a, b, where, strict=True)
    )
    mean = total / (3 * count)
    return min(BEST_PSNR, 10 * float(np.log10(255**2 / mean))) if mean else BEST_PSNR


def ssim(
    a: UInt8[np.ndarray, "frames h w 3"],
    b: UInt8[np.ndarray, "frames h w 3"],
    where: Bool[np.ndarray, "frames h w"],
) -> float | None:
    """Structural similarity averaged over the pixels `where` and the channels; None for no pixel.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
    Eq. 13; Gaussian window of 11 pixels, sigma 1.5.
    """
    count = int(where.sum())
    if not count:
        return None
    total = sum(float(_ssim_map(x, y)[w].sum()) for x, y, w in zip(a, b, where, strict=True) if w.any())
    return total / (3 * count)


def warp_error(
    source: UInt8[np.ndarray, "frames h w 3"], edited: UInt8[np.ndarray, "frames h w 3"]
) -> float | None:
    """How much the edit does not follow the source's motion: 0 = it moves exactly as the source does.

    Mean absolute difference between each edited frame and the next one brought back by the source's flow,
    over pixels the next frame shows, 0..1; None for one frame.

    Source: Lai et al. 2018, arXiv:1808.00449, Sec. 4.3 (with absolute instead of squared differences).
    """
    total, count = 0.0, 0
    for index in range(len(source) - 1):
        here, there = source[index : index + 1], source[index + 1 : index + 2]
        # Everywhere the same, so that figures of different machines compare.
        forward, backward = (estimate_flow(*pair, "dis") for pair in ((here, there), (there, here)))
        visible = ~occlusion(forward, backward)[0]
        now, after = (_to_tensor(edited[i : i + 1]) for i in (index, index + 1))
        difference = (warp(after, forward) - now).abs().mean(1)[0]
        total, count = total + float(difference[visible].sum()), count + int(visible.sum())
    return total / count if count else None


def _to_tensor(frames: UInt8[np.ndarray, "frames h w 3"]) -> Float[torch.Tensor, "frames 3 h w"]:
    return rearrange(torch.from_numpy(frames).float() / 255, "frames h w c -> frames c h w")


def _ssim_map(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (11, 11), 1.5)

    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )


def _attention(maps: RegionAttention, mask: Bool[np.ndarray, "frames h w"]) -> dict[str, float | None]:
    grid = maps.before.shape[1:]
    share = np.stack(
        [cv2.resize(frame.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA) for frame in mask]
    )
    weights = {"inside": share, "outside": 1 - share}
    return {
        f"{place}_{when}": _weighted_mean(getattr(maps, when), weight)
        for place, weight in weights.items()
        for when in ("before", "after")
    }


def _weighted_mean(
    values: Float[np.ndarray, "frames h w"], weights: Float[np.ndarray, "frames h w"]
) -> float | None:
    total = float(weights.sum(dtype=np.float64))
    return float((values * weights).sum(dtype=np.float64)) / total if total > 0 else None
