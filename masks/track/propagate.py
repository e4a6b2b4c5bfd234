"""Track masks through a clip: from key frames both ways along optical flow, with one
layer per region.

Flow moves a layer; colours decide which layer is in front and refine its edges. A layer
remembers how it looked when it was last clear of the others. While they touch, that
memory moves as a whole to where it fits the frame best: it bounds what the layer may
claim, and hidden parts come back where memory expects them. Between two key frames,
both directions are blended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from regrain.editing.errors import MaskError
from regrain.editing.media.clip import Clip, resize
from regrain.editing.motion.flow import FlowMethod
from regrain.masks.draw import signed_distance
from regrain.masks.models.finders import CUTS, find_tracker
from regrain.masks.track import cut_track
from regrain.masks.track.appearance import (
    Background,
    TrackedLayer,
    clear_background,
    new_layer,
    palette_of,
)
from regrain.masks.track.consistency import MaskConsistency
from regrain.masks.track.edges import Mask, Refine, by_colors
from regrain.masks.track.motion import advance
from regrain.masks.track.sam2_track import Seen, packed, track, unpacked

Keys = Mapping[int, np.ndarray | Mapping[int, np.ndarray]]
SHORT_SIDE = 480  # pixels worked on; larger frames are shrunk and their masks enlarged
_WINDOW = 16  # frames read at once
_Followed = tuple[int, UInt8[np.ndarray, "h w"], dict[int, float]]


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
    keys: Keys,
    *,
    start: int = 0,
    stop: int | None = None,
    refine: Refine | Literal["colors"] | None = "colors",
    flow: FlowMethod = "auto",
    tracker: str = "flow",
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"], Confidence]]:
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
        refine: Returns a better mask, given a frame, a moved mask and the pixels of
            other regions. "colors" cuts by the region's colours in its key frame; None
            keeps the result of flow.
        flow: How motion is estimated; see `editing.motion.flow.estimate_flow`.
        tracker: "flow"; "cuts", for real clips, which moves masks, cuts them along
            edges, and does not find again what was hidden; or the name of a SAM 2 or
            SAM 3 in the folder `$REGRAIN_MODELS`, which follows masks with its own
            memory. `refine` and `flow` count for "flow" alone.

    Yields:
        Frame number, its labels, and the confidence. Key frames are unchanged.

    Raises:
        MaskError: There is no key frame, or one is outside the clip or has another
            size.
        ModelError: "raft" is chosen without weights, or the tracker is unknown or
            broken.
    """
    stop = len(clip) if stop is None else stop
    stated = _check(clip, keys, start, stop)
    checkpoint = find_tracker(tracker).checkpoint
    if checkpoint:
        found = track(checkpoint, clip, stated, start, stop)
    elif tracker == CUTS:
        found = _both_ways(clip, stated, start, stop, cut_track.follow)
    else:
        follow = partial(_by_layers, refine=refine, method=flow)
        found = _both_ways(clip, stated, start, stop, follow)
    return (_finish(frame, seen, stated, clip.size) for frame, seen in found)


def _check(clip: Clip, keys: Keys, start: int, stop: int) -> dict[int, dict[int, Mask]]:
    """Check key frames; return their masks by frame, in order, and by label."""
    if not keys:
        raise MaskError(
            "keys", "No key frame is given. Give the labels of at least one frame."
        )
    stated: dict[int, dict[int, Mask]] = {}
    for frame, value in sorted(keys.items()):
        if not 0 <= frame < len(clip):
            reason = f"Frame {frame} is outside the clip."
            raise MaskError("keys", f"{reason} Choose from 0 to {len(clip) - 1}.")
        masks = _masks_of(value, frame, clip.size[::-1])
        is_tracked = start <= frame < stop
        if masks and is_tracked:
            stated[frame] = masks
    if not stated:
        reason = f"No key frame from {start} to {stop - 1} has a region."
        raise MaskError("keys", f"{reason} Paint or click one.")
    return stated


