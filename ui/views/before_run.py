"""What is known of a run before it, in a sentence."""

from __future__ import annotations

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import BUILT_IN_IDS
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.devices import on_gpu
from regrain.editing.storage.memory import MOST_WINDOW, need_of
from regrain.ui.views.shown import TriesView

_LITTLE = 0.05  # GB, which would be said as none
# Seconds that a step of a frame takes where nothing was measured: the built-in model on
# a CPU, others on a CPU, and on a GPU.
_BUILT_IN = 0.2
_ON_CPU = 8.0
_ON_GPU = 0.1
_MINUTE = 60.0
_HOUR = 3600.0
_ELSEWHERE = 30.0  # seconds after which one goes elsewhere while a run goes on


def before_run(asked: EditRequest, last: float | None) -> TriesView:
    """Say how large a run is, what memory it takes, and whether seconds, minutes or
    hours: by those that the `last` run tells, or by the device.

    Raises:
        EditingError: The model's files cannot be read.
    """
    count = len(asked.clip)
    frames = "frame" if count == 1 else "frames"
    steps = asked.params["steps"]
    size = f"{count} {frames}, {steps} steps{_memory(asked)}."
    seconds = guess(asked.model, count * float(str(steps))) if last is None else last
    return TriesView(f"{size} It takes {length(seconds)} here.", seconds > _ELSEWHERE)


def length(seconds: float) -> str:
    """Say how long something takes; a number would be wrong by the next run."""
    if seconds < _MINUTE:
        return "seconds"
    return "minutes" if seconds < _HOUR else "hours"


def guess(model: str, units: float) -> float:
    """Return about how many seconds so many steps, each of a frame, take of which nothing
    was measured here."""
    if model in BUILT_IN_IDS:
        return _BUILT_IN * units
    return units * (_ON_GPU if on_gpu() else _ON_CPU)


def _memory(asked: EditRequest) -> str:
    """Say the memory of a run that is not cut, and at which size; empty for the
    built-in model, which fits everywhere, and where it is unknown."""
    if asked.model in BUILT_IN_IDS:
        return ""
    working = working_size_of(asked)
    family = facts_of(asked.model).family
    if working is None or family is None:
        return ""
    need = need_of(family.title, working.side)
    if need is None:
        return ""
    together = min(len(asked.clip), asked.decided.together or MOST_WINDOW)
    memory = need.memory(together) / 1e9
    if memory < _LITTLE:
        return f" at {need.side} px"
    return f" at {need.side} px, about {memory:.1f} GB of memory{need.how()}"
