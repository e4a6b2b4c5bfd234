"""What the page's components show, as values that JSON can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from editing.events import EditResult, Preview, Progress, Stage
from editing.outputs import EDITS
from editing.pictures import heat, washed
from editing.prompts import Composed
from editing.request import EditRequest, Region, default_color
from ui.clips import Opened
from ui.examples import Example
from ui.layers import FINDERS
from ui.pictures import data_url
from ui.session import MAX_REGIONS, Session

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
# What the page calls a request's fields.
_FIELDS = {"source_prompt": "The clip shows", "prompt": "It should show", "more_prompts": "It should show"}
_SHOWN = 8  # frames in a strip, steps in a row
_FEW = 4  # frames of the small pictures, of which there are many
_IDENTICAL = 99.0  # dB; equal frames are reported as 100


def gallery(examples: Mapping[str, Example], chosen: str | None) -> View:
    """The examples as pictures."""
    return {
        "chosen": chosen,
        "items": [
            {
                "name": name,
                "title": example.opened.title,
                "picture": example.thumbnail,
                "changes": [
                    {"label": r.label, "color": r.color, "source": r.source or r.name, "prompt": r.prompt}
                    for r in example.request.regions
                ],
                "prompts": [] if example.request.regions else list(example.request.targets),
            }
            for name, example in examples.items()
        ],
    }


def edits(request: EditRequest, files: Mapping[str, str]) -> list[View]:
    """The videos of a run's edits and the prompt of each."""
    paths = (files[name] for name in EDITS if name in files)
    return [{"prompt": text, "path": path} for text, path in zip(request.targets, paths, strict=True)]


def player(opened: Opened, edits: Sequence[View] = (), reconstruction: str | None = None) -> View:
    """The source clip, the edits beside it, and its reconstruction from the inversion."""
    clip = opened.request.clip
    return {
        "source": str(opened.source),
        "edits": list(edits),
        "reconstruction": reconstruction,
        "width": clip.size[0],
        "height": clip.size[1],
        "frames": len(clip),
        "fps": float(clip.fps),
    }


def canvas(session: Session, since: int = -1, note: str = "", alarm: bool = False) -> View:
    """The frames and masks of a page: those that changed after revision `since`, all of them for -1.

    Args:
        session: What the page works on.
        since: The revision the page has; an answer may be lost, so each holds all that is newer.
        note: Said below the frame.
        alarm: Whether the note is about something that went wrong.
    """
    opened, layers = session.opened, session.state.layers
    clip = opened.request.clip
    changes: View = {}
    for frame, changed in session.changed.items():
        if changed > since:
            changes[str(frame)] = {
                str(label): _masked(session, label, frame)
                for label, layer in layers.items()
                if frame in layer.keys or frame in layer.track
            }
    return {
        "id": session.id,
        "rev": session.rev,
        "clip": {
            "title": opened.title,
            "folder": str(opened.folder),
            "count": len(opened.frames),
            "width": clip.size[0],
            "height": clip.size[1],
            "fps": float(clip.fps),
            "own": opened.own,
            "total": opened.total,
            "start": opened.start,
            "stride": opened.stride,
        },
        "changes": changes,
        "labels": list(session.state.regions),
        "finders": {str(label): session.finder_of(label) for label in layers},
        "sam": session.finder == "sam",
        "stale": session.to_track(),
        "tracking": session.tracking,
        "acknowledged": list(session.acknowledged),
        "note": note,
        "alarm": alarm,
        **session.can,
    }


def _masked(session: Session, label: int, frame: int) -> View:
    layer = session.state.layers[label]
    key = layer.keys.get(frame)
    return {
        "runs": session.runs(label, frame),
        "points": [[x, y, int(inside)] for x, y, inside in key.points] if key else [],
        "key": key is not None and key.counts,
        "by": FINDERS.get(key.by, "") if key and key.found else "",
        "score": 1.0 if key and key.counts else round(layer.score.get(frame, 0.0), 3),
    }


def lost(note: str) -> View:
    """A page that shows what is not there any more."""
    return {"gone": True, "note": note, "alarm": True}


def cards(session: Session) -> View:
    """One card per region, the uppermost first."""
    return {
        "id": session.id,
        "have": session.rev,
        "source_prompt": session.source_prompt,
        "prompt": session.prompt,
        "full": len(session.state.regions) >= MAX_REGIONS,
        "regions": [
            {key: getattr(region, key) for key in ("label", "name", "color", "source", "prompt", "margin")}
            for region in session.state.regions.values()
        ],
    }


def prompts(composed: Sequence[Composed], regions: Iterable[Region]) -> View:
    """The composed prompts in pieces; a region's own words carry its label and colour."""
    colors = {region.label: region.color for region in regions}
    return {"prompts": [pieces for one in composed if (pieces := _pieces(one, colors))]}


def _pieces(composed: Composed, colors: Mapping[int, str]) -> list[View]:
    text, spans = composed
    places = sorted((span, label) for label, span in spans.items() if span)
    parts, done = [], 0
    for (start, stop), label in places:
        parts += [
            {"text": text[done:start]},
            {"text": text[start:stop], "label": label, "color": colors[label]},
        ]
        done = stop
    parts.append({"text": text[done:]})
    return [part for part in parts if part["text"]]


def waiting() -> View:
    """A run was asked for and has not begun; `asked` tells it from late answers of one that was stopped."""
    stages = _stages(None, 0)
    return {"state": "running", "asked": True, "text": "Waiting for its turn", "detail": "", "stages": stages}


def tracking(name: str, done: int, total: int) -> View:
    """A region is followed through the clip before the run."""
    detail = f"frame {done} of {total}" if done else ""
    return {"state": "running", "text": f"Tracking {name}", "detail": detail, "stages": []}


