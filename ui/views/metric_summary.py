"""What the figures of a run mean, in words: what changed, what stayed, how steady, where words look.

What a figure means is taken from `benchmarks/README.md`: measured on the built-in model and drawn clips, the
only ones whose true edit is known. Nothing is said of what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regrain.editing.request.edit_request import EditRequest
from regrain.ui.views.views import View, capital

IDENTICAL = 99.0
"""dB; equal frames are reported as 100."""
KEPT = 25.0
"""dB to the source. The model alone leaves what it should keep at 24.2 to 27.8 (outside, before
compositing), so a region this near has changed no more than one that nobody touched."""
NEAR = 20.0
"""dB to the source. Methods without masks leave what surrounds a thing at 20.4 to 22.3: a change, but a
slight one."""
STEADY = 1.4
"""Times the source's own motion error. The steadiest edits measured, by tuned models from fresh noise, have
0.99 to 1.36."""
FLICKERS = 3.8
"""Times the source's own motion error. Frames edited each on its own have 4.4 to 4.8; the least steady row of
VideoGrain, with guidance 7, has 3.74."""
FOUND = 0.39
"""Attention of a region's pixels to its words. Under modulation every layer that was measured gives 0.39 to
1.00."""
LOST = 0.14
"""The same without modulation: 0.00 to 0.14, where 0.36 of the edits come out right."""
_REDRAWN = "No more than what the model redraws anyway. Try more guidance or other words."
Fact = tuple[str, str, bool]
_LEVEL = 1 / 255  # below the least difference of two pixels, a ratio of motion errors means nothing


def facts(metrics: Mapping[str, Any], request: EditRequest) -> list[View]:
    """Answers to whether it worked: a name, a word or two, a sentence, and whether there is doubt."""
    found = {
        "What changed": _changed(metrics, request),
        "What stayed": _stayed(metrics, request),
        "How steady": _steady(metrics),
        "Did words find their place?": _placed(metrics),
    }
    parts = ("value", "text", "doubt")
    return [
        {"name": name} | dict(zip(parts, fact, strict=True)) for name, fact in found.items() if fact
    ]


def figures(metrics: Mapping[str, Any], request: EditRequest) -> list[View]:
    """The figures behind the words."""
    rows = [
        ("Change of " + name, _decibels(value)) for name, value in _inside(metrics, request).items()
    ]
    for key, name, write in (
        ("outside_psnr", "Outside the regions", _decibels),
        ("outside_psnr_uncomposited", "Outside, without compositing", _decibels),
        ("warp_error", "Motion error", "{:.1%}".format),
        ("warp_error_source", "Motion error of the source", "{:.1%}".format),
    ):
        if metrics.get(key) is not None:
            rows.append((name, write(metrics[key]).replace("%", " %")))
    for name, entry in metrics.get("attention", {}).items():
        before, after = entry.get("inside_before"), entry.get("inside_after")
        if before is not None and after is not None:
            rows.append(
                (f"Attention inside {name}", f"{100 * before:.0f} %, guided {100 * after:.0f} %")
            )
    return [{"name": name, "value": value} for name, value in rows]


def _inside(metrics: Mapping[str, Any], request: EditRequest) -> dict[str, float]:
    """dB to the source by region, or of the whole frame."""
    regions = {k: v for k, v in metrics.get("inside_psnr_by_region", {}).items() if v is not None}
    whole = metrics.get("inside_psnr")
    return regions or ({} if whole is None or request.edited else {"the frame": whole})


def _changed(metrics: Mapping[str, Any], request: EditRequest) -> Fact | None:
    inside = _inside(metrics, request)
    if not inside:
        return None
    how = {name: _how_much(value) for name, value in inside.items()}
    hardly = [name for name, value in inside.items() if value >= KEPT]
    if len(inside) == 1:
        text = _REDRAWN if hardly else "Compared with the source, pixel by pixel."
        return capital(*how.values()), text, bool(hardly)
    text = capital("; ".join(f"{name}: {change}" for name, change in how.items())) + "."
    if not hardly:
        return "Both regions" if len(inside) == 2 else f"All {len(inside)} regions", text, False
    some = f"{len(inside) - len(hardly)} of {len(inside)} regions"
    return some if len(hardly) < len(inside) else "Hardly anything", text, True


def _how_much(psnr: float) -> str:
    return (
        "hardly changed"
        if psnr >= KEPT
        else "slightly changed"
        if psnr >= NEAR
        else "clearly changed"
    )


def _stayed(metrics: Mapping[str, Any], request: EditRequest) -> Fact | None:
    outside = metrics.get("outside_psnr")
    if outside is None:
        whole = (
            "No masks, so nothing was kept."
            if not request.edited
            else "The masks cover every pixel."
        )
        return ("Nothing", whole, False) if "outside_psnr" in metrics else None
    text = "Outside the regions, every pixel is the source’s"
    if outside >= IDENTICAL:
        return "Unchanged outside", f"{text}.", False
    return "Unchanged but for the edge", f"{text}, except for a soft edge.", False


def _steady(metrics: Mapping[str, Any]) -> Fact | None:
    error, own = metrics.get("warp_error"), metrics.get("warp_error_source")
    if error is None or own is None:
        return None
    times = max(error, _LEVEL) / max(own, _LEVEL)
    text = f"Its motion error is {times:.1f} times the source’s."
    if times <= FLICKERS:
        return "As steady as the source" if times <= STEADY else "Slightly unsteady", text, False
    return "Flickers", f"{text} Try less guidance, or a method that ties frames together.", True


def _placed(metrics: Mapping[str, Any]) -> Fact | None:
    """Whether the words of each region are looked at inside its mask."""
    shares = {
        name: (entry["inside_after"], entry.get("outside_after") or 0.0)
        for name, entry in metrics.get("attention", {}).items()
        if entry.get("inside_after") is not None
    }
    if not shares:
        return None
    lost = [name for name, (inside, outside) in shares.items() if inside < max(LOST, outside)]
    found = [name for name, (inside, _) in shares.items() if name not in lost and inside >= FOUND]
    text = "; ".join(f"{name} {100 * inside:.0f} %" for name, (inside, _) in shares.items())
    text = f"Share of each region’s attention on its own words: {text}."
    if lost:
        return "No: " + ", ".join(lost) if found else "No", text, True
    return ("Yes", text, False) if len(found) == len(shares) else ("Partly", text, True)


def _decibels(value: float) -> str:
    return "identical" if value >= IDENTICAL else f"{value:.1f} dB"
