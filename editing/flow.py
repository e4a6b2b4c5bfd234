"""Optical flow: estimate it, warp by it, find what it cannot see. Displacements are pixels, x then y."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

_LEAST_SIDE = 128  # smaller frames are enlarged first: DIS matches patches of 8 pixels on a pyramid


def estimate_flow(
    frames: UInt8[np.ndarray, "frames h w 3"], targets: UInt8[np.ndarray, "frames h w 3"]
) -> Float32[Tensor, "frames 2 h w"]:
    """Where each pixel of a frame is found in the target frame, by DIS on grey values.

    Args:
        frames: RGB; for the flow of a clip, all frames but the last.
        targets: RGB, one per frame; for the flow of a clip, all frames but the first.

    Returns:
        (dx, dy) with frames[y, x] ~ targets[y + dy, x + dx]: `warp(targets, flow)` resembles `frames`.

    Source: Kroeger et al. 2016, arXiv:1603.03590, as in OpenCV.
    """
    height, width = frames.shape[1:3]
    scale = max(1.0, _LEAST_SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flows = np.empty((len(frames), 2, height, width), np.float32)
    for flow, frame, target in zip(flows, frames, targets, strict=True):
        large = estimator.calc(_grey(frame, size), _grey(target, size), None)
        large *= np.float32([width / size[0], height / size[1]])
        flow[:] = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    return torch.from_numpy(flows)


def warp(
    x: Float[Tensor, "frames c h w"], flow: Float[Tensor, "frames 2 h w"]
) -> Float[Tensor, "frames c h w"]:
    """Sample `x` at positions displaced by `flow` (backward warping, bilinear, border-clamped).

    Args:
        x: Any channels, any range; computed in float32.
        flow: Displacement in pixels of this grid, (dx, dy); out[y, x] = x[y + dy, x + dx].

    Returns:
        Same shape and dtype as `x`.

    Raises:
        ValueError: `flow` and `x` differ in frames or grid.

    Source: Jaderberg et al. 2015, arXiv:1506.02025, Sec. 3.3.
    """
    if x.shape[0] != flow.shape[0] or x.shape[2:] != flow.shape[2:]:
        raise ValueError(f"flow {tuple(flow.shape)} does not fit frames {tuple(x.shape)}")
    height, width = x.shape[2:]
    positions = _positions(flow.float())
    spans = positions.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    grid = 2 * positions.permute(0, 2, 3, 1) / spans - 1
    return grid_sample(x.float(), grid, mode="bilinear", padding_mode="border", align_corners=True).to(
        x.dtype
    )


def occlusion(
    forward: Float[Tensor, "frames 2 h w"], backward: Float[Tensor, "frames 2 h w"]
) -> Bool[Tensor, "frames h w"]:
    """Pixels of the first frame that the second does not show.

    Args:
        forward: From the first frame to the second, (dx, dy) in pixels.
        backward: From the second to the first.

    Returns:
        True where forward and backward do not cancel, or where the target lies outside the frame.

    Source: Sundaram et al. 2010, "Dense point trajectories by GPU-accelerated large displacement optical
    flow", Eq. 5.
    """
    back = warp(backward, forward)
    mismatch = (forward + back).square().sum(1)
    allowed = 0.01 * (forward.square().sum(1) + back.square().sum(1)) + 0.5
    height, width = forward.shape[2:]
    x, y = _positions(forward).unbind(1)
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return (mismatch > allowed) | outside


def _positions(flow: Float[Tensor, "frames 2 h w"]) -> Float[Tensor, "frames 2 h w"]:
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device), indexing="ij"
    )
    return torch.stack([x, y]) + flow


def _grey(frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "new_h new_w"]:
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_CUBIC)
