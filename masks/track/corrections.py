"""Plan of a correction: the frames up to the key frames next to it are tracked
again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from regrain.editing.media.lazy_frames import Mask

ByLabel = dict[int, Mask]
"""Masks of a frame by label."""
Stated = Mapping[int, Mapping[int, Mask]]
"""Masks of key frames, by frame and label."""


class Pass(NamedTuple):
    """A stretch of frames to be tracked again.

    Attributes:
        frames: For `start` and `stop` of `propagate`.
        keys: For `propagate`: the key frames of the stretch, and at its ends the other
            regions as they are.
        regions: By label, the stretches in which the region takes the new masks; on
            other frames it stays.
    """

    frames: range
    keys: dict[int, ByLabel]
    regions: dict[int, list[range]]

    def labels_at(self, frame: int) -> list[int]:
        """Return the regions that take their new mask on a frame."""
        labels = []
        for label, stretches in self.regions.items():
            if any(frame in frames for frames in stretches):
                labels.append(label)
        return labels


def changed_by(
    keys: Collection[int], corrected: Iterable[int], count: int
) -> list[range]:
    """Return the frames of a region that corrections change, in order and apart from
    each other.

    Around each corrected frame, now a key frame or one before, these are the frames
    from the key frame before it to the key frame after it, both included; to the end of
    the clip where there is none.
    """
    parts = []
    for frame in corrected:
        first = max((key for key in keys if key < frame), default=0)
        last = min((key for key in keys if key > frame), default=count - 1)
        parts.append(range(first, last + 1))
    return _merged(parts)


def plan(
    keys: Stated,
    corrected: Mapping[int, Collection[int]],
    known: Callable[[int], Mapping[int, Mask]],
    count: int,
) -> list[Pass]:
    """Plan what must be tracked again after corrections.

    Where stretches are cut out of the clip, regions without a key frame there begin
    with their known mask.

    Args:
        keys: All key frames, the corrected ones included: by frame, masks by label, the
            uppermost first.
        corrected: By label, the frames that were corrected.
        known: Returns the masks of a frame, from 0, as they are: by label, the
            uppermost first.
        count: Frames of the clip.
    """
    own: dict[int, list[range]] = {}
    for label, frames in corrected.items():
        own_keys = [frame for frame, masks in keys.items() if label in masks]
        own[label] = changed_by(own_keys, frames, count)
    passes = []
    for frames in _merged(chain.from_iterable(own.values())):
        stated = {frame: dict(keys[frame]) for frame in keys if frame in frames}
        # at cuts, the known masks of other regions
        for cut in {frames[0], frames[-1]} - {0, count - 1}:
            given = stated.get(cut, {})
            seen = known(cut).items()
            there = {n: mask for n, mask in seen if n in given or mask.any()}
            stated[cut] = there | given
        regions = {
            label: [part for part in parts if part[0] in frames]
            for label, parts in own.items()
        }
        passes.append(Pass(frames, stated, regions))
    return passes


def _merged(parts: Iterable[range]) -> list[range]:
    """Join ranges that have a frame in common."""
    merged: list[range] = []
    for part in sorted(parts, key=lambda part: (part.start, part.stop)):
        last = merged[-1] if merged else None
        if last is not None and part.start < last.stop:
            merged[-1] = range(last.start, max(last.stop, part.stop))
        else:
            merged.append(part)
    return merged
