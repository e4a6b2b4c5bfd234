"""Follow masks through a clip with the memory of a published SAM 2 or SAM 3.

The network is shown every key frame first, then it goes forwards from the first one
and, in a session of its own, backwards: a correction given to a session that has
tracked already would be overwritten. A session holds what the network may still look
at, so memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from regrain.editing.media.clip import Clip
from regrain.editing.media.lazy_frames import Size
from regrain.masks.draw import pack, unpack
from regrain.masks.models.checkpoints import Checkpoint, Network, load
from regrain.masks.models.cost import timing
from regrain.masks.track.corrections import Stated

_WINDOW = 16  # frames read at once: a video file cannot be read backwards one by one
# logits: a mask that changes much between these two thresholds is a guess
_STABLE = 1.0


class Seen(NamedTuple):
    """A region on a frame: bool [height, width], and 0 (lost) to 1 (sure)."""

    mask: np.ndarray
    sure: float


Seens = dict[int, Seen]
"""Regions on a frame, by label."""
Tracked = Iterator[tuple[int, Seens]]
"""Frames, and the regions on each."""


def track(
    checkpoint: Checkpoint,
    clip: Clip,
    stated: Stated,
    start: int,
    stop: int,
) -> Tracked:
    """Carry masks from key frames to the frames `start` to `stop` - 1.

    `stated` has masks by key frame and label; an empty one says that the region is not
    there.

    Yields:
        Frame number and what is seen of each region: from the first key frame to the
        end, then from there back to the start. Before its own first key frame a region
        is followed backwards from there.

    Raises:
        ModelError: The checkpoint cannot track, or is broken.
    """
    network = load(checkpoint, "tracking")
    first_keys: dict[int, int] = {}
    for frame, masks in sorted(stated.items()):
        for label in masks:
            first_keys.setdefault(label, frame)
    first = min(first_keys.values())
    turn = max(first_keys.values())
    walk = partial(
        _walk,
        checkpoint,
        network,
        clip,
        stated,
    )
    with closing(walk(range(turn - 1, start - 1, -1), reverse=True)) as backwards:
        # Regions that begin later are needed while the clip goes forwards; they are
        # kept, compressed.
        early = {}
        for frame, seen in islice(backwards, turn - first):
            begin_later = {n: one for n, one in seen.items() if frame < first_keys[n]}
            early[frame] = packed(begin_later)
        with closing(walk(range(first, stop), reverse=False)) as forwards:
            for frame, seen in forwards:
                yield frame, seen | unpacked(early.pop(frame, {}), clip.size)
        yield from backwards


class _Pictures:
    """The clip as the network sees it, read when it looks: frame by frame, in windows
    that are not kept."""

    def __init__(self, clip: Clip, network: Network) -> None:
        self._clip = clip
        self._network = network
        self._first = -1  # frame of `_window`
        self._window = np.empty(0)

    def __len__(self) -> int:
        return len(self._clip)

    def __getitem__(self, frame: int) -> Any:
        first = frame - frame % _WINDOW
        if first != self._first:
            self._window = self._clip.read(first, min(first + _WINDOW, len(self._clip)))
            self._first = first
        picture = self._window[frame - first][None]
        seen = self._network.processor.video_processor(
            videos=[picture], return_tensors="pt"
        )
        return seen["pixel_values_videos"][0][0]


def _walk(
    checkpoint: Checkpoint,
    network: Network,
    clip: Clip,
    stated: Stated,
    order: range,
    reverse: bool,
) -> Tracked:
    """Track in one direction in a session of its own."""
    if not order:
        return
    session = _begin(network, clip, stated)
    for frame in order:
        with timing(checkpoint, "frame"):
            seen = _step(network, session, frame, reverse)
        yield frame, seen
        _forget(network, session, frame)


def _begin(network: Network, clip: Clip, stated: Stated) -> Any:
    """Make a session and show it all key frames."""
    import torch

    model, processor = network
    session = processor.init_video_session(
        inference_device=model.device, dtype=torch.float32
    )
    session.video_width, session.video_height = clip.size
    session.processed_frames = _Pictures(clip, network)
    # Of regions that lie over each other on no key frame, the surer one has the pixels
    # that two claim.
    covers = [
        np.sum([*masks.values()], axis=0, dtype=np.uint8) for masks in stated.values()
    ]
    session.apart = all(cover.max() <= 1 for cover in covers)
    for frame, masks in stated.items():
        # All regions of a frame at once: of those given one by one only the last would
        # count as new.
        arrays = [np.ascontiguousarray(mask) for mask in masks.values()]
        processor.add_inputs_to_inference_session(
            session, frame, list(masks), input_masks=arrays
        )
        with torch.inference_mode():
            model(session, frame_idx=frame)
    for number in map(session.obj_id_to_idx, session.obj_ids):
        # Regions of other key frames were tracked on this one, from far away: that must
        # not be remembered.
        session.output_dict_per_obj[number]["non_cond_frame_outputs"].clear()
        session.frames_tracked_per_obj[number].clear()
    return session


def _step(network: Network, session: Any, frame: int, reverse: bool) -> Seens:
    import torch

    with torch.inference_mode():
        answer = network.model(session, frame_idx=frame, reverse=reverse)
        masks_of_videos = network.processor.post_process_masks(
            [answer.pred_masks.float()],
            [[session.video_height, session.video_width]],
            binarize=False,
            apply_non_overlapping_constraints=session.apart,
        )
        logits = masks_of_videos[0][:, 0].cpu().numpy()
        present = answer.object_score_logits.float().sigmoid().flatten().tolist()
    found = {}
    for label, logit, sure in zip(answer.object_ids, logits, present, strict=True):
        wide = (logit > -_STABLE).sum()
        narrow = (logit > _STABLE).sum()
        if wide:
            sure = sure * float(narrow / wide)
        found[label] = Seen(logit > 0, sure)
    return found


def _forget(network: Network, session: Any, frame: int) -> None:
    """Drop the memory of frames that are too far back for later ones to look at."""
    config = network.model.config
    reach = max(config.num_maskmem, config.max_object_pointers_in_encoder)
    outputs = [
        one["non_cond_frame_outputs"] for one in session.output_dict_per_obj.values()
    ]
    for kept in (*outputs, *session.frames_tracked_per_obj.values()):
        too_far = [other for other in kept if abs(other - frame) >= reach]
        for old in too_far:
            del kept[old]


def packed(seen: Mapping[int, Seen]) -> dict[int, tuple[bytes, float]]:
    """Compress the masks of regions."""
    return {label: (pack(mask), sure) for label, (mask, sure) in seen.items()}


def unpacked(kept: Mapping[int, tuple[bytes, float]], size: Size) -> Seens:
    """Return the regions that `packed` compressed; `size` is (width, height)."""
    return {
        label: Seen(unpack(data, size), sure) for label, (data, sure) in kept.items()
    }