def progress(event: Stage | Progress) -> View:
    """How far a run is."""
    if isinstance(event, Stage):
        return _running(event.name, 0.0, "")
    detail = f"step {event.done} of {event.total}" if event.total > 1 else ""
    if event.seconds_left is not None and event.done < event.total:
        what = "until the edit begins" if event.stage == "inverting" else "left"
        detail += f"{', ' if detail else ''}about {_duration(event.seconds_left)} {what}"
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
    where = _FIELDS.get(where, where)
    text, detail = (words[:1].upper() + words[1:] for words in (message, where))
    return {"state": "error", "text": text, "detail": detail, "stages": []}


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
    """The frames the model expects at this step, and where each region's words look, or a pixel."""
    names = {region.name for region in regions}
    picked = _spread(len(event.frames))
    colors = _colors(event.attention, regions)
    return {
        "frames": [data_url(event.frames[i], 160, 76) for i in picked],
        "indices": [event.indices[i] + 1 for i in picked],
        "heat": [
            {
                "name": name,
                "caption": f"{name}: where {'its words look' if name in names else 'it looks'}",
                "color": colors[name][0],
                "label": colors[name][1],
                "frames": [
                    data_url(heat(event.frames[i], maps[i], colors[name][0]), 128, 70) for i in picked
                ],
            }
            for name, maps in event.attention.items()
        ],
    }


def result(
    outcome: EditResult, report: Mapping[str, Any], request: EditRequest, files: Mapping[str, str]
) -> View:
    """What came out: in plain words, as pictures of attention, and to take away."""
    picked = _spread(len(outcome.source))
    source = {i: outcome.source[i] for i in picked}  # each is decoded anew
    colors = _colors(outcome.attention, request.regions)
    attention = []
    for name, maps in outcome.attention.items():
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        color = colors[name][0]
        before, after = (
            [data_url(heat(source[i], np.asarray(m[i]) / brightest, color), 200, 70) for i in picked]
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
    regions = {region.name for region in request.regions}
    return {
        "facts": _facts(report.get("metrics", {})),
        "looks": _LOOKS[set(outcome.attention) <= regions],
        "words": _words(outcome),
        "areas": _areas(outcome),
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "attention": attention,
        "indices": [i + 1 for i in picked],
        "files": [{"name": name, "path": path} for name, path in files.items()],
    }


# Of the pictures of attention: a heading, and what stands below each of a pair.
_LOOKS = {
    True: ("Where each region’s words look", "on its own", "guided by its mask"),
    False: ("Where the new words look", "on their own", "with the source’s attention"),
}


def _words(outcome: EditResult) -> View | None:
    """A small picture for each word of source and edit, in a few frames of the clip."""
    if outcome.words is None:
        return None
    picked = _spread(len(outcome.source), _FEW)
    shown = {i: outcome.source[i] for i in picked}

    def rows(maps: Mapping[str, np.ndarray]) -> list[View]:
        color = default_color(1)
        return [
            {
                "word": word,
                "frames": [
                    data_url(heat(shown[i], values[i] / max(float(values.max()), 1e-12), color), 96, 60)
                    for i in picked
                ],
            }
            for word, values in maps.items()
        ]

    source, edit = rows(outcome.words.source), rows(outcome.words.edit)
    return {"indices": [i + 1 for i in picked], "source": source, "edit": edit}


def _areas(outcome: EditResult) -> View | None:
    """The area the edit was kept to, at a few steps and in a few frames of the clip."""
    if not outcome.areas:
        return None
    picked, numbers = _spread(len(outcome.source), _FEW), sorted(outcome.areas)
    shown = {i: outcome.source[i] for i in picked}

    def picture(step: int, frame: int) -> str:
        area = outcome.areas[step][frame]
        return data_url(washed(shown[frame], area, default_color(1)), 128, 66)

    steps = [numbers[i] for i in _spread(len(numbers))]
    return {
        "indices": [i + 1 for i in picked],
        "steps": [{"step": step + 1, "frames": [picture(step, i) for i in picked]} for step in steps],
    }


def _colors(names: Iterable[str], regions: Sequence[Region]) -> dict[str, tuple[str, int]]:
    """Colour and label of each heat map: its region's; for a word of the prompt, the next that is free."""
    colors = {region.name: (region.color, region.label) for region in regions}
    label = max((region.label for region in regions), default=0)
    for name in names:
        if name not in colors:
            label += 1
            colors[name] = default_color(label), label
    return colors


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
                "text": "The source's own pixels." if same else "The source's, but for a soft rim.",
            }
        )
    if alone is not None:
        facts.append(
            {
                "name": "Without compositing",
                "value": f"{alone:.1f} dB",
                "text": "How well the model alone keeps the outside.",
            }
        )
    if metrics.get("warp_error") is not None:
        facts.append(
            {
                "name": "Unsteadiness",
                "value": f"{100 * metrics['warp_error']:.1f} %",
                "text": "Straying from the source's motion; less is steadier.",
            }
        )
    return facts


def _attention_words(entry: Mapping[str, Any]) -> str:
    before, after = entry.get("inside_before"), entry.get("inside_after")
    if before is None or after is None:
        return ""
    shares = (f"{100 * share:.0f} %" for share in (before, after))
    return "Attention inside the mask: {}, guided {}.".format(*shares)


def _spread(count: int, most: int = _SHOWN) -> list[int]:
    """At most so many indices, evenly spread, the first and the last among them."""
    return sorted({round(i * (count - 1) / max(1, min(count, most) - 1)) for i in range(min(count, most))})


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
