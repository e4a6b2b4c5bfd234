"""Pictures and clips with things in them whose masks are known."""

from fractions import Fraction

import cv2
import numpy as np

from regrain.editing.media.clip import ArrayClip


def discs():
    """A red and a blue disc before noise; their masks."""
    y, x = np.mgrid[:120, :200]
    red = np.hypot(x - 60, y - 60) < 30
    blue = np.hypot(x - 140, y - 60) < 30
    image = np.random.default_rng(0).integers(90, 130, (120, 200, 3), dtype=np.uint8)
    image[red], image[blue] = (200, 40, 30), (30, 60, 210)
    return image, red, blue


GREEN = ((60, 90, 60), (150, 190, 150))
RED = ((150, 30, 30), (250, 110, 60))


def texture(seed, colors, height=192, width=400):
    """Blotches of these colours, large enough to be moved."""
    noise = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.0)
    share = np.argsort(np.argsort(noise.ravel())).reshape(noise.shape) / noise.size
    low, high = np.array(colors, np.float32)
    return (low + (high - low) * share[..., None]).astype(np.uint8)


def drifting(*steps, colors=GREEN, radius=16, count=12, size=(96, 160)):
    """Textured discs, each moving by so many pixels a frame over a texture that drifts
    the other way.

    Args:
        steps: x on the first frame, and pixels a frame.

    Returns:
        The clip, and by frame the masks of the discs by label.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    behind = texture(0, GREEN)
    frames = []
    truth = []
    for t in range(count):
        picture = behind[20 : 20 + height, 60 + t : 60 + t + width].copy()
        masks = {}
        for label, (at, step) in enumerate(steps, 1):
            shown = texture(9 + label, colors)[
                40 : 40 + height, 150 - step * t : 150 - step * t + width
            ]
            masks[label] = np.hypot(x - at - step * t, y - 48) < radius
            picture[masks[label]] = shown[masks[label]]
        frames.append(picture)
        truth.append(masks)
    return ArrayClip(np.stack(frames), Fraction(8)), truth
