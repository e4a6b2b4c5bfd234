"""Input of control networks: edges, depth or poses of every frame. Imports torch only
when needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from jaxtyping import Float

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError
from regrain.editing.media.lazy_frames import RgbFrames
from regrain.editing.storage.devices import choose_device

DEPTH_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"
POSE_MODEL = "lllyasviel/Annotators"


def canny(
    frames: RgbFrames,
) -> RgbFrames:
    """Draw white edges on black, by OpenCV's Canny with thresholds 100 and 200 on grey
    values."""
    import cv2  # see editing.media.clip.resize

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    edges = [cv2.Canny(frame, 100, 200) for frame in grey]
    return np.repeat(np.stack(edges)[..., None], 3, -1)


def depth(
    frames: RgbFrames,
) -> RgbFrames:
    """Estimate depth with a model of transformers: near is white, on one scale for the
    whole clip.

    Raises:
        ModelError: The weights are missing.
    """
    import cv2
    import torch

    with _needing(f"depth needs the weights of {DEPTH_MODEL}"):
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        processor = AutoImageProcessor.from_pretrained(DEPTH_MODEL)
        model = AutoModelForDepthEstimation.from_pretrained(
            DEPTH_MODEL, use_safetensors=True
        )
    device = choose_device()
    model.eval().to(device)
    height, width = frames.shape[1:3]
    nearness = []
    with torch.no_grad():
        for frame in frames:
            inputs = processor(images=frame, return_tensors="pt").to(device)
            depths = model(**inputs).predicted_depth[0].float().cpu().numpy()
            nearness.append(
                cv2.resize(depths, (width, height), interpolation=cv2.INTER_CUBIC)
            )
    return gray_depth(np.stack(nearness))


def gray_depth(
    nearness: Float[np.ndarray, "frames height width"],
) -> RgbFrames:
    """Convert nearness (inverse depth, any unit) to grey values: the clip's 2nd
    percentile is black, the 98th white. One scale for the whole clip keeps a still
    scene from flickering.
    """
    far, near = np.percentile(nearness, [2, 98])
    grey = ((nearness - far) / max(near - far, 1e-8)).clip(0, 1) * 255
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, -1)


def pose(
    frames: RgbFrames,
) -> RgbFrames:
    """Draw skeletons as OpenPose does, by controlnet-aux.

    Raises:
        ModelError: The package or its weights are missing.
    """
    import cv2

    with _needing(f"pose needs the package controlnet-aux, and {POSE_MODEL}"):
        from controlnet_aux import OpenposeDetector  # pyright: ignore[reportMissingImports]

        detector = OpenposeDetector.from_pretrained(POSE_MODEL)
    height, width = frames.shape[1:3]
    drawn = []
    for frame in frames:
        picture = np.asarray(detector(frame, include_hand=True, output_type="np"))
        drawn.append(
            cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
        )
    return np.stack(drawn)


def _needing(what: str) -> AbstractContextManager[None]:
    said = f"{what}, which are missing. Install them, or use canny instead."
    return boundary("params.control", said, ModelError)


CONTROL_MAPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "canny": canny,
    "depth": depth,
    "pose": pose,
}
"""The input of a control network by its kind, computed from a clip; RGB in and out, of
the same size."""
