"""Motion of a frame against those around it; computed once for a frame of a clip and
kept."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from regrain.editing.media.clip import Clip, within
from regrain.editing.media.lazy_frames import Grey, Rgb, Shape
from regrain.editing.motion.flow import Flow, sampled
from regrain.masks.models.embedded import KeptFrames
from regrain.masks.segmentation.cut_evidence import LONG_SIDE, Flows, Scene

FLOW_SIDE = 384  # pixels at which flow is estimated
REACH = 3  # frames: a slow thing shows its motion over several
_KEPT = 12  # scenes, about 20 MB each


def shrunk(image: Rgb, side: int) -> UInt8[np.ndarray, "low narrow 3"]:
    """Shrink a picture until its longer side has at most `side` pixels; neither side
    below 16."""
    size = image.shape[1::-1]
    small = within(size, side, 16)
    if small == size:
        return image
    return cv2.resize(image, small, interpolation=cv2.INTER_AREA)


def flow_between(grey: Grey, target: Grey) -> Flow:
    """Estimate how far each pixel moves to its place in the target, (dx, dy) in pixels.

    Source: Kroeger et al. 2016, arXiv:1603.03590 (DIS), as in OpenCV, down to single
        pixels.
    """
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    finder.setFinestScale(0)
    return finder.calc(grey, target, None)  # type: ignore[call-overload]


def resized(flow: Flow, shape: Shape) -> Float32[np.ndarray, "new_h new_w 2"]:
    """Resize a flow to another grid, in that grid's pixels."""
    small = cv2.resize(flow, shape[::-1], interpolation=cv2.INTER_AREA)
    height_ratio, width_ratio = np.float32(shape) / flow.shape[:2]
    return small * np.float32([width_ratio, height_ratio])


def scene_of(image: Rgb, clip: Clip | None, frame: int = 0) -> Scene:
    """Return a frame with its motion in its clip, if any; kept, so that further clicks
    estimate no flow."""

    def make() -> Scene:
        small = shrunk(image, LONG_SIDE)
        flows = () if clip is None else _flows(clip, frame, small.shape[:2])
        return Scene(small, flows)

    place = clip and (clip.name, len(clip), frame)
    return _scenes.get(image, place, make)


_scenes = KeptFrames[Scene](_KEPT, lambda scene: 1)


def _flows(clip: Clip, frame: int, shape: Shape) -> Flows:
    """Estimate the flows to the next frame and `REACH` frames on, then those back;
    fewer at the ends."""
    first = max(0, frame - REACH)
    last = min(len(clip) - 1, frame + REACH)
    pictures = clip.read(first, last + 1)
    greys = [grey_of(picture) for picture in pictures]
    place = frame - first
    flows: list[Flow] = []
    for way in (greys[place:], greys[place::-1]):
        # to the next frame, and to that `REACH` frames on
        flow = None
        for steps, (here, there) in enumerate(pairwise(way), 1):
            step = flow_between(here, there)
            flow = (
                step if flow is None else flow + sampled(step, flow, cv2.INTER_LINEAR)
            )
            if steps in (1, REACH):
                flows.append(resized(flow, shape))
    return tuple(flows)


def grey_of(picture: Rgb) -> Grey:
    """Return a picture as its flow is estimated."""
    return cv2.cvtColor(shrunk(picture, FLOW_SIDE), cv2.COLOR_RGB2GRAY)
