"""The cost of a run, in a sentence."""

from __future__ import annotations

from regrain.editing.models.files.location import BUILT_IN_IDS
from regrain.editing.pipeline.estimate import counted
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.views.shown import TriesView
from regrain.ui.work.costs import Costs, in_words
from regrain.ui.work.wording import duration

_LONG = 90.0  # seconds
_ELSEWHERE = 30.0  # seconds after which one goes elsewhere while a run goes on


def cost_view(
    costs: Costs, request: EditRequest, again: float = 0.0, left: float = 1.0
) -> TriesView:
    """Say what a run takes, as far as anything is known; parameters as for
    `Costs.about`.

    `again` are the seconds it takes if all its windows are in the cache, else 0.
    """
    count = len(request.clip)
    frames = "frame" if count == 1 else "frames"
    size = f"{count} {frames}, {request.params['steps']} steps"
    if again:
        said = f"{size}: computed already, about {duration(again)}, here."
        return TriesView(said)
    promise = costs.about(request, left)
    memory = promise.memory if promise else 0
    if not memory and request.model not in BUILT_IN_IDS:
        sizes = counted(request)
        if sizes:
            side, memory = sizes
            size = f"{size} at {side} px"
    room = f", about {memory / 1e9:.1f} GB of memory" if memory else ""
    if promise is None:
        said = "After a first run, this shows how long it takes here."
        return TriesView(f"{size}{room}. {said}")
    told = in_words(promise.left, promise.off)
    if left < 1:
        told += " for what is left"
    long = promise.left > _ELSEWHERE
    if not promise.here:
        said = f"{size}: {told} on our machine; yours may differ."
        return TriesView(said, long)
    saved = ""
    if promise.kept:
        saved = f" The inversion is kept, which saves {duration(promise.kept)}."
    hint = " Try it first." if promise.left > _LONG else ""
    return TriesView(f"{size}: {told}{room}, here.{saved}{hint}", long)