def _masks_of(
    value: np.ndarray | Mapping[int, np.ndarray], frame: int, shape: tuple[int, int]
) -> dict[int, Mask]:
    """Return a key frame's masks by label, from labels or masks of the given shape."""
    is_labels = not isinstance(value, Mapping)
    given = [value] if is_labels else value.values()
    for array in given:
        if np.shape(array) != shape:
            got = f"{np.shape(array)} for frame {frame}"
            raise MaskError("keys", f"Expected masks of shape {shape}, got {got}.")
    if is_labels:
        return {label: value == label for label in np.unique(value).tolist() if label}
    return {int(label): np.asarray(mask, bool) for label, mask in value.items()}


def _both_ways(
    clip: Clip,
    stated: dict[int, dict[int, Mask]],
    start: int,
    stop: int,
    follow: Callable[..., Iterator[_Followed]],
) -> Iterator[tuple[int, dict[int, Seen]]]:
    """Track from the first key frame on, and from the last one back, on frames that may
    be shrunk."""
    size = _working_size(clip)
    small = _shrunk(stated, size)

    def walk(order: range) -> Iterator[tuple[int, dict[int, Seen]]]:
        return _seen(follow(_read(clip, order, size), small))

    first = min(stated)
    last = max(stated)
    # Masks from later key frames are needed first, so they are kept, compressed; the
    # rest streams.
    backwards = walk(range(last, start - 1, -1))
    later = {frame: packed(seen) for frame, seen in islice(backwards, last - first + 1)}
    yield from _with_later(walk(range(first, stop)), later, stated, size)
    yield from backwards


def _with_later(
    forwards: Iterable[tuple[int, dict[int, Seen]]],
    later: dict[int, dict[int, tuple[bytes, float]]],
    stated: dict[int, dict[int, Mask]],
    size: tuple[int, int],
) -> Iterator[tuple[int, dict[int, Seen]]]:
    """Blend what is seen forwards, frame by frame, with masks from later key frames, of
    which each is dropped once it was used."""
    for frame, seen in forwards:
        if len(stated) > 1 and frame in later:
            other = unpacked(later.pop(frame), size)
            seen = _blend(frame, stated, seen, other)
        yield frame, seen


def _shrunk(
    stated: Mapping[int, Mapping[int, Mask]], size: tuple[int, int]
) -> dict[int, dict[int, Mask]]:
    """Return the masks of key frames at the size that is worked on."""
    small: dict[int, dict[int, Mask]] = {}
    for frame, masks in stated.items():
        small[frame] = {label: _scaled(mask, size) for label, mask in masks.items()}
    return small


def _seen(followed: Iterable[_Followed]) -> Iterator[tuple[int, dict[int, Seen]]]:
    """Divide the labels of each frame into regions."""
    for frame, labels, sure in followed:
        seen = {}
        for label in sure:
            seen[label] = Seen(labels == label, sure[label])
        yield frame, seen


def _working_size(clip: Clip) -> tuple[int, int]:
    width, height = clip.size
    scale = min(1.0, SHORT_SIDE / min(width, height))
    return round(width * scale), round(height * scale)


def _blend(
    frame: int,
    stated: dict[int, dict[int, Mask]],
    earlier: dict[int, Seen],
    later: dict[int, Seen],
) -> dict[int, Seen]:
    """Blend the masks of both directions, weighted by nearness of the key frame and by
    confidence."""
    blended = earlier | later
    for label in earlier.keys() & later.keys():
        keys = [key for key, masks in stated.items() if label in masks]
        before, after = _frames_to_keys(frame, keys)
        one = earlier[label]
        other = later[label]
        weight = (after + 1e-6) * (one.sure + 0.05)
        other_weight = (before + 1e-6) * (other.sure + 0.05)
        mask = _blended(one.mask, other.mask, weight, other_weight)
        blended[label] = Seen(mask, max(one.sure, other.sure))
    return blended


def _frames_to_keys(frame: int, keys: Collection[int]) -> tuple[int, int]:
    """Count the frames to the last key frame before, and to the next one; 0 where there
    is none."""
    last = max((key for key in keys if key <= frame), default=frame)
    following = min((key for key in keys if key >= frame), default=frame)
    return frame - last, following - frame


def _blended(one: Mask, other: Mask, weight: float, other_weight: float) -> Mask:
    """Return the mask between two, nearer to the one of more weight."""
    weights = np.array([weight, other_weight])
    weights /= weights.sum()
    # What one direction has lost must not outvote the other.
    reach = np.float32(0.1 * max(one.shape))
    distance = signed_distance(one).clip(-reach, reach)
    other_distance = signed_distance(other).clip(-reach, reach)
    return weights[0] * distance + weights[1] * other_distance > 0


