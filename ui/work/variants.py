"""Runs that one press of Run makes: a try of one frame, a whole run, or one of several
seeds each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from regrain.editing.errors import RequestError
from regrain.editing.models.files.lora_file import fast_lora
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import pick
from regrain.ui.session.clips import OpenedClip
from regrain.ui.values.method_choice import uses
from regrain.ui.work.jobs import RunJob

MAX_VARIANTS = 4
STEPS, TUNE_STEPS = 8, 40  # of a quick try, at most
FAST = "infedit"  # what a model's own LoRA for few steps is made for


def attempt(
    kind: object, frame: object, request: EditRequest, opened: OpenedClip
) -> tuple[EditRequest, OpenedClip]:
    """Return what a quick try of a frame runs, and the clip it is shown with; both as
    given if `kind` is no try.

    A model that was tuned on so many frames is of use for no other number: then the
    whole clip is tried.
    """
    if kind != "quick":
        return request, opened
    request = _sped_up(request)
    count = len(request.clip)
    at = frame if isinstance(frame, int) and 0 <= frame < count else 0
    frames = range(count) if request.adapter else range(at, at + 1)
    params = dict(request.params) | _params(request)
    tried = pick(replace(request, params=params), frames)
    by = ""
    if request.method != opened.request.method:
        by = f" by {METHODS[request.method].title}, the fast way"
    few = f"frame {at + 1}" if len(frames) == 1 else f"{count} frames"
    few = f"{few}, at most {STEPS} steps{by}"
    note = f"A quick try: {few}. Run edits the whole clip in full quality."
    alone = at if len(frames) == 1 else None
    # Without its file, no edit is put back into it.
    return tried, replace(opened, request=tried, file=None, attempt=note, tried=alone)


def _sped_up(request: EditRequest) -> EditRequest:
    """Return a request by the LoRA for few steps that comes with the model, where it
    can stand for the method: regions are bound to their words, and nothing is tuned."""
    fast = fast_lora(request.model)
    binds = issubclass(METHODS[request.method].Params, ModulatedParams)
    if fast is None or not binds or request.adapter or not request.regions:
        return request
    if request.method == FAST and fast in request.loras:
        return request
    loras = tuple(dict.fromkeys((*request.loras, fast)))
    return replace(request, method=FAST, params={}, loras=loras, motion="")


def _params(request: EditRequest) -> dict[str, object]:
    """Return fewer steps, and no key frames and cuts, which may lie outside."""
    params: dict[str, object] = {"keyframes": "all", "cuts": "none"}
    for name, most in (("steps", STEPS), ("tune_steps", TUNE_STEPS)):
        value = request.params.get(name)
        few = isinstance(value, int) and value > 0
        params[name] = min(most, value) if few else most
    fields = METHODS[request.method].Params.model_fields
    return {name: value for name, value in params.items() if name in fields}


def plan(job: RunJob, wanted: object, values: Mapping[str, object]) -> list[RunJob]:
    """Return the runs of one press of Run: `job` with its own seed, and with those that
    follow it.

    Args:
        wanted: What the page sent, {"count": 1 to 4}; anything else is taken for 1.
        values: Every parameter as the run would have it.

    Raises:
        RequestError: Several are wanted where the seed would change nothing.
    """
    request = job.request
    count = wanted.get("count") if isinstance(wanted, dict) else 1
    if not isinstance(count, int) or not 1 <= count <= MAX_VARIANTS:
        count = 1
    if count > 1:
        _check_seed_acts(request.method, values)
    jobs = []
    for number in range(1, count + 1):
        seeded = replace(request, seed=request.seed + number - 1)
        jobs.append(replace(job, request=seeded, number=number, total=count))
    return jobs


def _check_seed_acts(method: str, values: Mapping[str, object]) -> None:
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
