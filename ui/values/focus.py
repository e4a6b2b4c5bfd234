"""Where the edit of a page's clip works: how it is chosen, and the boxes that are
found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from regrain.editing.media.labels import Extents, edges_of
from regrain.editing.media.lazy_frames import Size
from regrain.ui.values.layers import Key, laid_over

if TYPE_CHECKING:
    from regrain.ui.values.state import State

Stack = tuple[tuple[int, bool, Key | None, bytes | None], ...]
"""Of each region on a frame, the uppermost first: its label, whether it is the rest of
the frame, work by hand, and the packed mask of a tracker."""
Edges = Mapping[int, tuple[float, ...]]
"""Left, top, right and bottom edge by label."""


def edges_of_regions(stack: Stack, size: Size) -> Edges:
    """Return the edges of the regions on a frame of (width, height), without what
    others cover."""
    covered = np.zeros((size[1], size[0]), bool)
    found = {}
    for label, is_rest, key, track in stack:
        if is_rest or (key is None and track is None):
            continue
        mask = laid_over(key or Key(), track, size)
        found[label] = edges_of(mask & ~covered)
        covered |= mask
    for label, is_rest, _, _ in stack:
        if is_rest:
            found[label] = edges_of(~covered)
    return found


def extents_of(state: State, edges: Callable[[Stack], Edges]) -> Extents:
    """Return the edges of all regions on all frames, as `Labels.extents` does; `edges`
    finds those of a frame, see `edges_of_regions`."""
    count = state.shape[0]
    extents = {label: np.full((count, 4), np.nan) for label in state.regions}
    for frame in range(count):
        stack = []
        for label in state.regions:
            layer = state.layers[label]
            own = (layer.keys.get(frame), layer.track.get(frame))
            stack.append((label, layer.rest, *own))
        for label, found in edges(tuple(stack)).items():
            extents[label][frame] = found
    return extents
