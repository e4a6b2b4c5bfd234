"""Key frames: which frames of a clip are edited. Pure functions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from regrain.editing.media.lazy_frames import Frames, Numbers
from regrain.editing.params.written import KeyChoice


def choose_keyframes(choice: KeyChoice, frames: Frames) -> Numbers:
    """Choose the key frames of a clip, RGB at the working size: from 0, rising, with
    the first and the last."""
    last = len(frames) - 1
    if choice.every is not None:
        return tuple(sorted({*range(0, last, choice.every), last}))
    if not choice.frames:
        return spread(_changes(frames), choice.least, choice.most)
    return tuple(sorted({0, *choice.frames, last}))


def spread(changes: Float[np.ndarray, "frames"], least: int, most: int) -> Numbers:
    """Choose frames where most changes until they are at most `most` apart, as far as
    `least` allows.

    They are counted from 0, rising; the first and the last are among them. `changes` is
    how much each frame differs from the one before, in any unit.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    last = len(changes) - 1
    keys = sorted({0, last})
    left = changes.astype(np.float64)
    left[:least] = -np.inf
    left[max(len(left) - least, 0) :] = -np.inf
    while (
        max((b - a for a, b in pairwise(keys)), default=0) > most
        and left.max() > -np.inf
    ):
        frame = int(left.argmax())
        keys = sorted([*keys, frame])
        left[max(frame - least, 0) : frame + least] = -np.inf
    return tuple(keys)


def _changes(
    frames: Frames,
) -> Float[np.ndarray, "frames"]:
    """Mean squared difference of every frame to the one before, blurred, for colours
    from -1 to 1."""
    import cv2  # slow to import, and seldom needed

    out = np.zeros(len(frames))
    before = None
    for index, frame in enumerate(frames):
        blurred = cv2.GaussianBlur(frame.astype(np.float32) / 127.5, (9, 9), 0)
        if before is not None:
            out[index] = np.square(blurred - before).mean()
        before = blurred
    return out
