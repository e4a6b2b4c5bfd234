"""Track masks through a clip, from key frames both ways: by cuts, or by a published
SAM.

Between two key frames, both directions are blended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import cv2
import numpy as np

from regrain.editing.errors import MaskError
from regrain.editing.media.clip import Clip, check_inside, resize
from regrain.editing.media.lazy_frames import Grey, Mask, Rgb, Shape, Size, windows
from regrain.masks.draw import drop_specks, signed_distance
from regrain.masks.models.finders import CUTS, find_tracker
from regrain.masks.segmentation.cut_solver import touching
from regrain.masks.track import cut_track
from regrain.masks.track.corrections import ByLabel, Stated
from regrain.masks.track.sam2_track import Seen, Seens, Tracked, packed, track, unpacked

Labelled = np.ndarray | Mapping[int, np.ndarray]
"""Labels of a key frame, or its masks by label."""
SHORT_SIDE = 480  # pixels worked on; larger frames are shrunk and their masks enlarged
_WINDOW = 16  # frames read at once
# Of the side of a square as large as a mask: a piece twice as far from others is far.
_FAR = 0.2


class Confidence(float):
    """Confidence of a frame, the least of its regions: 0 is lost, 1 is sure.

    Attributes:
        regions: Confidence by label: how much of the whole object is visible and looks
            as before.
    """

    regions: dict[int, float]

    def __new__(cls, regions: Mapping[int, float]) -> Confidence:  # noqa: D102
        value = super().__new__(cls, min(regions.values(), default=1.0))
        value.regions = dict(regions)
        return value

    def __reduce__(self) -> tuple[type[Confidence], tuple[dict[int, float]]]:
        return Confidence, (self.regions,)


def propagate(
    clip: Clip,
    keys: Mapping[int, Labelled],
    *,
    start: int = 0,
    stop: int | None = None,
    tracker: str = CUTS,
) -> Iterator[tuple[int, Grey, Confidence]]:
    """Carry masks from key frames to all others.

    Each frame comes once: from the first key frame to the end, then from there back to
    the start. A region follows the key frames that contain it, so regions may have
    their own key frames. To correct a frame, make it a key frame and call again;
    `start` and `stop` limit the work to what that changes, which
    `masks.track.corrections.plan` works out.

    Frames stream. Only between the first and the last key frame, the masks of one
    direction wait for those of the other; they are compressed to a few kilobytes per
    frame.

    Args:
        clip: Frames.
        keys: By frame, labels [height, width] (uint8, 0 = background) of all visible
            regions, or masks by label (bool [height, width]), which may be empty; the
            earlier covers the later.
        start: First frame to track.
        stop: Frame after the last; None is the end of the clip.
        tracker: "cuts", which moves masks, cuts them along edges, and does not find
            again what was hidden; or the name of a SAM 2 or SAM 3 in the folder
            `$REGRAIN_MODELS`, which follows masks with its own memory.

    Yields:
        Frame number, its labels, and the confidence. Key frames are unchanged.

    Raises:
        MaskError: There is no key frame, or one is outside the clip or has another
            size.
        ModelError: The tracker is unknown or broken.
    """
    stop = len(clip) if stop is None else stop
    stated = _check(clip, keys, start, stop)
    checkpoint = find_tracker(tracker).checkpoint
    if checkpoint:
        found = track(checkpoint, clip, stated, start, stop)
    else:
        found = _both_ways(clip, stated, start, stop)
    scattered = set()  # on key frames
    for masks in stated.values():
        scattered |= {n for n, mask in masks.items() if (_together(mask) != mask).any()}
    return (_finish(frame, seen, stated, clip.size, scattered) for frame, seen in found)


def _check(
    clip: Clip, keys: Mapping[int, Labelled], start: int, stop: int
) -> dict[int, ByLabel]:
    """Check key frames; return their masks by frame, in order, and by label."""
    stated: dict[int, ByLabel] = {}
    for frame, value in sorted(keys.items()):
        check_inside("keys", [frame], len(clip), kind=MaskError)
        masks = _masks_of(value, frame, clip.size[::-1])
        is_tracked = start <= frame < stop
        if masks and is_tracked:
            stated[frame] = masks
    if not stated:
        raise MaskError(
            "keys",
            f"No key frame from {start} to {stop - 1} has a region. Paint or "
            "click one.",
        )
    return stated


def _masks_of(value: Labelled, frame: int, shape: Shape) -> ByLabel:
    """Return a key frame's masks by label, from labels or masks of the given shape."""
    for array in value.values() if isinstance(value, Mapping) else [value]:
        if np.shape(array) != shape:
            raise MaskError(
                "keys",
                f"Expected masks of shape {shape}, got {np.shape(array)} for "
                f"frame {frame}.",
            )
    if isinstance(value, Mapping):
        return {int(label): np.asarray(mask, bool) for label, mask in value.items()}
    return {label: value == label for label in np.unique(value).tolist() if label}


