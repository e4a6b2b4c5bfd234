"""How far a run is, as values that JSON can hold."""

from __future__ import annotations

import time

from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.events import Progress, Stage, WindowStarted
from regrain.editing.verdict.answers import Report
from regrain.ui.views.shown import ProgressView, StageBar, WindowsBar
from regrain.ui.work.wording import capital, duration, place

# Stages in words: what is going on, and the name of the bar.
_STAGES = {
    "loading": ("Loading the model", "Load model"),
    "scanning": ("Looking for cuts", ""),
    "tuning": ("Tuning the model on this clip", "Tune"),
    "inverting": ("Inverting the clip", "Invert clip"),
    "editing": ("Editing", "Edit"),
    "decoding": ("Decoding frames", "Decode"),
    "measuring": ("Measuring the result", "Measure"),
    "looking": ("Looking at the result", ""),
    "saving": ("Writing the video", "Save"),
}
_BY_FRAME = ("scanning", "decoding")  # their units are frames, not steps
_AFTER = ("measuring", "looking", "saving")  # after all windows
_LONG = ("tuning", "inverting", "editing")  # their bars are wider


def waiting(
    method: str, adapter: str = "", before: int = 0, seconds: float | None = None
) -> ProgressView:
    """Show a run that was requested and has not begun.

    `before` runs come first and take so many seconds; None where nobody knows. `asked`
    in the view tells it from late answers of a run that was stopped.
    """
    detail = ""
    if before:
        runs = "run" if before == 1 else "runs"
        detail = f"{before} {runs} before yours"
        if seconds:
            detail += f", about {duration(seconds)}"
    stages = _stages(method, adapter)
    return ProgressView("running", "Waiting in the queue", detail, stages, asked=True)


def tracking(name: str, done: int, total: int) -> ProgressView:
    """Show that a region is followed through the clip before the run."""
    detail = f"frame {done} of {total}" if done else ""
    return ProgressView("running", f"Tracking {name}", detail, [])


class RunProgress:
    """How far a run is: its stages and, of a long clip, its windows.

    `part` says which of several runs it is; empty for one alone. `again` are the last
    steps of an edit that are taken once more.
    """

    def __init__(
        self, method: str, adapter: str = "", part: str = "", again: int = 0
    ) -> None:
        self._method = method
        self._adapter = adapter
        self._part = part
        self._again = again
        self._window: WindowStarted | None = None  # the present one
        self._work = 0  # of all windows
        # the present window was edited, not kept from a run that was stopped
        self._edited = False
        self._timed = False  # a window before it was edited

    def take(self, event: Stage | Progress | WindowStarted) -> ProgressView:
        """Return what the page shows once this has happened."""
        progress = self._as_progress(event)
        if progress.stage == "editing":
            self._edited = True
        if progress.stage in _AFTER:
            self._window = None
        text, _ = _STAGES.get(progress.stage, (progress.stage.capitalize(), ""))
        share = progress.done / max(progress.total, 1)
        stages = _stages(self._method, self._adapter, progress.stage, share)
        windows = None
        if self._window:
            done = self._window.number - 1
            said = f"{done} of {self._window.total} windows done"
            left = self._window.left / max(self._work, 1)
            windows = WindowsBar(said, done, round(1 - left, 3))
        return ProgressView(
            "running",
            text,
            self._detail(progress),
            stages,
            windows,
        )

    def _as_progress(self, event: Stage | Progress | WindowStarted) -> Progress:
        """Return the beginning of a stage or a window as progress, after taking note of
        the window."""
        if isinstance(event, WindowStarted):
            self._timed |= self._edited
            self._window = event
            self._edited = False
            self._work = max(self._work, event.left)
            return Progress(METHODS[self._method].stages[0], 0, 0)
        if isinstance(event, Stage):
            return Progress(event.name, 0, 0)
        return event

    def _detail(self, progress: Progress) -> str:
        """Say which variant, window and step it is, and how long the rest takes."""
        parts = [self._part] if self._part else []
        window = self._window
        if window:
            parts.append(f"window {window.number} of {window.total}")
        if progress.total > 1:
            parts.append(self._counted(progress))
        if progress.seconds_left is not None and progress.done < progress.total:
            rest = f"of {progress.stage} left"
            if window:  # what is left of them all is known after one of them
                rest = "left" if self._timed else f"{rest} in this window"
            parts.append(f"about {duration(progress.seconds_left)} {rest}")
        return ", ".join(parts)

    def _counted(self, progress: Progress) -> str:
        """Count frames, steps or, in a row of their own, steps that are taken again."""
        unit = "frame" if progress.stage in _BY_FRAME else "step"
        done = progress.done
        total = progress.total
        if progress.stage == "editing" and self._again < total:
            total -= self._again
        if done > total:
            return f"redraw step {done - total} of {self._again}"
        return f"{unit} {done} of {total}"


