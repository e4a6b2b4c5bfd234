"""Where the edits of a request may reach, read by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from regrain.editing.media.labels import Labels, fade_inwards, grow_labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.request.region import Region

Areas = UInt8[LazyFrames, "frames height width"]


def grown_areas(labels: Labels | None, edited: Sequence[Region], shape: tuple[int, int, int]) -> Areas:
    """Labels of a clip of a shape, with every edited region grown by its margin; None is 0 everywhere."""
    if labels is None:
        return LazyFrames(shape, np.uint8, lambda start, stop: np.zeros((stop - start, *shape[1:]), np.uint8))
    margins = {region.label: region.effective_margin(shape[1:]) for region in edited}
    return LazyFrames(shape, np.uint8, lambda start, stop: grow_labels(labels.read(start, stop), margins))


def union(areas: Areas, edited: Sequence[Region]) -> Bool[LazyFrames, "frames height width"]:
    """See `EditRequest.edited_mask`."""
    size, labels = areas.shape[1:], [region.label for region in edited]
    if not labels:
        return LazyFrames(areas.shape, bool, lambda start, stop: np.ones((stop - start, *size), bool))
    return LazyFrames(areas.shape, bool, lambda start, stop: np.isin(areas.read(start, stop), labels))


def opacity(areas: Areas, edited: Sequence[Region]) -> Float32[LazyFrames, "frames height width"] | None:
    """See `EditRequest.opacity`."""
    labels, feathers = [r.label for r in edited], {r.label: r.feather for r in edited if r.feather}
    if not feathers:
        return None
    return LazyFrames(
        areas.shape, np.float32, lambda start, stop: fade_inwards(areas.read(start, stop), feathers, labels)
    )
