"""Some frames of a clip as a clip, and a request for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames

if TYPE_CHECKING:
    from regrain.editing.request.edit_request import EditRequest


class FrameSubset:
    """Some frames of a clip, rising, as a clip; see `editing.media.clip.Clip`."""

    def __init__(self, whole: Clip, numbers: Sequence[int]) -> None:
        self.whole, self.numbers = whole, tuple(numbers)
        # Real attributes: from Python 3.12 on, `isinstance` asks `__getattr__` no more.
        for name in Clip.__annotations__:
            setattr(self, name, getattr(whole, name))

    def __len__(self) -> int:
        return len(self.numbers)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        return read_some(self.whole.read, self.numbers[start:stop])


def pick(request: EditRequest, numbers: Sequence[int]) -> EditRequest:
    """The same request for some frames of its clip. Regions that none of them shows stay in it."""
    if len(numbers) == len(request.clip):
        return request
    whole, labels = request.labels, None
    if isinstance(whole, Labels):
        shape, read = (len(numbers), *whole.shape[1:]), whole.read
        some = LazyFrames(shape, np.uint8, lambda start, stop: read_some(read, numbers[start:stop]))
        labels = Labels(some, whole.present)  # which regions there are is known; nothing is read
    # Which masks a person drew is said of the frames of the whole clip.
    regions = tuple(replace(region, drawn=(), clicked=()) for region in request.regions)
    return replace(request, clip=FrameSubset(request.clip, numbers), labels=labels, regions=regions)


def read_some(read: Callable[[int, int], np.ndarray], numbers: Sequence[int]) -> np.ndarray:
    """Read frames by their numbers, neighbours at once."""
    if not numbers:
        return read(0, 0)
    starts = [i for i, number in enumerate(numbers) if not i or number != numbers[i - 1] + 1]
    stops = [*starts[1:], len(numbers)]
    return np.concatenate(
        [read(numbers[a], numbers[b - 1] + 1) for a, b in zip(starts, stops, strict=True)]
    )
