"""Pictures moved along motion, in NumPy, and the sizes at which motion is estimated; see `flow`."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from einops import rearrange
from jaxtyping import Float32, Shaped, UInt8

_LEAST_SIDE = 256  # smaller frames are enlarged before their motion is estimated


def enlarged(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames large_h large_w 3"]:
    """Frames large enough for their motion to be estimated."""
    height, width = frames.shape[1:3]
    scale = _LEAST_SIDE / min(height, width)
    if scale <= 1:
        return frames
    size = (round(width * scale), round(height * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in frames])


def shrunk(
    flows: Float32[np.ndarray, "pairs 2 large_h large_w"], size: tuple[int, int]
) -> Float32[np.ndarray, "pairs h w 2"]:
    """Flows at a size (height, width), in its pixels."""
    height, width = size
    scale = np.float32([width / flows.shape[3], height / flows.shape[2]])
    last = rearrange(flows, "pairs c h w -> pairs h w c") * scale
    return np.stack([cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) for flow in last])


def sampled(
    x: Shaped[np.ndarray, "h w *c"],
    flow: Float32[np.ndarray, "h w 2"],
    interpolation: int,
    border: int = cv2.BORDER_REPLICATE,
) -> Shaped[np.ndarray, "h w *c"]:
    """Sample `x` at positions displaced by `flow`, (dx, dy) in pixels; beyond it is what `border` says."""
    positions = _pixels(*flow.shape[:2]) + flow
    read = cv2.remap(x, positions, None, interpolation, borderMode=border)
    return read.reshape(*flow.shape[:2], *x.shape[2:])  # a single channel is lost on the way


@lru_cache(maxsize=1)
def _pixels(height: int, width: int) -> Float32[np.ndarray, "h w 2"]:
    """x and y of every pixel."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y], -1)
