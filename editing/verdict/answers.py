"""Answers about edits that were looked at, in words, and which is the better: the one
place that report, command line and page ask."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

Looked = dict[str, Any]
"""Content of a report, of an edit or one of its regions; see docs/command_line.md."""
_LONGEST = 60  # characters of words in a sentence
_WAYS = "try another seed, a larger margin, more steps"


def unseen(reader: str, why: str) -> Looked:
    """Return what is said of an edit at which nobody looked."""
    says = [f"Nobody looked at the result: {why}"]
    return {"reader": reader, "accuracy": None, "regions": [], "says": says}


def say(reader: str, regions: Sequence[Looked]) -> Looked:
    """Return what is said of an edit by its regions, the worst of them first."""
    if not regions:
        return unseen(reader, "no region has words")
    ordered = sorted(regions, key=lambda one: (one["there"] is None, *_place([one])))
    for one in ordered:
        one["says"] = _sentence(one)
    shares = [one["share"] for one in ordered if one["there"] is not None]
    return {
        "reader": reader,
        "accuracy": round(fmean(shares), 4) if shares else None,
        "regions": ordered,
        "says": [one["says"] for one in ordered],
    }


def lines(report: Mapping[str, Any]) -> list[str]:
    """Return all that was said of the edits of a run."""
    said = []
    for number, edit in enumerate(_edits(report), 1):
        start = f"edit {number}, " if number > 1 else ""
        said += [start + line for line in edit["says"]]
    return said


def tally(report: Mapping[str, Any]) -> str:
    """Say how many regions of a run are there; nothing if nobody looked."""
    seen = [one["there"] for one in _regions(report) if one["there"] is not None]
    return f"{sum(seen)} of {len(seen)} there" if seen else ""


def missing(report: Mapping[str, Any]) -> list[Looked]:
    """Return the regions of a run that were looked for and are not there."""
    return [one for one in _regions(report) if one["there"] is False]


def is_right(report: Mapping[str, Any]) -> bool:
    """Tell whether all that a run should show was seen there."""
    regions = _regions(report)
    return bool(regions) and all(one["there"] for one in regions)


def rank(report: Mapping[str, Any]) -> tuple[float, float]:
    """Return what the better of two runs has more of: the share of regions that are
    there, then the mean margin. Least of all has a run at which nobody looked."""
    return _place([one for one in _regions(report) if one["there"] is not None])


def _place(regions: Sequence[Looked]) -> tuple[float, float]:
    if not regions:
        return -1.0, 0.0
    margins = [one.get("margin", 0.0) for one in regions]
    return fmean(bool(one["there"]) for one in regions), fmean(margins)


def _regions(report: Mapping[str, Any]) -> list[Looked]:
    return [one for edit in _edits(report) for one in edit["regions"]]


def _edits(report: Mapping[str, Any]) -> Iterator[Looked]:
    """Yield what was seen of each edit; nothing of reports that are older."""
    for edit in (report, *report.get("others", ())):
        if "looked_at" in edit:
            yield edit["looked_at"]


def _sentence(one: Looked) -> str:
    """Say what was seen of a region."""
    start = f"{one['region']}: " if one["region"] else ""
    words = textwrap.shorten(one["words"], _LONGEST)
    if one["there"] is None:
        return f"{start}not looked at. Say what it is now, to tell {words} from that"
    total = len(one["frames"])
    own = one["nearest"].count(one["words"])
    if one["there"]:
        return f"{start}looks like {words} on {own} of {total} frames"
    seen = f"only just, on {own} of {total} frames"
    if one["instead"] and 2 * own <= total:
        count = one["nearest"].count(one["instead"])
        instead = textwrap.shorten(one["instead"], _LONGEST)
        seen = f"looks like {instead} on {count} of {total} frames"
    thing = re.sub(r"^an? (?=\w)", "the ", words)
    return f"{start}{thing} is not there ({seen}): {_WAYS}"