def _both_ways(clip: Clip, stated: Stated, start: int, stop: int) -> Tracked:
    """Track from the first key frame on, and from the last one back, on frames that may
    be shrunk."""
    width, height = clip.size
    scale = min(1.0, SHORT_SIDE / min(clip.size))
    size = round(width * scale), round(height * scale)
    small = {
        frame: {label: _scaled(mask, size) for label, mask in masks.items()}
        for frame, masks in stated.items()
    }

    def walk(order: range) -> Tracked:
        for frame, labels, sure in cut_track.follow(_read(clip, order, size), small):
            yield frame, {label: Seen(labels == label, sure[label]) for label in sure}

    first = min(stated)
    last = max(stated)
    # Masks from later key frames are needed first, so they are kept, compressed; the
    # rest streams.
    backwards = walk(range(last, start - 1, -1))
    later = {frame: packed(seen) for frame, seen in islice(backwards, last - first + 1)}
    for frame, seen in walk(range(first, stop)):
        if len(stated) > 1 and frame in later:
            seen = _blend(
                frame,
                stated,
                seen,
                unpacked(later.pop(frame), size),
            )
        yield frame, seen
    yield from backwards


def _blend(frame: int, stated: Stated, earlier: Seens, later: Seens) -> Seens:
    """Blend the masks of both directions, weighted by nearness of the key frame and by
    confidence."""
    blended = earlier | later
    for label in earlier.keys() & later.keys():
        keys = [key for key, masks in stated.items() if label in masks]
        last = max((key for key in keys if key <= frame), default=frame)
        following = min((key for key in keys if key >= frame), default=frame)
        before = frame - last
        after = following - frame
        one = earlier[label]
        other = later[label]
        weight = (after + 1e-6) * (one.sure + 0.05)
        other_weight = (before + 1e-6) * (other.sure + 0.05)
        weights = np.array([weight, other_weight])
        weights /= weights.sum()
        # What one direction has lost must not outvote the other.
        reach = np.float32(0.1 * max(one.mask.shape))
        distance = signed_distance(one.mask).clip(-reach, reach)
        other_distance = signed_distance(other.mask).clip(-reach, reach)
        distance = weights[0] * distance + weights[1] * other_distance
        sure = max(one.sure, other.sure)
        blended[label] = Seen(distance > 0, sure)
    return blended


def _together(mask: Mask) -> Mask:
    """Return a mask without specks and without pieces far from the one that is most of
    it."""
    whole = drop_specks(mask)
    area = float(whole.sum())
    return touching(whole, drop_specks(whole, area / 2), round(_FAR * area**0.5))


def _finish(
    frame: int, seen: Seens, stated: Stated, size: Size, scattered: Collection[int]
) -> tuple[int, Grey, Confidence]:
    """Return the labels of a frame at the size of the clip, those of a key frame as
    they were given; the earlier covers the later.

    What a tracker adds far from a region goes, unless the region is `scattered`.
    """
    labels = np.zeros(size[::-1], np.uint8)
    for label, (mask, _) in reversed(seen.items()):
        kept = mask if label in scattered else _together(mask)
        labels[_scaled(kept, size)] = label
    given = stated.get(frame, {})
    labels[np.isin(labels, [*given])] = 0
    for label, mask in reversed(given.items()):
        labels[mask] = label
    sure = {}
    for label in sorted(seen):
        sure[label] = 1.0 if label in given else round(seen[label].sure, 4)
    return frame, labels, Confidence(sure)


def _scaled(mask: Mask, size: Size) -> Mask:
    if mask.shape[::-1] == tuple(size):
        return mask
    method = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), size, interpolation=method) > 0.5


def _read(clip: Clip, order: range, size: Size) -> Iterator[tuple[int, Rgb]]:
    """Yield frames in order, read by window, since a video file cannot be read
    backwards one by one."""
    for start, stop in windows(len(order), _WINDOW):
        window = order[start:stop]
        low = min(window)
        frames = resize(clip.read(low, max(window) + 1), size)
        for index in window:
            yield index, np.ascontiguousarray(frames[index - low])
