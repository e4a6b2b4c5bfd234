"""The figures of a run in words: what is there, what stayed, how steady.

The meaning of a figure is taken from `benchmarks/README.md`: measured on the built-in
model and drawn clips, the only ones whose true edit is known. Nothing is said of what
was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import called
from regrain.editing.verdict.answers import Report, fewest, lines, rank, seen, tally
from regrain.ui.views.shown import FactView, Figure
from regrain.ui.work.wording import capital

IS_THERE = "Is it there?"
IDENTICAL = 99.0
"""dB; equal frames are reported as 100."""
STEADY = 1.4
"""Times the source's own motion error. The steadiest edits measured, by tuned models
from fresh noise, have 0.99 to 1.36."""
FLICKERS = 3.8
"""Times the source's own motion error. Frames edited each on its own have 4.4 to 4.8;
the least steady row of VideoGrain, with guidance 7, has 3.74."""
_BY_REGION = ("inside_psnr_by_region", "attention")
Fact = tuple[str, str, bool]
Metrics = Mapping[str, Any]  # of a report
# below the least difference of two pixels, a ratio of motion errors means nothing
_LEVEL = 1 / 255


def facts(report: Report, request: EditRequest) -> list[FactView]:
    """Say whether the edit worked: each answer has a name, a word or two, a sentence,
    and maybe doubt."""
    metrics = report.get("metrics", {})
    found = {
        IS_THERE: _there(report),
        "What stayed": _stayed(metrics, request),
        "How steady": _steady(metrics),
    }
    return [FactView(name, *fact) for name, fact in found.items() if fact]


def _there(report: Report) -> Fact | None:
    """Say what was seen; nothing where nobody was to look."""
    said = lines(report)
    if not said or not report["looked_at"]["reader"]:
        return None
    text = f"{'. '.join(map(capital, said))}."
    there = seen(report)
    if False in there:
        return f"No: {tally(report)}", text, True
    if None in there or not there:
        return "Not known" if rank(report)[0] >= 0 else "Not checked", text, False
    own, total = fewest(report)
    return "Yes" if own == total else f"On {own} of {total} frames", text, False


def figures(metrics: Metrics, request: EditRequest) -> list[Figure]:
    """List the figures behind the words."""
    metrics = _named(metrics, request)
    found = []
    for name, value in _inside(metrics, request).items():
        found.append(Figure(f"Change of {name}", _decibels(value)))
    for key, name, write in _FIGURES:
        value = metrics.get(key)
        if value is not None:
            found.append(Figure(name, write(value)))
    for name, entry in metrics.get("attention", {}).items():
        before = entry.get("inside_before")
        after = entry.get("inside_after")
        if before is not None and after is not None:
            text = f"{100 * before:.0f} %, guided {100 * after:.0f} %"
            found.append(Figure(f"Attention inside {name}", text))
    return found


def _named(metrics: Metrics, request: EditRequest) -> Metrics:
    """Return the figures with regions by what they are called."""
    names = called(request.regions)
    named = {
        key: {names.get(name, name): value for name, value in metrics[key].items()}
        for key in _BY_REGION
        if key in metrics
    }
    return {**metrics, **named}


def _inside(metrics: Metrics, request: EditRequest) -> dict[str, float]:
    """Return the dB to the source by region, or of the whole frame."""
    measured = metrics.get("inside_psnr_by_region", {})
    regions = {name: value for name, value in measured.items() if value is not None}
    if regions:
        return regions
    whole = metrics.get("inside_psnr")
    return {} if whole is None or request.edited else {"the frame": whole}


def _stayed(metrics: Metrics, request: EditRequest) -> Fact | None:
    if "outside_psnr" not in metrics:
        return None
    outside = metrics["outside_psnr"]
    if outside is None:
        why = "No masks, so nothing was kept."
        if request.edited:
            why = "The masks cover every pixel."
        return "Nothing", why, False
    text = "Outside the regions, every pixel is the source’s"
    if outside >= IDENTICAL:
        return "Unchanged outside", f"{text}.", False
    return "Unchanged but for the edge", f"{text}, except for a soft edge.", False


def _steady(metrics: Metrics) -> Fact | None:
    error = metrics.get("warp_error")
    own = metrics.get("warp_error_source")
    if error is None or own is None:
        return None
    times = max(error, _LEVEL) / max(own, _LEVEL)
    text = f"Its motion error is {times:.1f} times the source’s."
    if times <= STEADY:
        return "As steady as the source", text, False
    if times <= FLICKERS:
        return "Slightly unsteady", text, False
    return (
        "Flickers",
        f"{text} Try less guidance, or a method that ties frames together.",
        True,
    )


def _decibels(value: float) -> str:
    return "identical" if value >= IDENTICAL else f"{value:.1f} dB"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


_FIGURES = (
    ("outside_psnr", "Outside the regions", _decibels),
    ("outside_psnr_uncomposited", "Outside, without compositing", _decibels),
    ("warp_error", "Motion error", _percent),
    ("warp_error_source", "Motion error of the source", _percent),
)
