"""Where tracking lost a region or is in doubt about it, as stretches of frames and in
words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

DOUBTFUL = 0.5  # confidence below which a frame is pointed out
LOST = 0.2  # below which next to nothing of the region is seen
# of the region's area on its key frames: a smaller mask lowers the confidence
_SMALL = 0.3
_SHOWN = 3  # stretches of a kind that are named


class UncertainSpan(NamedTuple):
    """Frames in a row on which a region is lost or doubtful; `to_end` if the last is
    that of the clip."""

    kind: Literal["lost", "doubtful"]
    first: int
    last: int
    to_end: bool

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


def judged(confidence: float, share: float) -> float:
    """Confidence in a mask, lowered if next to nothing is left of the region.

    A tracker may follow the last visible corner of what has gone behind something and
    be sure of that corner. `share` is the area of the mask as a share of the region's
    mean area on its key frames.
    """
    return min(confidence, share / _SMALL)


def doubts(confidence: Mapping[int, float], count: int) -> list[UncertainSpan]:
    """The stretches of a region that need a look, from its confidence by frame, 0
    (lost) to 1 (sure)."""
    spans: list[UncertainSpan] = []
    for frame, sure in sorted(confidence.items()):
        if sure >= DOUBTFUL:
            continue
        kind = "lost" if sure < LOST else "doubtful"
        to_end = frame == count - 1
        span = spans[-1] if spans else None
        if span is not None and span.kind == kind and span.last == frame - 1:
            spans[-1] = span._replace(last=frame, to_end=to_end)
        else:
            spans.append(UncertainSpan(kind, frame, frame, to_end))
    return spans


def in_words(spans: Sequence[UncertainSpan], first: int = 0) -> str:
    """Say the stretches: "lost in frames 120-143 and 160, doubtful in frames 90-96".

    What is lost comes first; of many stretches of a kind, the longest are named. Empty
    where there are none. `first` is the number of the first frame as people count.
    """
    said = []
    for kind in ("lost", "doubtful"):
        of_kind = [span for span in spans if span.kind == kind]
        if of_kind:
            said.append(f"{kind} {_frames(of_kind, first)}")
    return ", ".join(said)


def _frames(spans: list[UncertainSpan], first: int) -> str:
    """Say the frames of spans: "from frame 9 to the end" if the only one is long and
    reaches it."""
    if len(spans) == 1:
        (span,) = spans
        if span.first == span.last:
            return f"in frame {_named(span, first)}"
        if span.to_end:
            return f"from frame {span.first + first} to the end"
    # the longest in their order, and how many frames the others have
    longest = sorted(spans, key=lambda span: -span.length)[:_SHOWN]
    longest.sort(key=lambda span: span.first)
    parts = [_named(span, first) for span in longest]
    rest = sum(span.length for span in spans if span not in longest)
    if rest > 0:
        parts.append("1 other" if rest == 1 else f"{rest} others")
    if len(parts) == 1:
        return f"in frames {parts[0]}"
    *begun, last = parts
    return f"in frames {', '.join(begun)} and {last}"


def _named(span: UncertainSpan, first: int) -> str:
    if span.first == span.last:
        return str(span.first + first)
    return f"{span.first + first}-{span.last + first}"
