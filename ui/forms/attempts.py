"""Tries before a whole run: its first frame alone, or a few frames in a few steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import pick
from regrain.ui.session.clips import ClipSession

KINDS = ("first", "quick")
STEPS, TUNE_STEPS = 8, 40  # of a quick try, at most
_LEAST, _MOST, _SHARE = 4, 8, 4  # frames of a quick try: a quarter, within these limits


def attempt(kind: object, request: EditRequest, opened: ClipSession) -> tuple[EditRequest, ClipSession]:
    """What a try runs, and the clip it is shown with; both as given where none of `KINDS` is wanted."""
    if kind not in KINDS:
        return request, opened
    if request.adapter:  # tuned on so many frames, and of use for no other number
        kind, count = "quick", len(request.clip)
    else:
        count = frames_of_try(str(kind), len(request.clip))
    regions = tuple(
        replace(region, drawn=tuple(frame for frame in region.drawn if frame < count))
        for region in request.regions
    )
    params = dict(request.params) | _params(str(kind), request)
    asked = pick(replace(request, regions=regions, params=params), range(count))
    # Without its file, no edit is put back into it.
    return asked, replace(opened, request=asked, file=None, attempt=_said(kind, count))


def frames_of_try(kind: str, total: int) -> int:
    """How many frames of a clip a try takes, from the first on."""
    return 1 if kind == "first" else min(total, max(_LEAST, min(_MOST, total // _SHARE)))


def _params(kind: str, request: EditRequest) -> dict[str, Any]:
    """Fewer steps, and no key frames and cuts, which may lie outside."""
    fields, given = METHODS[request.method].Params.model_fields, request.params
    params: dict[str, Any] = {"keyframes": "all", "cuts": "none"}
    if kind == "quick":
        fewer = {"steps": STEPS, "tune_steps": TUNE_STEPS}
        params |= {name: min(most, _number(given.get(name), most)) for name, most in fewer.items()}
    return {name: value for name, value in params.items() if name in fields}


def _number(value: object, usual: int) -> int:
    return value if isinstance(value, int) and value > 0 else usual


def _said(kind: object, count: int) -> str:
    if kind == "first":
        return "A try of the first frame. Run edits the whole clip."
    return f"A quick try: {count} frames, at most {STEPS} steps. Run edits the whole clip in full quality."
