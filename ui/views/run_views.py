"""How far a run is, as values that JSON can hold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.events import Progress, Stage, WindowStarted
from regrain.ui.views.views import View, capital, place

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


def waiting(method: str, adapter: str = "", before: int = 0, seconds: float | None = None) -> View:
    """A run was requested and has not begun; `asked` tells it from late answers of one that was stopped.

    `before` runs come first and take so many seconds; None where nobody knows.
    """
    detail = f"{before} run{'s' if before > 1 else ''} before yours" if before else ""
    if before and seconds:
        detail += f", about {duration(seconds)}"
    return _view("running", "Waiting in the queue", detail, _stages(method, adapter)) | {
        "asked": True
    }


def tracking(name: str, done: int, total: int) -> View:
    """A region is followed through the clip before the run."""
    detail = f"frame {done} of {total}" if done else ""
    return _view("running", f"Tracking {name}", detail)


class RunProgress:
    """How far a run is: its stages and, of a long clip, its windows.

    `part` says which of several runs it is; empty for one alone.
    """

    def __init__(self, method: str, adapter: str = "", part: str = "") -> None:
        self._method, self._adapter, self._part = method, adapter, part
        # The present window, the work of all of them, whether it was edited, and whether one before it was.
        self._window: WindowStarted | None = None
        self._work, self._edited, self._timed = 0, False, False

    def take(self, event: Stage | Progress | WindowStarted) -> View:
        """What the page shows once this has happened."""
        if isinstance(event, WindowStarted):
            self._timed |= self._edited
            self._window, self._edited, self._work = event, False, max(self._work, event.left)
            event = Stage(METHODS[self._method].stages[0])
        if isinstance(event, Stage):
            event = Progress(event.name, 0, 0, None)
        self._edited |= (
            event.stage == "editing"
        )  # not one that was kept from a run that was stopped
        if event.stage in _AFTER:
            self._window = None
        window = self._window
        unit = "frame" if event.stage in _BY_FRAME else "step"
        parts = [self._part] if self._part else []
        parts += [f"window {window.number} of {window.total}"] if window else []
        parts += [f"{unit} {event.done} of {event.total}"] if event.total > 1 else []
        if event.seconds_left is not None and event.done < event.total:
            parts.append(f"about {duration(event.seconds_left)} {self._left(event.stage)}")
        text, _ = _STAGES.get(event.stage, (event.stage.capitalize(), ""))
        stages = _stages(self._method, self._adapter, event.stage, event.done / max(event.total, 1))
        shown = _view("running", text, ", ".join(parts), stages)
        if window:
            said = f"{window.number - 1} of {window.total} windows done"
            shown["windows"] = {
                "text": said,
                "done": window.number - 1,
                "share": round(1 - self.left, 3),
            }
        return shown

    @property
    def left(self) -> float:
        """The share of the work of all windows that is left when the present one begins."""
        return self._window.left / max(self._work, 1) if self._window else 1.0

    def _left(self, stage: str) -> str:
        """What ends after the seconds that are left."""
        if self._window and self._timed:
            return "left"  # for all windows
        return _LEFT.get(stage, "left in this window" if self._window else "left")


def stopped(last: object) -> View:
    """A run was stopped where `last`, the progress shown, says."""
    return _view("stopped", _stopped_where(last if isinstance(last, dict) else {}))


def given_up() -> View:
    """A run was ended since its page was away and others were waiting."""
    return _view("stopped", "Stopped: you were away, and others were waiting. Run again.")


def _stopped_where(shown: Mapping[str, Any]) -> str:
    if shown.get("asked"):
        return "Removed from the queue."
    where, _, _ = str(shown.get("detail") or "").partition(", ")
    if where.startswith("variant "):
        kept = (
            "Nothing was saved."
            if where.startswith("variant 1 ")
            else "Finished variants are kept."
        )
        return f"Stopped in {where}. {kept}"
    if windows := shown.get("windows"):
        kept = "Finished windows are kept; Run goes on from there."
        return f"Stopped in {where}. {kept if windows['done'] else 'Nothing was saved.'}"
    tuning = next(
        (s for s in shown.get("stages") or () if s.get("name") == _STAGES["tuning"][1]), None
    )
    if tuning and tuning["now"] and where:
        return f"Stopped after {where.removeprefix('step ')} tuning steps. Run goes on from there."
    tuned = tuning and tuning["share"] == 1
    kept = "What was tuned is kept; Run goes on from there." if tuned else "Nothing was saved."
    return f"Stopped{where and f' at {where}'}. {kept}"


def failed(field: str, message: str) -> View:
    """A run failed; the page marks the field, which the request's own name tells, and goes there."""
    shown = _view("error", capital(message), place(field))
    return shown | {"field": field, "time": time.time()}  # said again, it is another


def done(report: Mapping[str, Any], tracking: float = 0.0, unmeasured: bool = False) -> View:
    """A run has ended well, or was stopped while it was measured; seconds of `tracking` came before."""
    seconds = sum(report.get("seconds", {}).values()) + tracking
    text = "Done" + (f" in {duration(seconds)}" if seconds else "")
    text = "Stopped measuring. The edit is kept, without figures." if unmeasured else text
    return _view("done", text)


def _view(state: str, text: str, detail: str = "", stages: Sequence[View] = ()) -> View:
    return {"state": state, "text": text, "detail": detail, "stages": [*stages]}


def _stages(method: str, adapter: str, current: str = "", share: float = 0.0) -> list[View]:
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


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
