"""Where tracking lost a region or is in doubt about it, as stretches of frames and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Literal, NamedTuple

DOUBTFUL = 0.5  # confidence below which a frame is pointed out
LOST = 0.2  # below which next to nothing of the region is seen
_SMALL = 0.3  # of the region's area on its key frames: a smaller mask lowers the confidence
_SHOWN = 3  # stretches of a kind that are named


class UncertainSpan(NamedTuple):
    """Frames in a row on which a region is lost or doubtful; `to_end` if the last is that of the clip."""

    kind: Literal["lost", "doubtful"]
    first: int
    last: int
    to_end: bool


def judged(confidence: float, share: float) -> float:
    """Confidence in a mask, lowered if next to nothing is left of the region.

    A tracker may follow the last visible corner of what has gone behind something and be sure of that corner.

    Args:
        confidence: Of the tracker, 0..1.
        share: Area of the mask as a share of the region's mean area on its key frames.
    """
    return min(confidence, share / _SMALL)


def doubts(confidence: Mapping[int, float], count: int) -> list[UncertainSpan]:
    """The stretches of a region that need a look.

    Args:
        confidence: By frame, 0 (lost) to 1 (sure), of one region.
        count: Frames of the clip.
    """
    # Where frames are missing, frame - index jumps and a new stretch begins.
    items = [
        (frame - index, _kind(sure), frame) for index, (frame, sure) in enumerate(sorted(confidence.items()))
    ]
    found = []
    for (_, kind), group in groupby(items, key=lambda item: item[:2]):
        frames = [frame for *_, frame in group]
        if kind != "sure":
            found.append(UncertainSpan(kind, frames[0], frames[-1], frames[-1] == count - 1))
    return found


def in_words(found: Iterable[UncertainSpan], first: int = 0) -> str:
    """Say the stretches: "lost in frames 120-143 and 160, doubtful in frames 90-96".

    Args:
        found: From `doubts`.
        first: Number of the first frame as people count.

    Returns:
        What is lost comes first; of many stretches of a kind, the longest. Empty where there are none.
    """
    found = list(found)
    said = []
    for kind in ("lost", "doubtful"):
        of_kind = [doubt for doubt in found if doubt.kind == kind]
        if of_kind:
            said.append(f"{kind} {_frames(of_kind, first)}")
    return ", ".join(said)


def _kind(confidence: float) -> Literal["lost", "doubtful", "sure"]:
    return "lost" if confidence < LOST else "doubtful" if confidence < DOUBTFUL else "sure"


def _frames(found: list[UncertainSpan], first: int) -> str:
    """Frames for people: "from frame 9 to the end" if the only stretch goes on so far."""
    if len(found) == 1 and found[0].to_end and found[0].last > found[0].first:
        return f"from frame {found[0].first + first} to the end"
    longest = sorted(found, key=lambda doubt: doubt.first - doubt.last)[:_SHOWN]
    names = [
        f"{one.first + first}-{one.last + first}" if one.last > one.first else str(one.first + first)
        for one in sorted(longest, key=lambda doubt: doubt.first)
    ]
    if (rest := sum(one.last - one.first + 1 for one in found if one not in longest)) > 0:
        names.append(f"{rest} other{'s' if rest > 1 else ''}")
    single = len(found) == 1 and found[0].first == found[0].last
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"in frame{'' if single else 's'} {listed}"