def stopped(last: object) -> ProgressView:
    """Show that a run was stopped; `last` is the progress that was shown."""
    shown = (
        last if isinstance(last, ProgressView) else ProgressView("running", "", "", [])
    )
    return ProgressView("stopped", _stopped_where(shown), "", [])


def given_up() -> ProgressView:
    """Show that a run was ended, since its page was away and others were waiting."""
    said = "Stopped: you were away, and others were waiting. Run again."
    return ProgressView("stopped", said, "", [])


def _stopped_where(shown: ProgressView) -> str:
    """Say where a run was stopped, and what is kept of it."""
    if shown.asked:
        return "Removed from the queue."
    where, _, _ = shown.detail.partition(", ")
    if where.startswith("variant "):
        first = where.startswith("variant 1 ")
        kept = "Nothing was saved." if first else "Finished variants are kept."
        return f"Stopped in {where}. {kept}"
    if shown.windows:
        kept = "Nothing was saved."
        if shown.windows.done:
            kept = "Finished windows are kept; Run goes on from there."
        return f"Stopped in {where}. {kept}"
    at = f" at {where}" if where else ""
    _, tune = _STAGES["tuning"]
    for stage in shown.stages:
        if stage.name == tune and stage.now and where:
            steps = where.removeprefix("step ")
            return f"Stopped after {steps} tuning steps. Run goes on from there."
        if stage.name == tune and stage.share == 1:
            return f"Stopped{at}. What was tuned is kept; Run goes on from there."
    return f"Stopped{at}. Nothing was saved."


def failed(field: str, message: str) -> ProgressView:
    """Show that a run failed; the page marks the field, named as in the request, and
    goes there."""
    now = time.time()  # said again, it is another
    return ProgressView(
        "error", capital(message), place(field), [], field=field, time=now
    )


def done(
    report: Report, tracking: float = 0.0, unmeasured: bool = False
) -> ProgressView:
    """Show that a run has ended well, or while it was measured; seconds of `tracking`
    came before."""
    seconds = sum(report.get("seconds", {}).values()) + tracking
    text = f"Done in {duration(seconds)}" if seconds else "Done"
    if unmeasured and report.get("metrics"):
        text = "Stopped looking. The edit is kept, with its figures."
    elif unmeasured:
        text = "Stopped measuring. The edit is kept, without figures."
    return ProgressView("done", text, "", [])


def _stages(
    method: str, adapter: str, current: str = "", share: float = 0.0
) -> list[StageBar]:
    """Return the bars of a run: the recipe's stages, the runner's around them, and the
    page's own."""
    own = [
        name for name in METHODS[method].stages if not (adapter and name == "tuning")
    ]
    names = ["loading", *own, "measuring", "saving"]
    if current == "scanning":  # takes no time beside the others
        current = names[1]
        share = 0.0
    if current == "looking":  # a part of measuring
        current = "measuring"
    now = names.index(current) if current in names else -1
    bars = []
    for number, name in enumerate(names):
        _, title = _STAGES.get(name, ("", name.capitalize()))
        filled = share if number == now else float(number < now)
        bars.append(
            StageBar(
                title,
                round(filled, 3),
                number == now,
                name in _LONG,
            )
        )
    return bars
