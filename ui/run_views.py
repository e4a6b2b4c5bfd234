"""What the page shows of a run, as values that JSON can hold: how far it is, previews, the result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from editing.clip import Clip, VideoClip
from editing.events import EditResult, Preview, Progress, Stage, Window
from editing.outputs import WHOLE
from editing.params import ModulatedParams
from editing.pictures import heat, washed
from editing.registry import METHODS
from editing.request import EditRequest, Region, default_color
from ui.thumbnails import data_url
from ui.views import View, capital, place

# Of stages: what is done, and what the bar of each is called.
_STAGES = {
    "loading": ("Loading the model", "Load model"),
    "scanning": ("Looking for cuts", ""),
    "tuning": ("Tuning the model on this clip", "Tune"),
    "inverting": ("Inverting the clip", "Invert clip"),
    "editing": ("Editing", "Edit"),
    "decoding": ("Decoding frames", "Decode"),
    "measuring": ("Measuring the result", "Measure"),
    "saving": ("Writing the video", "Save"),
}
_BY_FRAME = ("scanning", "decoding")  # their units are frames, not steps
_AFTER = ("measuring", "saving")  # after all windows
_LEFT = {"tuning": "of tuning left", "inverting": "until editing starts"}
_LONG = ("tuning", "inverting", "editing")  # their bars are wider
_SHOWN = 8  # frames in a strip, steps in a row
_FEW = 4  # frames of the small pictures, of which there are many
_IDENTICAL = 99.0  # dB; equal frames are reported as 100


def waiting(method: str, adapter: str = "", before: int = 0, seconds: float | None = None) -> View:
    """A run was requested and has not begun; `asked` tells it from late answers of one that was stopped.

    Args:
        method: Its name.
        adapter: Of the request.
        before: How many runs come first.
        seconds: What they will take; None where nobody knows.
    """
    stages = _stages(method, adapter, None, 0)
    detail = f"{before} run{'s' if before > 1 else ''} before yours" if before else ""
    if before and seconds:
        detail += f", about {duration(seconds)}"
    return {
        "state": "running",
        "asked": True,
        "text": "Waiting in the queue",
        "detail": detail,
        "stages": stages,
    }


def tracking(name: str, done: int, total: int) -> View:
    """A region is followed through the clip before the run."""
    detail = f"frame {done} of {total}" if done else ""
    return {"state": "running", "text": f"Tracking {name}", "detail": detail, "stages": []}


class RunProgress:
    """How far a run is: its stages and, of a long clip, its windows.

    Args:
        method: Its name.
        adapter: Of the request.
    """

    def __init__(self, method: str, adapter: str = "") -> None:
        self._method, self._adapter = method, adapter
        # The present window, the work of all of them, whether it was edited, and whether one before it was.
        self._window: Window | None = None
        self._work, self._edited, self._timed = 0, False, False

    def take(self, event: Stage | Progress | Window) -> View:
        """What the page shows once this has happened."""
        if isinstance(event, Window):
            self._timed |= self._edited
            self._window, self._edited, self._work = event, False, max(self._work, event.left)
            event = Stage(METHODS[self._method].stages[0])
        if isinstance(event, Stage):
            event = Progress(event.name, 0, 0, None)
        self._edited |= event.stage == "editing"  # not one that was kept from a run that was stopped
        if event.stage in _AFTER:
            self._window = None
        window = self._window
        unit = "frame" if event.stage in _BY_FRAME else "step"
        parts = [f"window {window.number} of {window.total}"] if window else []
        parts += [f"{unit} {event.done} of {event.total}"] if event.total > 1 else []
        if event.seconds_left is not None and event.done < event.total:
            parts.append(f"about {duration(event.seconds_left)} {self._left(event.stage)}")
        text, _ = _STAGES.get(event.stage, (event.stage.capitalize(), ""))
        share = event.done / max(event.total, 1)
        stages = _stages(self._method, self._adapter, event.stage, share)
        shown = {"state": "running", "text": text, "detail": ", ".join(parts), "stages": stages}
        return shown | ({"windows": self._windows(window)} if window else {})

    def _left(self, stage: str) -> str:
        """What ends after the seconds that are left."""
        if self._window and self._timed:
            return "left"  # for all windows
        return _LEFT.get(stage, "left in this window" if self._window else "left")

    def _windows(self, window: Window) -> View:
        return {
            "text": f"{window.number - 1} of {window.total} windows done",
            "done": window.number - 1,
            "share": round(1 - window.left / max(self._work, 1), 3),
        }


def stopped(last: object) -> View:
    """A run was stopped where `last`, the progress shown, says."""
    shown = last if isinstance(last, dict) else {}
    if shown.get("asked"):
        return {"state": "stopped", "text": "Taken out of the queue.", "detail": "", "stages": []}
    where = str(shown.get("detail") or "").split(",")[0]
    tuning = next((s for s in shown.get("stages") or () if s.get("name") == _STAGES["tuning"][1]), None)
    text = f"Stopped{where and f' at {where}'}. Nothing was saved."
    if windows := shown.get("windows"):
        text = f"Stopped in {where}. " + (
            "Finished windows are kept; Run goes on from there." if windows["done"] else "Nothing was saved."
        )
    elif tuning and tuning["now"] and where:
        text = f"Stopped after {where.removeprefix('step ')} tuning steps. Run goes on from there."
    elif tuning and tuning["share"] == 1:
        text = f"Stopped{where and f' at {where}'}. What was tuned is kept; Run goes on from there."
    return {"state": "stopped", "text": text, "detail": "", "stages": []}


def failed(field: str, message: str) -> View:
    """A run failed; the field says what to change."""
    return {"state": "error", "text": capital(message), "detail": place(field), "stages": []}


def done(report: Mapping[str, Any]) -> View:
    """A run has ended well."""
    seconds = sum(report.get("seconds", {}).values())
    return {
        "state": "done",
        "text": "Done" + (f" in {duration(seconds)}" if seconds else ""),
        "detail": "",
        "stages": [],
    }


def live(event: Preview, request: EditRequest) -> View:
    """The frames the model expects at this step, and the attention on each region's words, or of a pixel."""
    picked = _spread(len(event.frames))
    colors = _colors(event.attention, request.regions)
    return {
        "frames": [data_url(event.frames[i], 160, 76) for i in picked],
        "indices": [event.indices[i] + 1 for i in picked],
        "heat": [
            {
                "name": name,
                "caption": _caption(name, request),
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
    metrics = report.get("metrics", {})
    return {
        "facts": _facts(metrics),
        "looks": _LOOKS[_by_regions(request)],
        "attention": _attention(outcome, request, metrics.get("attention", {})),
        "words": _words(outcome),
        "areas": _areas(outcome),
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "whole": _whole(request.clip, files),
        "indices": [i + 1 for i in _spread(len(outcome.source))],
        "files": [{"name": name, "path": path} for name, path in files.items()],
    }


def _whole(clip: Clip, files: Mapping[str, str]) -> str:
    """What the video of the whole clip is, where there is one."""
    if WHOLE not in files or not isinstance(clip, VideoClip):
        return ""
    first, last = clip.start + 1, clip.start + len(clip)
    return f"The whole clip is your file with frames {first} to {last} edited; the rest of it is unchanged."


# Of the pictures of attention, by whether masks guide it: a heading, and the captions of a pair.
_LOOKS = {
    True: ("Attention on each region’s words", "without guidance", "guided by the masks"),
    False: ("Attention on the new words", "on its own", "with the source’s attention"),
}


def _by_regions(request: EditRequest) -> bool:
    """Whether the method guides attention by the masks of regions."""
    return issubclass(METHODS[request.method].Params, ModulatedParams)


def _caption(name: str, request: EditRequest) -> str:
    """What a map of attention shows: a region's words, a word of the prompt, or a chosen pixel's view."""
    words = {region.name: region.prompt or region.source or region.name for region in request.regions}
    if _by_regions(request) and name not in words:
        return f"Attention of the pixel in {name}"
    return f"Attention on “{words.get(name, name)}”"


def _attention(outcome: EditResult, request: EditRequest, measured: Mapping[str, Any]) -> list[View]:
    """Maps before and after the method guided attention, on one scale for each pair."""
    colors = _colors(outcome.attention, request.regions)
    picked = _spread(len(outcome.source))
    source = {i: outcome.source[i] for i in picked}  # read once: each is decoded anew
    regions, by_regions = {region.name for region in request.regions}, _by_regions(request)

    def pictures(maps: np.ndarray, brightest: float, color: str) -> list[str]:
        levels = ((i, np.asarray(maps[i]) / brightest) for i in picked)
        return [data_url(heat(source[i], level, color), 200, 70) for i, level in levels]

    shown = []
    for name, maps in outcome.attention.items():
        brightest = max(float(maps.before.max()), float(maps.after.max()), 1e-12)
        (color, label), caption = colors[name], _caption(name, request)
        shown.append(
            {
                "name": name if name in regions or not by_regions else caption,
                "caption": caption,
                "color": color,
                "label": label,
                "before": pictures(maps.before, brightest, color),
                "after": pictures(maps.after, brightest, color),
                "text": _attention_words(measured.get(name, {})),
            }
        )
    return shown


def _words(outcome: EditResult) -> View | None:
    """A small picture for each word of source and edit, in a few frames of the clip."""
    if outcome.words is None:
        return None
    picked = _spread(len(outcome.source), _FEW)
    frames = {i: outcome.source[i] for i in picked}

    def rows(maps: Mapping[str, np.ndarray]) -> list[View]:
        return [{"word": word, "frames": [look(values, i) for i in picked]} for word, values in maps.items()]

    def look(values: np.ndarray, frame: int) -> str:
        level = values[frame] / max(float(values.max()), 1e-12)
        return data_url(heat(frames[frame], level, default_color(1)), 96, 60)

    source, edit = rows(outcome.words.source), rows(outcome.words.edit)
    return {"indices": [i + 1 for i in picked], "source": source, "edit": edit}


def _areas(outcome: EditResult) -> View | None:
    """The area the edit was kept to, at a few steps and in a few frames of the clip."""
    if not outcome.step_areas:
        return None
    picked, numbers = _spread(len(outcome.source), _FEW), sorted(outcome.step_areas)
    frames = {i: outcome.source[i] for i in picked}

    def picture(step: int, frame: int) -> str:
        area = outcome.step_areas[step][frame]
        return data_url(washed(frames[frame], area, default_color(1)), 128, 66)

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


def _stages(method: str, adapter: str, current: str | None, share: float) -> list[View]:
    """The bars of a run: the recipe's stages, what the runner does around them, and the page's own."""
    own = [name for name in METHODS[method].stages if not (adapter and name == "tuning")]
    names = ("loading", *own, "measuring", "saving")
    if current == "scanning":  # takes no time beside the others
        current, share = names[1], 0.0
    at = names.index(current) if current in names else -1
    return [
        {
            "name": _STAGES.get(name, ("", name.capitalize()))[1],
            "share": 1.0 if i < at else round(share, 3) if i == at else 0.0,
            "now": i == at,
            "long": name in _LONG,
        }
        for i, name in enumerate(names)
    ]


def _facts(metrics: Mapping[str, Any]) -> list[View]:
    outside, alone, strays = (
        metrics.get(name) for name in ("outside_psnr", "outside_psnr_uncomposited", "warp_error")
    )
    facts = []
    if outside is not None:
        same = outside >= _IDENTICAL
        value = "unchanged" if same else f"{outside:.1f} dB"
        said = "Identical to the source." if same else "Identical to the source, except for a soft edge."
        facts.append(("Outside the regions", value, said))
    if alone is not None:
        said = "How well the model alone preserves the outside."
        facts.append(("Without compositing", f"{alone:.1f} dB", said))
    if strays is not None:
        said = "Deviation from the source’s motion (lower is better)."
        facts.append(("Motion error", f"{100 * strays:.1f} %", said))
    return [dict(zip(("name", "value", "text"), fact, strict=True)) for fact in facts]


def _attention_words(entry: Mapping[str, Any]) -> str:
    before, after = entry.get("inside_before"), entry.get("inside_after")
    if before is None or after is None:
        return ""
    shares = (f"{100 * share:.0f} %" for share in (before, after))
    return "Attention inside the mask: {} without guidance, {} with it.".format(*shares)


def _spread(count: int, most: int = _SHOWN) -> list[int]:
    """At most so many indices, evenly spread, the first and the last among them."""
    return sorted({round(i * (count - 1) / max(1, min(count, most) - 1)) for i in range(min(count, most))})


def duration(seconds: float) -> str:
    """Seconds or minutes, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"
