"""How far edits reach: regions that grow beyond their masks. NumPy and OpenCV only."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8


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
