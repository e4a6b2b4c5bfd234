"""The order in which a clip is edited: shots, their key frames, and windows of key
frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, pairwise

import numpy as np

from regrain.editing.media.clip import Clip, resize, within
from regrain.editing.media.lazy_frames import LazyRgb, Numbers, RgbFrames
from regrain.editing.params.written import KeyChoice
from regrain.editing.request.frame_subset import chosen
from regrain.editing.request.keyframes import choose_keyframes
from regrain.editing.storage.threads import each

# long side in pixels of the frames in which cuts are sought: the threshold was measured
# there
SCANNED = 192
LEAST_SHOT = 4  # frames of a shot that is found, so that a flash does not count as one
ANCHORS = 2  # key frames of earlier windows with which a window starts
_LAST_NEW = 3  # new key frames the last of these should have
_IN_LATENT = 4  # frames of a latent of video models, of which the first has one


@dataclass(frozen=True)
class Window:
    """Own key frames, rising, edited together with anchors, those of earlier windows;
    its shot, from 0."""

    keys: Numbers
    anchors: Numbers
    shot: int

    @property
    def numbers(self) -> Numbers:
        """All its frames."""
        return (*self.anchors, *self.keys)


@dataclass(frozen=True)
class Plan:
    """How a clip is edited: the first frame of each shot but the first, and the windows
    in their order."""

    frames: int
    cuts: Numbers
    windows: tuple[Window, ...]

    @cached_property
    def keys(self) -> Numbers:
        """All key frames."""
        return tuple(key for window in self.windows for key in window.keys)

    @cached_property
    def nearest(self) -> Numbers:
        """The place in `keys` of the key frame that is nearest to each frame, in its
        own shot."""
        places = []
        for start, stop in pairwise((0, *self.cuts, self.frames)):
            own = [place for place, key in enumerate(self.keys) if start <= key < stop]
            at = np.array([self.keys[place] for place in own])
            places += [
                own[int(np.abs(at - frame).argmin())] for frame in range(start, stop)
            ]
        return tuple(places)


def make_plan(
    cuts: Sequence[int],
    choice: KeyChoice,
    frames: LazyRgb,
    size: int,
    anchors: int = ANCHORS,
    overlap: int = 0,
) -> Plan:
    """Plan the edit of a clip.

    Args:
        cuts: The first frame of each shot but the first.
        choice: How key frames are chosen in every shot; its first and last frame are
            among them.
        frames: The clip, at any size; read only where key frames depend on it.
        size: Most frames of a window with its anchors, at least 3.
        anchors: Frames of the windows before that a window needs: 2 or 0.
        overlap: Frames before it, less than `size`, that are anchors instead.
    """
    windows: list[Window] = []
    shots = pairwise((0, *cuts, len(frames)))
    for number, (begin, end) in enumerate(shots):
        own = choice
        if choice.frames:
            inside = [frame for frame in choice.frames if begin <= frame < end]
            own = choice._replace(
                frames=tuple(frame - begin for frame in inside or [begin])
            )
        shot = chosen(frames, range(begin, end))
        keys = tuple(begin + key for key in choose_keyframes(own, shot))
        windows += windows_of(keys, size, anchors, overlap, number)
    return Plan(len(frames), tuple(cuts), tuple(windows))


def windows_of(
    keys: Sequence[int],
    size: int,
    anchors: int = ANCHORS,
    overlap: int = 0,
    shot: int = 0,
) -> list[Window]:
    """Return the windows of the key frames of a shot; arguments as for `make_plan`.

    Two anchors are the first key frame, and the last of the window before. The last
    window then takes key frames from the one before until it has 3 new ones, or as many
    as fit. Where memory decided on windows that are too small for the overlap, it is
    less.

    Source: the released code of Yang et al. 2024, arXiv:2403.12962.
    """
    if overlap >= size:
        overlap = 1 + (size // 2 - 1) // _IN_LATENT * _IN_LATENT
    new = size - (overlap or anchors)
    starts = [0, *range(size, len(keys), new)]
    if anchors and not overlap and len(starts) > 1:
        starts[-1] = min(starts[-1], len(keys) - min(_LAST_NEW, new))
    windows = []
    for start, stop in pairwise([*starts, len(keys)]):
        before: Sequence[int] = ()
        if start and overlap:
            before = keys[start - overlap : start]
        elif start:
            before = (keys[0], keys[start - 1])[:anchors]
        windows.append(Window(tuple(keys[start:stop]), tuple(before), shot))
    return windows


def scan(clip: Clip) -> Iterator[tuple[int, bool]]:
    """Look for cuts: yield each frame from 1 on, and whether a shot, of at least 4
    frames, begins with it."""
    # torch is slow to import
    from torch import get_num_threads

    from regrain.editing.motion.correspondence import is_cut

    size = within(clip.size, SCANNED)
    frames = len(clip)
    last = 0  # first frame of the present shot
    shown = (resize(clip.read(number, number + 1), size) for number in range(frames))
    pairs = enumerate(pairwise(shown), 1)

    def may_begin(pair: tuple[int, Sequence[RgbFrames]]) -> bool:
        number, both = pair
        possible = number - last >= LEAST_SHOT and frames - number >= LEAST_SHOT
        return possible and is_cut(*both)

    while some := [*islice(pairs, get_num_threads())]:
        for (number, _), begins in zip(some, each(may_begin, some), strict=True):
            begins = begins and number - last >= LEAST_SHOT
            if begins:
                last = number
            yield number, begins
