"""Boxes that keep the edited regions of a clip in view, one per frame: how they are
found, and how they are written.

A box has whole pixels of the clip, so that what was edited in it lands where it came
from. Within a shot all boxes have one size, since a box that changes its size shakes
what it shows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.lazy_frames import Size

CONTEXT = 0.25  # default: share of a region's longer side that is seen around it
MAX_CONTEXT = 4.0
LEAST_AROUND = 32  # pixels that are seen around a region at least
STILL = 1.5  # times the largest box of a frame, up to which one box holds a shot
MOST_OF_FRAME = 0.7  # share of the frame's area, from which a box is the frame
# Of `auto`: share of the frame's area below which a box pays, and how many times larger
# things in it must become.
AUTO_SHARE = 0.5
AUTO_GAIN = 1.5
# The longer side of a box over the shorter: what is long and thin is seen with more
# around it, since a narrow picture costs as much as a wide one and shows less.
MOST_ASPECT = 2.0
_WIDER = 1.02  # times, by which a box grows until it has a ratio that a model takes
_STEADY = 0.5  # seconds over which the way of a box is averaged
_MEDIAN = 5  # frames, so that two frames with a bad mask do not move a box
EXPECTED = (
    "auto, on, off or each, the share around it after them, like on 0.5, or boxes "
    "WIDTHxHEIGHT+LEFT+TOP"
)
MAX_WRITTEN = 200_000  # characters of boxes
_PLACE = r"\+\d{1,5}\+\d{1,5}"
_BOXES = re.compile(rf"(?:(\d{{1,7}}):)?(\d{{1,5}})x(\d{{1,5}})((?:{_PLACE})+)", re.A)
_KIND = re.compile(r"(auto|on|each)(?: (\d{1,3}(?:\.\d{1,6})?))?|off", re.A)

Boxes = Int[np.ndarray, "frames 4"]
"""Left, top, width and height of a box per frame, in pixels of the clip."""
Edges = Float[np.ndarray, "frames 4"]
"""Left, top, right and bottom edge per frame, in pixels; NaN where there is nothing."""


Fit = Callable[[int, int], Size]
"""Chooses the working size for frames of (width, height)."""
Series = Float[np.ndarray, "frames n"]
"""Values of each frame."""


class Focus(NamedTuple):
    """The focus asked for: auto, on, off, each or boxes, and the share seen around a
    region."""

    kind: str
    around: float = CONTEXT


def read_focus(text: str) -> Focus:
    """Read what was asked for; ValueError for anything else, of which boxes are read by
    `read_boxes`."""
    plain = " ".join(text.lower().split())
    match = _KIND.fullmatch(plain)
    if match:
        around = float(match[2]) if match[2] else CONTEXT
        if around > MAX_CONTEXT:
            raise ValueError(f"Expected a share of at most {MAX_CONTEXT:g}")
        return Focus(match[1] or "off", around)
    if not all(_BOXES.fullmatch(part.strip()) for part in text.split(",")):
        raise ValueError(f"Expected {EXPECTED}")
    return Focus("boxes")


def check_focus(text: str, frames: int, size: Size) -> None:
    """Refuse what `focus` does not take by a RequestError, also boxes outside a clip of
    so many frames of (width, height)."""
    if len(text) > MAX_WRITTEN:
        raise RequestError("focus", f"Use at most {MAX_WRITTEN} characters.")
    try:
        kind = read_focus(text).kind
    except ValueError as error:
        raise RequestError("focus", f"{error}, got {shorten(text)}.") from None
    if kind == "boxes":
        read_boxes(text, frames, size)


def read_boxes(text: str, frames: int, size: Size) -> Boxes:
    """Read boxes of a clip: `320x240+96+40`, several from a frame on `0:..., 24:...`,
    or with a place for each frame `320x240+96+40+97+40`.

    Raises:
        RequestError: A box is not in the frame, or there is not one for each frame.
    """
    parts = list(_BOXES.finditer(text))
    starts = [int(part[1] or 0) for part in parts]
    spans = list(pairwise([*starts, frames]))
    if starts[0] != 0 or any(start >= stop for start, stop in spans):
        raise RequestError(
            "focus",
            f"The boxes begin at frames {shorten(starts)} of a clip of {frames}. "
            "Begin at 0, and count upwards.",
        )
    boxes = np.zeros((frames, 4), np.int64)
    for part, (start, stop) in zip(parts, spans, strict=True):
        numbers = part[4].split("+")[1:]
        places = np.array(numbers, np.int64).reshape(-1, 2)
        if len(places) not in (1, stop - start):
            raise RequestError(
                "focus",
                f"There are {len(places)} places for {stop - start} frames from frame "
                f"{start} on. Give one, or one for each.",
            )
        boxes[start:stop, :2] = places
        boxes[start:stop, 2] = int(part[2])
        boxes[start:stop, 3] = int(part[3])
    sides = boxes[:, 2:]
    corners = boxes[:, :2] + sides
    outside = (sides < 1) | (corners > size)
    beyond = np.flatnonzero(outside.any(1))
    if len(beyond):
        raise RequestError(
            "focus",
            f"Box {write_boxes(boxes[beyond[0], None])} of frame {beyond[0]} is not inside "
            f"{size[0]}x{size[1]}. Move or shrink it.",
        )
    return boxes


def write_boxes(boxes: Boxes, cuts: Sequence[int] = ()) -> str:
    """Write boxes as `read_boxes` reads them, with a new part at each cut."""
    starts = sorted({0, *cuts, *_changes(boxes)})
    parts = []
    for start, stop in pairwise([*starts, len(boxes)]):
        _, _, width, height = boxes[start]
        places = boxes[start:stop, :2]
        if (places == places[0]).all():
            places = places[:1]
        text = "".join(f"+{left}+{top}" for left, top in places.tolist())
        before = f"{start}:" if start else ""
        parts.append(f"{before}{width}x{height}{text}")
    return ", ".join(parts)


def _changes(boxes: Boxes) -> list[int]:
    """Return the frames whose box has another size than the one before."""
    sizes = boxes[:, 2:]
    return (np.flatnonzero((sizes[1:] != sizes[:-1]).any(1)) + 1).tolist()


def check_sizes(boxes: Boxes, cuts: Sequence[int]) -> None:
    """Refuse boxes that change their size where no shot begins."""
    others = sorted(set(_changes(boxes)) - set(cuts))
    if others:
        raise RequestError(
            "focus",
            f"The box changes its size before frame {others[0]}, which no cut is. "
            "Give one size, or add the frame to cuts.",
        )


def find_boxes(
    edges: Edges,
    size: Size,
    cuts: Sequence[int],
    fps: float,
    focus: Focus,
    fit: Fit = lambda width, height: (width, height),
) -> Boxes:
    """Find the boxes that keep something in view, the whole frames where none pays.

    A shot has a still box where that is at most 1.5 times as large as the largest box
    of a frame, else one that follows. Where a box would be most of the frame, it is the
    frame.

    Args:
        edges: Of what is to be seen, without the share around it.
        size: (width, height) of the frames.
        cuts: First frames of all shots but the first.
        fps: Frames per second.
        focus: `auto` is stricter than the others about what pays.
        fit: The working size of a model for frames of (width, height): boxes get its
            ratio.
    """
    spans = list(pairwise((0, *cuts, len(edges))))
    views = [_view(edges[start:stop], fps) for start, stop in spans]
    wanted = [_wanted(view, size, focus) for view in views]
    known = [side for side in wanted if side]
    largest = max(known, key=math.prod, default=size)
    # all in the ratio of the largest or, where that does not fit, the frame's
    ratio = _fitting(largest, size, fit)
    sides = [_widened(side or largest, ratio) for side in wanted]
    if any(np.greater(side, size).any() for side in sides):
        sides = [_widened(side or largest, size) for side in wanted]
    width, height = size
    sides = [(min(w, width), min(h, height)) for w, h in sides]
    if all(_is_frame(side, size) for side in sides):
        sides = [size for _ in sides]
    boxes = np.empty((len(edges), 4), np.int64)
    for (start, stop), view, side in zip(spans, views, sides, strict=True):
        shot = boxes[start:stop]
        shot[:, :2] = _places(view, side, size, fps)
        shot[:, 2:] = side
    return boxes


def _is_frame(side: Size, size: Size) -> bool:
    return math.prod(side) > MOST_OF_FRAME * math.prod(size)


def _view(edges: Edges, fps: float) -> Edges | None:
    """Return the edges of what a box must show in each frame of a shot, the same for
    all if it stands still; None if there is nothing."""
    known = ~np.isnan(edges[:, 0])
    if not known.any():
        return None
    union = np.array([*edges[known, :2].min(0), *edges[known, 2:].max(0)])
    single = max(math.prod(part[2:] - part[:2]) for part in edges[known])
    if math.prod(union[2:] - union[:2]) <= STILL * single:
        return np.tile(union, (len(edges), 1))
    frames = np.arange(len(edges))
    filled = [np.interp(frames, frames[known], side) for side in edges[known].T]
    return median(np.stack(filled, 1))


def median(values: Series) -> Series:
    """Return the median of each value and its neighbours, five in all.

    Before the first and after the last they go on along a line, that of the medians of
    slope and height of the five values there.
    """
    if len(values) == 1:
        return values
    reach = _MEDIAN // 2
    before = _line(values, -np.arange(reach, 0, -1))
    after = _line(values[::-1], -np.arange(1, reach + 1))
    longer = np.concatenate([before, values, after])
    around = np.lib.stride_tricks.sliding_window_view(longer, _MEDIAN, 0)
    return np.median(around, -1)


def _line(
    values: Series, places: Int[np.ndarray, "places"]
) -> Float[np.ndarray, "places n"]:
    """Return where a line through the first values is at some places."""
    first = values[:_MEDIAN]
    slope = np.median(np.diff(first, axis=0), 0)
    height = np.median(first - slope * np.arange(len(first))[:, None], 0)
    return height + slope * places[:, None]


def smooth(values: Series, fps: float) -> Series:
    """Average values over half a second, under a cosine; at the ends they go on as they
    came."""
    reach = min(max(1, round(fps * _STEADY / 2)), len(values) - 1)
    if not reach:
        return values
    weights = np.hanning(2 * reach + 3)[1:-1]
    ends = ((reach, reach), (0, 0))
    longer = np.pad(values, ends, "reflect", reflect_type="odd")
    around = np.lib.stride_tricks.sliding_window_view(longer, 2 * reach + 1, 0)
    return around @ (weights / weights.sum())


def _wanted(view: Edges | None, size: Size, focus: Focus) -> Size | None:
    """Return the size of the box of a shot before it gets a ratio; the frame's if a box
    does not pay."""
    if view is None:
        return None
    shown = (view[:, 2:] - view[:, :2]).max(0)
    around = max(LEAST_AROUND, focus.around * float(shown.max()))
    sides = np.minimum(np.ceil(shown + 2 * around), size)
    least = np.minimum(math.ceil(sides.max() / MOST_ASPECT), size)
    width, height = np.maximum(sides, least).astype(int).tolist()
    return (width, height) if _pays((width, height), size, focus) else size


def _pays(side: Size, size: Size, focus: Focus) -> bool:
    """Tell whether a box of this size is worth it in a frame."""
    if focus.kind != "auto":
        return not _is_frame(side, size)
    is_small = math.prod(side) < AUTO_SHARE * math.prod(size)
    return is_small and min(size) >= AUTO_GAIN * min(side)


def _fitting(side: Size, size: Size, fit: Fit) -> Size:
    """Return the ratio of the working size of a box that is widened as little as its
    place in the frame allows."""
    while side != size:
        ratio = fit(*side)
        beyond = np.greater(_widened(side, ratio), size)
        if not beyond.any():
            return ratio
        # What is as long as the frame stays, and the other side grows.
        longer = [math.ceil(one * _WIDER) for one in side]
        width, height = np.where(beyond, side, np.minimum(longer, size)).tolist()
        if (width, height) == side:
            break
        side = width, height
    return size


def _widened(side: Size, ratio: Size) -> Size:
    """Return the least size that holds another and has a ratio, rounded up."""
    scale = max(side[0] / ratio[0], side[1] / ratio[1])
    return math.ceil(scale * ratio[0] - 1e-9), math.ceil(scale * ratio[1] - 1e-9)


def _places(
    view: Edges | None, side: Size, size: Size, fps: float
) -> Int[np.ndarray, "*frames 2"]:
    """Return the top left corners of the boxes of a shot, each inside the frame; one of
    all where there is nothing to see."""
    spare = np.array(size) - side
    if view is None:
        return spare // 2
    middle = smooth((view[:, :2] + view[:, 2:]) / 2, fps)
    corners = np.floor(middle - np.array(side) / 2 + 0.5)
    # However much the way was smoothed, what the box is there for is in it, with half
    # of what is seen around.
    around = (side - (view[:, 2:] - view[:, :2])).clip(0) / 4
    corners = np.maximum(corners, np.ceil(view[:, 2:] + around - side))
    corners = np.minimum(corners, np.floor(view[:, :2] - around))
    return corners.clip(0, spare).astype(np.int64)
