"""Some frames of a clip as a clip, and a request for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import (
    LazyFrames,
    LazyRgb,
    frames_of,
    read_some,
)
from regrain.editing.request.boxes import read_boxes, read_focus, write_boxes
from regrain.editing.request.edit_request import EditRequest


class DerivedClip:
    """A clip whose frames are made of those of another; see `editing.media.clip.Clip`."""

    def __init__(self, whole: Clip, frames: LazyRgb) -> None:
        # Real attributes: from Python 3.12 on, `isinstance` asks `__getattr__` no more.
        for name in Clip.__annotations__:
            setattr(self, name, getattr(whole, name))
        self.size = frames.shape[2], frames.shape[1]
        self.read = frames.read
        self._count = len(frames)

    def __len__(self) -> int:
        return self._count


def pick(request: EditRequest, numbers: Sequence[int]) -> EditRequest:
    """Return the request for some frames of its clip. Regions that none of them shows
    stay in it."""
    if len(numbers) == len(request.clip):
        return request
    clip = DerivedClip(request.clip, chosen(frames_of(request.clip), numbers))
    labels = request.labels
    if isinstance(labels, Labels):
        # which regions there are is known; nothing is read
        labels = Labels(chosen(labels, numbers), labels.present)
    # Which masks a person drew is said of the frames of the whole clip.
    regions = tuple(replace(region, drawn=(), clicked=()) for region in request.regions)
    focus = request.focus
    if read_focus(focus).kind == "boxes":
        boxes = read_boxes(focus, len(request.clip), request.clip.size)
        focus = write_boxes(boxes[list(numbers)])
    picked = replace(
        request,
        clip=clip,
        labels=labels,
        regions=regions,
        focus=focus,
    )
    # found once for all that read the same frames
    vars(picked)["areas"] = chosen(request.areas, numbers)
    return picked


def chosen(frames: LazyFrames, numbers: Sequence[int]) -> LazyFrames:
    """Return frames by their numbers, read when they are needed."""
    return LazyFrames(
        (len(numbers), *frames.shape[1:]),
        np.uint8,
        lambda start, stop: read_some(frames.read, numbers[start:stop]),
    )
