"""Answers about edits that were looked at, in words, and which is the better: the one
place that report, command line and page ask."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from regrain.editing.storage.texts import Json

Looked = Json
"""Content of a report, of an edit or one of its regions; see docs/command_line.md."""
Report = Mapping[str, Any]
_LONGEST = 60  # characters of words in a sentence
_WAYS = "try another seed, a larger margin, more steps"


def unseen(reader: str, why: str) -> Looked:
    """Return what is said of an edit at which nobody looked."""
    says = [f"Nobody looked at the result: {why}"]
    return {"reader": reader, "accuracy": None, "regions": [], "says": says}


def say(reader: str, regions: Sequence[Looked]) -> Looked:
    """Return what is said of an edit by its regions, the worst of them first; nothing
    without any."""
    ordered = sorted(regions, key=_place)
    for one in ordered:
        one["says"] = _sentence(one)
    shares = [one["share"] for one in ordered if "share" in one]
    return {
        "reader": reader,
        "accuracy": round(fmean(shares), 4) if shares else None,
        "regions": ordered,
        "says": [one["says"] for one in ordered],
    }


def lines(report: Report) -> list[str]:
    """Return all that was said of the edits of a run."""
    said = []
    for number, edit in enumerate(_edits(report), 1):
        start = f"edit {number}, " if number > 1 else ""
        said += [start + line for line in edit["says"]]
    return said


def told(report: Report) -> list[str]:
    """Return what was said of the regions of the first edit that were looked at."""
    looked = [one for edit in _edits(report)[:1] for one in edit["regions"]]
    return [one["says"] for one in looked if "share" in one]


def tally(report: Report) -> str:
    """Say how many regions of a run are there; nothing if nobody looked."""
    there = [one for one in seen(report) if one is not None]
    return f"{sum(there)} of {len(there)} there" if there else ""


def seen(report: Report) -> list[bool | None]:
    """Return of each region of each edit whether it is there; None if nobody can
    tell."""
    return [one["there"] for one in _regions(report)]


def fewest(report: Report) -> tuple[int, int]:
    """Return on how many frames of how many the region is there that is seen least; all
    were looked at."""
    least = min(_regions(report), key=lambda one: one["share"])
    return _counted(least)


def rank(report: Report) -> tuple[float, float]:
    """Return what the better of two runs has more of: the share of regions that are
    there, then the mean margin. Least of all has a run at which nobody looked."""
    told = [_place(one) for one in _regions(report) if "share" in one]
    shares, margins = zip(*told, strict=True) if told else ([-1.0], [0.0])
    return fmean(shares), fmean(margins)


def _place(one: Looked) -> tuple[float, float]:
    there = one["there"]
    return 0.5 if there is None else float(there), one.get("margin", 0.0)


def _edits(report: Report) -> list[Looked]:
    """Return what was seen of each edit; nothing of reports that are older."""
    edits = (report, *report.get("others", ()))
    return [edit["looked_at"] for edit in edits if "looked_at" in edit]


def _regions(report: Report) -> list[Looked]:
    """Return what was seen of each region of each edit."""
    return [one for edit in _edits(report) for one in edit["regions"]]


def _counted(one: Looked) -> tuple[int, int]:
    """Return on how many frames a region looks as it should, and how many there are."""
    return one["nearest"].count(one["words"]), len(one["frames"])


def _sentence(one: Looked) -> str:
    """Say what was seen of a region."""
    start = f"{one['region']}: " if one["region"] else ""
    if "share" not in one:
        return f"{start}not checked. Say what it was"
    own, total = _counted(one)
    words = _short(one["words"], one)
    looks = f"{start}looks like {words}{_frames(own, total)}"
    if one["there"] is not False:
        return looks if one["there"] else f"{looks}, but only just: look yourself"
    seen = f"{words} on {own} of {total} frames alone"
    if one["instead"] and 2 * own <= total:
        count = one["nearest"].count(one["instead"])
        seen = f"looks like {_short(one['instead'], one)}{_frames(count, total)}"
    elif one.get("mush"):
        seen = "what is drawn is not clear"
    thing = re.sub(r"^an? (?=\w)", "the ", words)
    return f"{start}{thing} is not there ({seen}): {_WAYS}"


def _frames(count: int, total: int) -> str:
    """Say on how many frames something was seen; of a single frame nothing."""
    return f" on {count} of {total} frames" if total > 1 else ""


def _short(words: str, one: Looked) -> str:
    """Return words for a sentence: of the whole frame a quotation."""
    thing = re.sub("^(in|on|at) ", "", words)
    short = textwrap.shorten(thing, _LONGEST)
    return short if one["region"] else f"“{short}”"
