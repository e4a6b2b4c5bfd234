"""How a frame moves against those around it; computed once for a frame of a clip and kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from itertools import pairwise
from threading import Lock

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from regrain.editing.media.clip import Clip
from regrain.editing.motion import flow as optical_flow
from regrain.masks.segmentation.cut_evidence import LONG_SIDE, Flows, Scene

FLOW_SIDE = 384  # pixels at which flow is estimated
REACH = 3  # frames: a slow thing shows its motion over several
_KEPT = 12  # scenes, about 20 MB each


def shrunk(image: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """A picture whose longer side has so many pixels, or fewer; at least 16 each."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return (
        image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    )


def flow_between(
    grey: UInt8[np.ndarray, "h w"], target: UInt8[np.ndarray, "h w"]
) -> Float32[np.ndarray, "2 h w"]:
    """How far each pixel moves to its place in the target, (dx, dy) in pixels.

    Source: Kroeger et al. 2016, arXiv:1603.03590 (DIS), as in OpenCV, down to single pixels.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)
    return np.ascontiguousarray(finder.calc(grey, target, None).transpose(2, 0, 1))  # type: ignore[call-overload]


def sampled(
    values: Float32[np.ndarray, "c h w"], flow: Float32[np.ndarray, "2 h w"]
) -> Float32[np.ndarray, "c h w"]:
    """Values read at displaced places; beyond the frame, those at its border."""
    read = optical_flow.sampled(
        values.transpose(1, 2, 0), flow.transpose(1, 2, 0), cv2.INTER_LINEAR
    )
    return np.ascontiguousarray(read.transpose(2, 0, 1))


def resized(
    flow: Float32[np.ndarray, "2 h w"], shape: tuple[int, int]
) -> Float32[np.ndarray, "2 new_h new_w"]:
    """A flow on another grid, in that grid's pixels."""
    parts = [cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA) for part in flow]
    height, width = np.float32(shape) / flow.shape[1:]
    return np.stack(parts) * np.float32([[[width]], [[height]]])


def scene_of(
    image: UInt8[np.ndarray, "height width 3"], clip: Clip | None = None, frame: int = 0
) -> Scene:
    """A frame with how it moves in its clip, if it is of one; kept, so that further clicks take no flow."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    key = (digest,) if clip is None else (digest, clip.name, len(clip), frame)
    with _lock:
        if key in _scenes:
            _scenes.move_to_end(key)
            return _scenes[key]
    small = shrunk(image, LONG_SIDE)
    scene = Scene(small, () if clip is None else _flows(clip, frame, small.shape[:2]))
    with _lock:
        _scenes[key] = scene
        while len(_scenes) > _KEPT:
            _scenes.popitem(last=False)
    return scene


_scenes: OrderedDict[tuple, Scene] = OrderedDict()
_lock = Lock()


def _flows(clip: Clip, frame: int, shape: tuple[int, int]) -> Flows:
    first, last = max(0, frame - REACH), min(len(clip) - 1, frame + REACH)
    pictures = clip.read(first, last + 1)
    greys = [cv2.cvtColor(shrunk(one, FLOW_SIDE), cv2.COLOR_RGB2GRAY) for one in pictures]
    at, flows = frame - first, []
    for way in (greys[at:], greys[at::-1]):
        flow = None
        for n, (one, other) in enumerate(pairwise(way), 1):
            step = flow_between(one, other)
            flow = step if flow is None else flow + sampled(step, flow)
            if n in (1, REACH):
                flows.append(resized(flow, shape))
    return tuple(flows)
