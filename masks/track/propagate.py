"""Track masks through a clip: from key frames both ways along optical flow, with one layer per region.

Flow moves a layer; colours decide which layer is in front and refine its edges. A layer remembers how it
looked when it was last clear of the others. While they touch, that memory moves as a whole to where it fits
the frame best: it bounds what the layer may claim, and hidden parts come back where memory expects them.
Between two key frames, both directions are blended.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
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
from regrain.masks.models.checkpoints import Checkpoint
from regrain.masks.models.finders import CUTS, find_tracker
from regrain.masks.track import cut_track
from regrain.masks.track.appearance import Background, TrackedLayer, clear_background, new_layer, palette_of
from regrain.masks.track.consistency import MaskConsistency
from regrain.masks.track.edges import Mask, Refine, by_colors
from regrain.masks.track.motion import advance

Keys = Mapping[int, np.ndarray | Mapping[int, np.ndarray]]
SHORT_SIDE = 480  # pixels worked on; larger frames are shrunk and their masks enlarged
_WINDOW = 16  # frames read at once
_Followed = tuple[int, UInt8[np.ndarray, "h w"], dict[int, float]]


class Confidence(float):
    """Confidence of a frame, the least of its regions: 0 is lost, 1 is sure.

    Attributes:
        regions: Confidence by label: how much of the whole object is visible and looks as before.
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

    Each frame comes once: from the first key frame to the end, then from there back to the start. A region
    follows the key frames that contain it, so regions may have their own key frames. To correct a frame, make
    it a key frame and call again; `start` and `stop` limit the work to what that changes, which
    `masks.track.corrections.plan` works out.

    Frames stream. Only between the first and the last key frame, the masks of one direction wait for those of
    the other; they are compressed to a few kilobytes per frame.

    Args:
        clip: Frames.
        keys: By frame, labels [height, width] (uint8, 0 = background) of all visible regions, or masks by
            label (bool [height, width]), which may be empty; the earlier covers the later.
        start: First frame to track.
        stop: Frame after the last; None is the end of the clip.
        refine: Returns a better mask, given a frame, a moved mask and the pixels of other regions. "colors"
            cuts by the region's colours in its key frame; None keeps the result of flow.
        flow: How motion is estimated; see `editing.motion.flow.estimate_flow`.
        tracker: "flow"; "cuts", for real clips, which moves masks, cuts them along edges, and does not find
            again what was hidden; or the name of a SAM 2 or SAM 3 in the folder `$REGRAIN_MODELS`, which
            follows masks with its own memory. `refine` and `flow` count for "flow" alone.

    Yields:
        Frame number, its labels, and the confidence. Key frames are unchanged.

    Raises:
        MaskError: There is no key frame, or one is outside the clip or has another size.
        ModelError: "raft" is chosen without weights, or the tracker is unknown or broken.
    """
    stop = len(clip) if stop is None else stop
    stated = _check(clip, keys, start, stop)
    if checkpoint := find_tracker(tracker).checkpoint:
        return _remembered(checkpoint, clip, stated, start, stop)
    follow = _by_cuts if tracker == CUTS else partial(_by_layers, refine=refine, method=flow)
    return _propagate(clip, stated, start, stop, follow)


def _remembered(
    checkpoint: Checkpoint, clip: Clip, stated: dict[int, dict[int, Mask]], start: int, stop: int
) -> Iterator[tuple[int, np.ndarray, Confidence]]:
    """Track with a network's memory; the module that does it imports torch."""
    from regrain.masks.track.sam2_track import track

    for frame, seen in track(checkpoint, clip, stated, start, stop):
        yield _finish(frame, dict(seen), stated, clip.size)


def _check(clip: Clip, keys: Keys, start: int, stop: int) -> dict[int, dict[int, Mask]]:
    width, height = clip.size
    if not keys:
        raise MaskError("keys", "No key frame is given. Give the labels of at least one frame.")
    stated: dict[int, dict[int, Mask]] = {}
    for frame, value in sorted(keys.items()):
        if not 0 <= frame < len(clip):
            raise MaskError("keys", f"Frame {frame} is outside the clip. Choose from 0 to {len(clip) - 1}.")
        masks = (
            value if isinstance(value, Mapping) else {n: value == n for n in np.unique(value).tolist() if n}
        )
        for mask in [value] if not isinstance(value, Mapping) else value.values():
            if np.shape(mask) != (height, width):
                given = f"{np.shape(mask)} for frame {frame}"
                raise MaskError("keys", f"Expected masks of shape {(height, width)}, got {given}.")
        if start <= frame < stop and masks:
            stated[frame] = {int(label): np.asarray(mask, bool) for label, mask in masks.items()}
    if not stated:
        raise MaskError("keys", f"No key frame from {start} to {stop - 1} has a region. Paint or click one.")
    return stated


