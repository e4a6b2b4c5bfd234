"""What the page's components show, as values that JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from editing.events import EditResult, Preview, Progress, Stage
from editing.request import EditRequest, Region
from ui.examples import Example
from ui.pictures import data_url, heat

View = dict[str, Any]
STAGES = {
    "loading": "Load model",
    "inverting": "Invert clip",
    "editing": "Edit",
    "decoding": "Decode",
    "measuring": "Measure",
    "saving": "Save",
}
_DOING = {
    "loading": "Loading the model",
    "inverting": "Inverting the clip",
    "editing": "Editing",
    "decoding": "Decoding frames",
    "measuring": "Measuring the result",
    "saving": "Writing the video",
}
_SHOWN = 8  # frames in a strip
_IDENTICAL = 99.0  # dB; equal frames are reported as 100


def gallery(examples: Mapping[str, Example], chosen: str | None) -> View:
    """The examples as pictures."""
    return {
        "chosen": chosen,
        "items": [
            {
                "name": example.name,
                "title": example.title,
                "picture": example.thumbnail,
                "changes": [
                    {"label": r.label, "color": r.color, "source": r.source or r.name, "prompt": r.prompt}
                    for r in example.request.regions
                ],
            }
            for example in examples.values()
        ],
    }


def player(example: Example, edited: str | None = None) -> View:
    """The source clip, and the edit beside it."""
    clip = example.request.clip
    return {
        "source": str(example.source),
        "tinted": str(example.tinted) if example.tinted else None,
        "edited": edited,
        "width": clip.size[0],
        "height": clip.size[1],
        "frames": len(clip),
        "fps": float(clip.fps),
    }


def cards(example: Example) -> View:
    """One card per region."""
    return {
        "example": example.name,
        "regions": [
            {
                "label": region.label,
                "name": region.name,
                "color": region.color,
                "source": region.source,
                "prompt": region.prompt,
            }
            for region in example.request.regions
        ],
    }


def prompt(request: EditRequest) -> View:
    """The composed prompt in pieces; a region's own words carry its label and colour."""
    text, spans = request.composed
    colors = {region.label: region.color for region in request.regions}
    places = sorted((span, label) for label, span in spans.items() if span)
    parts, done = [], 0
    for (start, stop), label in places:
        parts += [
            {"text": text[done:start]},
            {"text": text[start:stop], "label": label, "color": colors[label]},
        ]
        done = stop
    parts.append({"text": text[done:]})
    return {"parts": [part for part in parts if part["text"]]}


def waiting() -> View:
    """A run was asked for and has not begun."""
    return {"state": "running", "text": "Waiting for its turn", "detail": "", "stages": _stages(None, 0)}


def progress(event: Stage | Progress) -> View:
    """How far a run is."""
    if isinstance(event, Stage):
        return _running(event.name, 0.0, "")
    detail = f"step {event.done} of {event.total}" if event.total > 1 else ""
    if event.seconds_left is not None and event.done < event.total:
        detail += f"{', ' if detail else ''}about {_duration(event.seconds_left)} left"
    return _running(event.stage, event.done / max(event.total, 1), detail)


def stopped(last: object) -> View:
    """A run was stopped where `last`, the progress shown, says."""
    where = ""
    if isinstance(last, dict) and last.get("detail"):
        where = f" at {str(last['detail']).split(',')[0]}"
    return {"state": "stopped", "text": f"Stopped{where}. Nothing was saved.", "detail": "", "stages": []}


def failed(field: str, message: str) -> View:
    """A run failed; the field says what to change: `regions.left.prompt` is shown as `left: prompt`."""
    where = ": ".join(field.split(".")[1:]) if field.startswith(("regions.", "params.")) else field
    return {"state": "error", "text": message[:1].upper() + message[1:], "detail": where, "stages": []}


def done(report: Mapping[str, Any]) -> View:
    """A run has ended well."""
    seconds = sum(report.get("seconds", {}).values())
    return {
        "state": "done",
        "text": "Done" + (f" in {_duration(seconds)}" if seconds else ""),
        "detail": "",
        "stages": [],
    }


