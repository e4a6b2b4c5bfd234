"""Flows of the present run: tracks, averages and metrics follow the same frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from regrain.editing.media.lazy_frames import Rgb

PairFlow = Float32[np.ndarray, "2 height width"]
_MOST = 1 << 27  # bytes that are kept
_LEAST_SIDE = 256  # of smaller frames, which are scanned for cuts, flow costs little
_known: dict[tuple[object, ...], PairFlow] = {}


def once(frame: Rgb, target: Rgb, estimate: Callable[[Rgb, Rgb], PairFlow]) -> PairFlow:
    """Return the flow from a frame to another, which is estimated once in a run."""
    if min(frame.shape[:2]) < _LEAST_SIDE:
        return estimate(frame, target)
    key = (frame.shape, hash(frame.tobytes()), hash(target.tobytes()))
    flow = _known.get(key)
    if flow is None:
        flow = estimate(frame, target)
        # The first are kept, not the last: metrics begin at the first frame again.
        if (len(_known) + 1) * flow.nbytes <= _MOST:
            _known[key] = flow
    return flow


def forget() -> None:
    """Forget all flows: the run is over."""
    _known.clear()