def _propagate(
    clip: Clip,
    stated: dict[int, dict[int, Mask]],
    start: int,
    stop: int,
    by: Callable[..., Iterator[_Followed]],
) -> Iterator[tuple[int, np.ndarray, Confidence]]:
    scale = min(1.0, SHORT_SIDE / min(clip.size))
    size = (round(clip.size[0] * scale), round(clip.size[1] * scale))
    small = {
        frame: {label: _scaled(mask, size) for label, mask in masks.items()}
        for frame, masks in stated.items()
    }
    follow = partial(by, clip, stated=small, size=size)
    first, last = min(stated), max(stated)
    # Masks from later key frames are needed first, so they are kept, compressed; the rest streams.
    backwards = follow(range(last, start - 1, -1))
    later = {frame: (_packed(labels), sure) for frame, labels, sure in islice(backwards, last - first + 1)}
    for frame, labels, sure in follow(range(first, stop)):
        found = _masks(labels, sure)
        if last > first and frame in later:
            packed, certain = later.pop(frame)
            found = _blend(frame, stated, found, _masks(_unpacked(packed, size), certain))
        yield _finish(frame, found, stated, clip.size)
    for frame, labels, sure in backwards:
        yield _finish(frame, _masks(labels, sure), stated, clip.size)


def _masks(labels: np.ndarray, sure: dict[int, float]) -> dict[int, tuple[Mask, float]]:
    return {label: (labels == label, sure[label]) for label in sure}


def _packed(labels: np.ndarray) -> bytes:
    return zlib.compress(labels.tobytes(), 1)


def _unpacked(packed: bytes, size: tuple[int, int]) -> np.ndarray:
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(size[::-1])


def _blend(
    frame: int,
    stated: dict[int, dict[int, Mask]],
    earlier: dict[int, tuple[Mask, float]],
    later: dict[int, tuple[Mask, float]],
) -> dict[int, tuple[Mask, float]]:
    """Blend the masks of both directions, weighted by nearness of the key frame and by confidence."""
    blended = {}
    for label in [*earlier, *(label for label in later if label not in earlier)]:
        if label not in later or label not in earlier:
            blended[label] = earlier[label] if label in earlier else later[label]
            continue
        times = [key for key, masks in stated.items() if label in masks]
        before = frame - max((key for key in times if key <= frame), default=frame)
        after = min((key for key in times if key >= frame), default=frame) - frame
        (mask, certainty), (other, other_certainty) = earlier[label], later[label]
        weights = np.array([(after + 1e-6) * (certainty + 0.05), (before + 1e-6) * (other_certainty + 0.05)])
        weights /= weights.sum()
        reach = np.float32(0.1 * max(mask.shape))  # what one way has lost must not outvote the other
        two = [signed_distance(m).clip(-reach, reach) for m in (mask, other)]
        blended[label] = weights[0] * two[0] + weights[1] * two[1] > 0, max(certainty, other_certainty)
    return blended


def _finish(
    frame: int, found: dict[int, tuple[Mask, float]], stated: dict, size: tuple[int, int]
) -> tuple[int, np.ndarray, Confidence]:
    labels = np.zeros(size[::-1], np.uint8)
    for label, (mask, _) in reversed(found.items()):
        labels[_scaled(mask, size)] = label
    given = stated.get(frame, {})
    for label, mask in reversed(given.items()):
        labels[labels == label] = 0
        labels[mask] = label
    sure = {label: 1.0 if label in given else certainty for label, (_, certainty) in found.items()}
    return frame, labels, Confidence({label: round(sure[label], 4) for label in sorted(sure)})


def _by_cuts(
    clip: Clip, order: range, stated: dict[int, dict[int, Mask]], size: tuple[int, int]
) -> Iterator[_Followed]:
    return cut_track.follow(_read(clip, order, size), stated)


def _by_layers(
    clip: Clip,
    order: range,
    stated: dict[int, dict[int, Mask]],
    size: tuple[int, int],
    refine: Refine | Literal["colors"] | None,
    method: FlowMethod,
) -> Iterator[_Followed]:
    """Track in one direction: visible labels, and the confidence of each region."""
    layers: dict[int, TrackedLayer] = {}
    labels, image, ground, sure, witness = np.zeros(size[::-1], np.uint8), None, None, {}, MaskConsistency()
    for frame, picture in _read(clip, order, size):
        if image is not None and ground is not None:
            labels, sure = advance(layers, ground, labels, image, picture, method)
        given = stated.get(frame, {})
        for label, mask in reversed(given.items()):
            labels = np.where(labels == label, 0, labels).astype(np.uint8)
            labels[mask] = label
        for label, mask in given.items():
            ask = by_colors(picture, labels == label) if refine == "colors" else refine
            layers[label] = new_layer(picture, mask, labels == label, labels, ask, layers.get(label))
        if given:  # a region that starts here had been taken for background before
            clear = clear_background(labels)
            known = clear if ground is None else clear & ground.known
            look = picture.astype(np.float32) if ground is None else ground.look
            ground = Background(look, known, palette_of(picture, clear))
        image = picture
        believed = witness.see(picture, labels, frozenset(given))
        sure = {n: min(sure.get(n, 0.0), believed[n]) if n not in given else 1.0 for n in layers}
        yield frame, labels, sure


def _scaled(mask: Mask, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    if mask.shape[::-1] == tuple(size):
        return mask
    method = cv2.INTER_AREA if size[0] < mask.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(mask.astype(np.float32), size, interpolation=method) > 0.5


def _read(clip: Clip, order: range, size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Frames in order, read by window, since a video file cannot be read backwards one by one."""
    for first in range(0, len(order), _WINDOW):
        window = order[first : first + _WINDOW]
        low = min(window)
        frames = resize(clip.read(low, max(window) + 1), size)
        for index in window:
            yield index, np.ascontiguousarray(frames[index - low])