def live(event: Preview, regions: Sequence[Region]) -> View:
    """The frames the model expects at this step, and where each region's words look."""
    picked = _spread(len(event.frames))
    colors = {region.name: (region.color, region.label) for region in regions}
    return {
        "frames": [data_url(event.frames[i], 160, 76) for i in picked],
        "indices": [event.indices[i] + 1 for i in picked],
        "heat": [
            {
                "name": name,
                "color": colors[name][0],
                "label": colors[name][1],
                "frames": [
                    data_url(heat(event.frames[i], maps[i], colors[name][0]), 128, 70) for i in picked
                ],
            }
            for name, maps in event.attention.items()
            if name in colors
        ],
    }


def result(
    outcome: EditResult, report: Mapping[str, Any], request: EditRequest, files: Mapping[str, str]
) -> View:
    """What came out: in plain words, as pictures of attention, and to take away."""
    middle = len(outcome.source) // 2
    colors = {region.name: (region.color, region.label) for region in request.regions}
    attention = []
    for name, maps in outcome.attention.items():
        if name not in colors:
            continue
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        before, after = (
            data_url(heat(outcome.source[middle], np.asarray(m[middle]) / brightest, colors[name][0]), 240)
            for m in (maps.before, maps.after)
        )
        entry = report.get("metrics", {}).get("attention", {}).get(name, {})
        attention.append(
            {
                "name": name,
                "color": colors[name][0],
                "label": colors[name][1],
                "before": before,
                "after": after,
                "text": _attention_words(entry),
            }
        )
    return {
        "facts": _facts(report.get("metrics", {})),
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "attention": attention,
        "files": [{"name": name, "path": path} for name, path in files.items()],
    }


def _running(stage: str, share: float, detail: str) -> View:
    return {
        "state": "running",
        "text": _DOING.get(stage, stage.capitalize()),
        "detail": detail,
        "stages": _stages(stage, share),
    }


def _stages(current: str | None, share: float) -> list[View]:
    names = list(STAGES)
    at = names.index(current) if current in names else -1
    return [
        {
            "name": STAGES[name],
            "share": 1.0 if i < at else round(share, 3) if i == at else 0.0,
            "now": i == at,
        }
        for i, name in enumerate(names)
    ]


def _facts(metrics: Mapping[str, Any]) -> list[View]:
    facts = []
    outside, alone = metrics.get("outside_psnr"), metrics.get("outside_psnr_uncomposited")
    if outside is not None:
        same = outside >= _IDENTICAL
        facts.append(
            {
                "name": "Outside the regions",
                "value": "unchanged" if same else f"{outside:.1f} dB",
                "text": "Pixel for pixel the source, before encoding."
                if same
                else "The source's own pixels, but for a soft rim of at most 3 pixels around each region.",
            }
        )
    if alone is not None:
        facts.append(
            {
                "name": "The model on its own",
                "value": f"{alone:.1f} dB",
                "text": "Outside the regions, had the source not been put back over the edit.",
            }
        )
    if metrics.get("warp_error") is not None:
        facts.append(
            {
                "name": "Unsteadiness",
                "value": f"{100 * metrics['warp_error']:.1f} %",
                "text": "How far the edit strays from the motion of the source; lower is steadier.",
            }
        )
    return facts


def _attention_words(entry: Mapping[str, Any]) -> str:
    before, after = entry.get("inside_before"), entry.get("inside_after")
    if before is None or after is None:
        return ""
    shares = (f"{100 * share:.0f} %" for share in (before, after))
    return "Inside its mask, {} of the attention goes to its words; {} once guided.".format(*shares)


def _spread(count: int) -> list[int]:
    """At most eight indices, evenly spread, the first and the last among them."""
    return sorted(
        {round(i * (count - 1) / max(1, min(count, _SHOWN) - 1)) for i in range(min(count, _SHOWN))}
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
