"""Runs that one press of Run makes: a try of one frame, a whole run, or one of several
seeds each."""

from __future__ import annotations

from dataclasses import replace

from regrain.editing.errors import RequestError
from regrain.editing.models.files.location import BUILT_IN_FAST
from regrain.editing.params.registry import METHODS
from regrain.editing.params.written import split_weight
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import pick
from regrain.editing.request.usual import picture_doubts, usual_way
from regrain.ui.session.clips import OpenedClip
from regrain.ui.values.fields import Values
from regrain.ui.values.method_choice import uses
from regrain.ui.work.jobs import RunJob

MAX_VARIANTS = 4
TRIED = {"steps": 12, "tune_steps": 40}  # at most, of a quick try


def attempt(
    kind: object,
    frame: object,
    request: EditRequest,
    values: Values,
    opened: OpenedClip,
) -> tuple[EditRequest, OpenedClip]:
    """Return what a quick try of a frame runs, and the clip it is shown with; both as
    given if `kind` is no try.

    It is what a run does, in fewer steps; but where the LoRA for few steps would make a
    pattern of a region's picture, by the method that takes pictures. A model that was
    tuned on so many frames is of use for no other number: then the whole clip is tried.

    Args:
        values: Every parameter as the run would have it.
    """
    if kind != "quick":
        return request, opened
    seeing = picture_doubts(request.asked, request.regions)
    if seeing:
        request = _seeing(request)
    count = len(request.clip)
    at = frame if isinstance(frame, int) and 0 <= frame < count else 0
    frames = range(count) if request.adapter else range(at, at + 1)
    fewer = {}
    for name, most in TRIED.items():
        value = values.get(name)
        if isinstance(value, int) and value > most:
            fewer[name] = most
    params = dict(request.params) | fewer
    for name, value in (("keyframes", "all"), ("cuts", "none")):
        if name in values:  # what was given may lie outside
            params[name] = value
    tried = pick(replace(request, params=params), frames)
    alone = at if len(frames) == 1 else None
    few = f"{count} frames" if alone is None else f"frame {at + 1}"
    if "steps" in fewer and not seeing:
        few += f", {fewer['steps']} steps of {values['steps']}"
    how = "in full quality" if fewer else "in the same way"
    note = f"A quick try: {few}. Run edits the whole clip {how}."
    if seeing:
        title = METHODS[request.method].title
        note = f"A quick try by {title}, which takes pictures: choose it for Run, too."
    # Without its file, no edit is put back into it.
    return tried, replace(opened, request=tried, file=None, attempt=note, tried=alone)


def _seeing(request: EditRequest) -> EditRequest:
    """Return a request by the usual method that takes pictures, without the LoRA for few
    steps."""
    way = usual_way(request.model, Edit().method)
    loras = tuple(
        name for name in request.loras if split_weight(name)[0] != BUILT_IN_FAST
    )
    motion = request.motion or way.motion
    params = {"steps": TRIED["steps"]}
    return replace(
        request, method=way.method, loras=loras, motion=motion, params=params
    )


def plan(job: RunJob, count: object, values: Values) -> list[RunJob]:
    """Return the runs of one press of Run: `job` with its own seed, and with those that
    follow it.

    Args:
        count: What the page sent, 1 to 4; anything else is taken for 1.
        values: Every parameter as the run would have it.

    Raises:
        RequestError: Several are wanted where the seed would change nothing.
    """
    request = job.request
    if not isinstance(count, int) or not 1 <= count <= MAX_VARIANTS:
        count = 1
    if count > 1:
        _check_seed_acts(request.method, values)
    jobs = []
    for number in range(1, count + 1):
        seeded = replace(request, seed=request.seed + number - 1)
        jobs.append(replace(job, request=seeded, number=number, total=count))
    return jobs


def _check_seed_acts(method: str, values: Values) -> None:
    use = uses(method).seed
    if use == "never":
        way = "Choose another method"
    elif use == "variation" and not (values.get("variation") or values.get("redraw")):
        way = "Set Variation above 0"
    else:
        return
    same = f"With {METHODS[method].title}, every seed gives this result"
    raise RequestError("variants", f"{same}. {way}, or make 1 variant.")


def title_of(method: str, seed: object) -> str:
    """Return what a run is called in lists: its method and, where it matters, its
    seed."""
    title = METHODS[method].title
    return title if uses(method).seed == "never" else f"{title}, seed {str(seed)[:20]}"
