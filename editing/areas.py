"""How far edits reach: regions grow beyond their masks and fade at their edges. NumPy and OpenCV only."""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Float32, UInt8


def grow_labels(
    labels: UInt8[np.ndarray, "frames height width"], pixels: Mapping[int, float | int]
) -> UInt8[np.ndarray, "frames height width"]:
    """Grow each label by its `pixels` into the background; a pixel that several reach goes to the nearest."""
    if not any(pixels.values()):
        return labels
    import cv2  # slow to import, and seldom needed

    out = labels.copy()
    for frame, grown in zip(labels, out, strict=True):
        free, nearest = frame == 0, np.full(frame.shape, np.inf, np.float32)
        for label, reach in pixels.items():
            if reach and (frame == label).any():
                distance = cv2.distanceTransform((frame != label).astype(np.uint8), cv2.DIST_L2, 5)
                grown[free & (distance <= reach) & (distance < nearest)] = label
                nearest = np.where(distance <= reach, np.minimum(nearest, distance), nearest)
    return out


def fade_inwards(
    labels: UInt8[np.ndarray, "frames height width"],
    pixels: Mapping[int, float | int],
    edited: Collection[int],
) -> Float32[np.ndarray, "frames height width"]:
    """How opaque each pixel is: 1, but rising from the edge in the labels of `pixels`.

    `pixels` says over how many pixels; the edge is that of all `edited` labels together, and the border of
    the frame is none.
    """
    import cv2  # slow to import, and seldom needed

    out = np.ones(labels.shape, np.float32)
    for frame, opacity in zip(labels, out, strict=True):
        within = np.isin(frame, list(edited))
        if within.all() or not within.any():
            continue
        depth = cv2.distanceTransform(within.astype(np.uint8), cv2.DIST_L2, 5) - 0.5
        for label, reach in pixels.items():
            inside = frame == label
            if reach:
                opacity[inside] = np.clip(depth[inside] / reach, 0, 1)
    return out
