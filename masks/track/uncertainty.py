"""Where tracking lost a region or is in doubt about it, as stretches of frames and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    `share` is the area of the mask as a share of the region's mean area on its key frames.
    """
    return min(confidence, share / _SMALL)


def doubts(confidence: Mapping[int, float], count: int) -> list[UncertainSpan]:
    """The stretches of a region that need a look, from its confidence by frame, 0 (lost) to 1 (sure)."""
    spans: list[UncertainSpan] = []
    for frame, sure in sorted(confidence.items()):
        if sure >= DOUBTFUL:
            continue
        kind, at_end = "lost" if sure < LOST else "doubtful", frame == count - 1
        if spans and spans[-1].kind == kind and spans[-1].last == frame - 1:
            spans[-1] = spans[-1]._replace(last=frame, to_end=at_end)
        else:
            spans.append(UncertainSpan(kind, frame, frame, at_end))
    return spans


def in_words(spans: Iterable[UncertainSpan], first: int = 0) -> str:
    """Say the stretches: "lost in frames 120-143 and 160, doubtful in frames 90-96".

    What is lost comes first; of many stretches of a kind, the longest are named. Empty where there are none.
    `first` is the number of the first frame as people count.
    """
    spans = list(spans)
    kinds = {kind: [span for span in spans if span.kind == kind] for kind in ("lost", "doubtful")}
    return ", ".join(
        f"{kind} {_frames(of_kind, first)}" for kind, of_kind in kinds.items() if of_kind
    )


def _frames(spans: list[UncertainSpan], first: int) -> str:
    """Frames for people: "from frame 9 to the end" if the only stretch goes on so far."""
    if len(spans) == 1 and spans[0].to_end and spans[0].last > spans[0].first:
        return f"from frame {spans[0].first + first} to the end"
    longest = sorted(spans, key=lambda span: span.first - span.last)[:_SHOWN]
    names = [
        f"{span.first + first}-{span.last + first}"
        if span.last > span.first
        else str(span.first + first)
        for span in sorted(longest, key=lambda span: span.first)
    ]
    if (rest := sum(span.last - span.first + 1 for span in spans if span not in longest)) > 0:
        names.append(f"{rest} other{'s' if rest > 1 else ''}")
    single = len(spans) == 1 and spans[0].first == spans[0].last
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"in frame{'' if single else 's'} {listed}"
