"""How two videos of equal size differ: `python metrics.py SOURCE EDITED [MASKS]`."""

import sys

import numpy as np

import regrain
from regrain.editing.pipeline.metrics import psnr, ssim, warp_error

source, edited = (regrain.open_clip(path) for path in sys.argv[1:3])
a, b = source.read(0, len(source)), edited.read(0, len(edited))
# Where nothing should have changed: outside the masks (a folder of PNGs, 0 is the
# background), or everywhere.
if len(sys.argv) > 3:
    where = regrain.read_labels(sys.argv[3], len(source), source.size)[:] == 0
else:
    where = np.ones(a.shape[:3], bool)
print(
    f"PSNR {psnr(a, b, where):.1f} dB (100 where equal), SSIM {ssim(a, b, where):.3f}"
)
print(f"warp error {warp_error(a, b):.4f}; the source's own is {warp_error(a, a):.4f}")