def _finish(
    frame: int,
    seen: Mapping[int, Seen],
    stated: Mapping[int, Mapping[int, Mask]],
    size: tuple[int, int],
) -> tuple[int, np.ndarray, Confidence]:
    """Return the labels of a frame at the size of the clip, those of a key frame as
    they were given."""
    labels = np.zeros(size[::-1], np.uint8)
    for label, (mask, _) in reversed(seen.items()):
        labels[_scaled(mask, size)] = label
    given = stated.get(frame, {})
    sure = {}
    for label in sorted(seen):
        sure[label] = 1.0 if label in given else round(seen[label].sure, 4)
    return frame, _stamped(labels, given), Confidence(sure)


def _stamped(labels: np.ndarray, given: Mapping[int, Mask]) -> np.ndarray:
    """Return labels with the given regions only in their masks; the earlier covers the
    later."""
    labels = np.where(np.isin(labels, [*given]), 0, labels).astype(np.uint8)
    for label, mask in reversed(given.items()):
        labels[mask] = label
    return labels


def _by_layers(
    frames: Iterator[tuple[int, np.ndarray]],
    stated: Mapping[int, Mapping[int, Mask]],
    refine: Refine | Literal["colors"] | None,
    method: FlowMethod,
) -> Iterator[_Followed]:
    """Follow masks in one direction; see `cut_track.follow`."""
    layers: dict[int, TrackedLayer] = {}
    ground: Background | None = None
    before: tuple[np.ndarray, np.ndarray] | None = None  # labels and picture
    sure: dict[int, float] = {}
    consistency = MaskConsistency()
    for frame, picture in frames:
        labels = np.zeros(picture.shape[:2], np.uint8)
        if before is not None and ground is not None:
            labels, sure = advance(
                layers,
                ground,
                *before,
                picture,
                method,
            )
        given = stated.get(frame, {})
        labels = _stamped(labels, given)
        _begin_layers(layers, picture, given, labels, refine)
        if given:
            ground = _new_ground(picture, labels, ground)
        before = (labels, picture)
        trust = consistency.see(picture, labels, frozenset(given))
        sure = _least(layers, sure, trust) | dict.fromkeys(given, 1.0)
        yield frame, labels, sure


def _least(
    labels: Iterable[int], sure: Mapping[int, float], trust: Mapping[int, float]
) -> dict[int, float]:
    """Return the lower of two confidences by label; 0 where the first is not known."""
    least = {}
    for label in labels:
        least[label] = min(sure.get(label, 0.0), trust[label])
    return least


def _begin_layers(
    layers: dict[int, TrackedLayer],
    picture: np.ndarray,
    given: Mapping[int, Mask],
    labels: np.ndarray,
    refine: Refine | Literal["colors"] | None,
) -> None:
    """Make the layers of the regions of a key frame, in place; `labels` are those of
    the frame."""
    for label, mask in given.items():
        seen = labels == label
        refiner = by_colors(picture, seen) if refine == "colors" else refine
        layers[label] = new_layer(
            picture,
            mask,
            seen,
            labels,
            refiner,
            layers.get(label),
        )


def _new_ground(
    picture: np.ndarray, labels: np.ndarray, before: Background | None
) -> Background:
    """Learn the background on a key frame; a region that begins there had been taken
    for background."""
    clear = clear_background(labels)
    palette = palette_of(picture, clear)
    if before is None:
        return Background(picture.astype(np.float32), clear, palette)
    return Background(before.look, clear & before.known, palette)


def _scaled(mask: Mask, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    if mask.shape[::-1] == tuple(size):
        return mask
    method = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), size, interpolation=method) > 0.5


def _read(
    clip: Clip, order: range, size: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield frames in order, read by window, since a video file cannot be read
    backwards one by one."""
    for first in range(0, len(order), _WINDOW):
        window = order[first : first + _WINDOW]
        low = min(window)
        frames = resize(clip.read(low, max(window) + 1), size)
        for index in window:
            yield index, np.ascontiguousarray(frames[index - low])
