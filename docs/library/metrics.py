"""How two videos of equal size differ: `python metrics.py SOURCE EDITED [MASKS]`."""

import sys
from itertools import pairwise

import numpy as np

import regrain
from regrain.editing.pipeline.metrics import (
    Mean,
    for_motion,
    similarity,
    squares,
    warping,
)

source, edited = (regrain.open_clip(path) for path in sys.argv[1:3])
a, b = source.read(0, len(source)), edited.read(0, len(edited))
# Where nothing should have changed: outside the masks (a folder of PNGs, 0 is the
# background), or everywhere.
if len(sys.argv) > 3:
    where = regrain.read_labels(sys.argv[3], len(source), source.size)[:] == 0
else:
    where = np.ones(a.shape[:3], bool)


def mean(add, *frames):
    """Add up a measure over frames."""
    found = Mean()
    for some in zip(*frames, strict=True):
        found.add(add(*some))
    return found


def warp_error(video):
    """Measure how far a video is from the motion of the source."""
    pairs = pairwise(map(for_motion, a, video))
    return mean(lambda pair: warping(pair)[1], pairs).value


decibels = mean(squares, a, b, where).decibels
likeness = mean(similarity, a, b, where).value
print(f"PSNR {decibels:.1f} dB (100 where equal), SSIM {likeness:.3f}")
print(f"warp error {warp_error(b):.4f}; the source's own is {warp_error(a):.4f}")
