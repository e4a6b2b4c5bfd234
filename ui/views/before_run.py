"""What is known of a run before it, in a sentence."""

from __future__ import annotations

from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import BUILT_IN_IDS
from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.memory import MOST_WINDOW, need_of
from regrain.ui.views.shown import TriesView
from regrain.ui.work.wording import duration

_LITTLE = 0.05  # GB, which would be said as none
_ELSEWHERE = 30.0  # seconds after which one goes elsewhere while a run goes on


def before_run(asked: EditRequest, last: float | None) -> TriesView:
    """Say how large a run is, what memory it takes, and the seconds of the `last` like
    it.

    Raises:
        EditingError: The model's files cannot be read.
    """
    count = len(asked.clip)
    frames = "frame" if count == 1 else "frames"
    size = f"{count} {frames}, {asked.params['steps']} steps{_memory(asked)}."
    if last is None:
        return TriesView(size)
    return TriesView(f"{size} Last time here: {duration(last)}.", last > _ELSEWHERE)


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
    return f" at {need.side} px, about {memory:.1f} GB of memory"
