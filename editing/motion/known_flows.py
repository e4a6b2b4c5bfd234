"""Flows of the present run, and what they hide: tracks, averages and metrics follow the
same frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from regrain.editing.media.lazy_frames import RgbPair

_MOST = 1 << 27  # bytes that are kept
_LEAST_SIDE = 256  # of smaller frames, which are scanned for cuts, flow costs little
_known: dict[object, np.ndarray] = {}


def once(
    pair: RgbPair, estimate: Callable[..., np.ndarray], kind: str = "flow"
) -> np.ndarray:
    """Return the flow between a pair of frames, or another kind of answer about it,
    which is found once in a run."""
    seen = (hash(frame.tobytes()) for frame in pair)
    key = (kind, pair[0].shape, *seen)
    found = _known.get(key)
    if found is None:
        found = estimate(*pair)
        is_large = min(pair[0].shape[:2]) >= _LEAST_SIDE
        # The first are kept, not the last: metrics begin at the first frame again.
        kept = [*_known.values(), found]  # others are added meanwhile
        if is_large and sum(one.nbytes for one in kept) <= _MOST:
            _known[key] = found
    return found


def forget() -> None:
    """Forget all flows: the run is over."""
    _known.clear()
