"""What a control network is shown: edges, depth or poses of every frame. Imports no torch until it must."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from editing.errors import ModelError

DEPTH_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"
POSE_MODEL = "lllyasviel/Annotators"
# Percentiles of a clip's depth that become black and white.
_FAR, _NEAR = 2, 98
_MAX_WEIGHT = 2.0


@dataclass(frozen=True)
class ControlSpec:
    """One control network to use.

    Attributes:
        kind: What it is shown: a key of `KINDS`.
        model: Hub id, name in $REGRAIN_MODELS or folder.
        weight: Factor on what it adds, 0..2.
    """

    kind: str
    model: str
    weight: float = 1.0


def parse_control(text: str) -> tuple[ControlSpec, ...]:
    """Read `KIND=MODEL@WEIGHT, ...`; the weight may be left out.

    Raises:
        ValueError: Another form, an unknown kind, a weight out of range.
    """
    specs = []
    for part in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\w+)\s*=\s*([^@]+?)\s*(?:@\s*(\d*\.?\d+)\s*)?", part)
        if not match or match[1] not in KINDS:
            raise ValueError(f"allowed is KIND=MODEL@WEIGHT with a kind of {', '.join(KINDS)}")
        weight = float(match[3] or 1)
        if weight > _MAX_WEIGHT:
            raise ValueError(f"allowed is a weight of 0 to {_MAX_WEIGHT:g}")
        specs.append(ControlSpec(match[1], match[2], weight))
    return tuple(specs)


def control_maps(
    frames: UInt8[np.ndarray, "frames height width 3"], kind: str
) -> UInt8[np.ndarray, "frames height width 3"]:
    """What a control network of this kind is shown of a clip, RGB.

    Raises:
        ModelError: The kind needs a package or weights that are not here.
    """
    return KINDS[kind](frames)


def canny(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h w 3"]:
    """White edges on black, by OpenCV's Canny with thresholds 100 and 200 on grey values."""
    import cv2  # see editing.clip.resize

    edges = [cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 100, 200) for frame in frames]
    return np.repeat(np.stack(edges)[..., None], 3, -1)


def depth(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h w 3"]:
    """Near is white, on one scale for the whole clip, by a depth model of transformers."""
    import cv2
    import torch

    try:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        processor = AutoImageProcessor.from_pretrained(DEPTH_MODEL)
        model = AutoModelForDepthEstimation.from_pretrained(DEPTH_MODEL, use_safetensors=True).eval()
    except (ImportError, OSError, ValueError) as error:
        raise _missing("depth", f"the weights of {DEPTH_MODEL}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    found = []
    with torch.no_grad():
        for frame in frames:
            inputs = processor(images=frame, return_tensors="pt").to(device)
            found.append(model(**inputs).predicted_depth[0].float().cpu().numpy())
    size = frames.shape[2], frames.shape[1]
    return gray_depth(np.stack([cv2.resize(d, size, interpolation=cv2.INTER_CUBIC) for d in found]))


def gray_depth(nearness: Float[np.ndarray, "frames h w"]) -> UInt8[np.ndarray, "frames h w 3"]:
    """Nearness (inverse depth, any unit) as grey values: one scale for the clip, so a still scene does not
    flicker. The 2nd percentile of the clip is black, the 98th white.
    """
    far, near = np.percentile(nearness, [_FAR, _NEAR])
    grey = ((nearness - far) / max(near - far, 1e-8)).clip(0, 1) * 255
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, -1)


def pose(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h w 3"]:
    """Skeletons as OpenPose draws them, by controlnet-aux."""
    import cv2

    try:
        from controlnet_aux import OpenposeDetector  # pyright: ignore[reportMissingImports]

        detector = OpenposeDetector.from_pretrained(POSE_MODEL)
    except (ImportError, OSError, ValueError) as error:
        raise _missing("pose", f"the package controlnet-aux and the weights of {POSE_MODEL}") from error
    size = frames.shape[2], frames.shape[1]
    drawn = [np.asarray(detector(frame, include_hand=True, output_type="np")) for frame in frames]
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST) for picture in drawn])


def _missing(kind: str, what: str) -> ModelError:
    return ModelError(
        "params.control", f"{kind} needs {what}, not found here; install them, or use canny, which needs none"
    )


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"canny": canny, "depth": depth, "pose": pose}
