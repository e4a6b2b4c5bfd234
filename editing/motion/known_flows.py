"""Flows of the present run: tracks, averages and metrics follow the same frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regrain.editing.media.lazy_frames import Rgb

_MOST = 1 << 27  # bytes that are kept
_LEAST_SIDE = 256  # of smaller frames, which are scanned for cuts, flow costs little
_known: dict[object, np.ndarray] = {}


def once(
    pair: tuple[Rgb, Rgb], estimate: Callable[..., np.ndarray], kind: str = "flow"
) -> np.ndarray:
    """Return the flow between a pair of frames, or another kind of answer about it,
    which is found once in a run."""
    seen = (hash(frame.tobytes()) for frame in pair)
    key = (kind, pair[0].shape, *seen)
    flow = _known.get(key)
    if flow is None:
        flow = estimate(*pair)
        is_large = min(pair[0].shape[:2]) >= _LEAST_SIDE
        # The first are kept, not the last: metrics begin at the first frame again.
        if is_large and (len(_known) + 1) * flow.nbytes <= _MOST:
            _known[key] = flow
    return flow


def forget() -> None:
    """Forget all flows: the run is over."""
    _known.clear()
