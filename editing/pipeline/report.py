"""Make the content of report.json."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from regrain import __version__
from regrain.editing.boundary import looking_on
from regrain.editing.errors import shorten
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.labels import understood
from regrain.editing.media.writing import AI_EDITED
from regrain.editing.params.registry import Resolved
from regrain.editing.pipeline.focus import Placed
from regrain.editing.pipeline.preparation import PreparedRun
from regrain.editing.recipe.events import EditResult, Stage, Steps
from regrain.editing.request.compose import compose
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.memory import peak_memory
from regrain.editing.storage.packages import installed
from regrain.editing.storage.texts import Content
from regrain.editing.verdict.looked import look_at

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.pipeline.assembly import DrawnClip
    from regrain.editing.pipeline.metrics import Metrics
    from regrain.editing.request.plan import Plan

_PACKAGES = ("torch", "diffusers", "transformers", "opencv-python-headless", "av")


def make_report(
    request: EditRequest,
    result: EditResult,
    run: PreparedRun,
    drawn: Sequence[DrawnClip],
) -> Steps[Content]:
    """Measure a result, and the boxes it was put together from, look at it, and make the
    content of report.json, except the seconds."""
    from regrain.editing.pipeline.metrics import measuring
    from regrain.editing.pipeline.placing import Compositor
    from regrain.editing.request.project import describe

    enough = threading.Event()
    unseen: list[str] = []
    edited = run.request
    yield Stage("measuring", enough.set)
    others: list[Content] = []
    for number, other in enumerate(result.others, 2):
        edit = replace(
            result, frames=other.frames, uncomposited=other.uncomposited, attention={}
        )
        metrics = yield from _until(enough, measuring(edit, edited), unseen)
        others.append(
            {
                "file": f"edited_{number}.mp4",
                "prompt_used": other.prompt,
                "metrics": metrics,
            }
        )
    focus = []
    attention: Content = {}
    for one in drawn:
        placed = one.placed
        if placed.fills(edited):
            break
        # Nothing was attended to outside the boxes.
        result = replace(result, attention={})
        alone = replace(one, placed=Placed.whole(placed.request, placed.params))
        made = Compositor(placed.request, [alone], run.backbone).result()
        own = yield from _until(enough, measuring(made, placed.request), unseen)
        focus.append(placed.describe(edited.clip.size, one.plan) | {"metrics": own})
        attention |= own.get("attention", {})
    metrics = yield from _until(enough, measuring(result, edited), unseen)
    if metrics and focus:
        metrics["attention"] = attention
    versions = {name: installed(name) for name in _PACKAGES}
    report: Content = {
        "version": 1,
        "comment": AI_EDITED,
        "versions": {"regrain": __version__, **versions},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": describe(request),
        "prompt_used": request.composed.text,
        "params": run.resolved,
        "seconds": {},
        "peak_memory": peak_memory(run.backbone.device),
    }
    if request.labels is not None:
        report["masks"] = understood(request.labels)
    report |= _describe_plan(result.plan)
    if run.pictures and run.pictures.seen:
        report["pictures"] = [
            {
                "region": one.asked.name or None,
                "file": one.asked.path.name,
                "fingerprint": one.fingerprint,
                "scale": one.scale,
            }
            for one in run.pictures.seen
        ]
    if focus:
        report["focus"] = focus
    report["metrics"] = metrics
    report["looked_at"], *looked = yield from look_at(request, result, run.backbone)
    for other, seen in zip(others, looked, strict=True):
        other["looked_at"] = seen
    if others:
        report["others"] = others
    report["warnings"] = [
        *request.clip.warnings,
        *request.hidden.values(),
        *_of_model(request, run),
        *_of_prompts(request, run.resolved),
        *_of_frames(request, result.plan, run.backbone),
        *run.warnings,
        *unseen,
    ]
    return report


def _until(
    stopped: threading.Event,
    steps: Steps[Metrics],
    unseen: list[str],
) -> Steps[Metrics]:
    """Return the result of `steps`, or {} if they are stopped or fail; see
    `looking_on`."""
    with looking_on("measurement", unseen):
        try:
            while not stopped.is_set():
                yield next(steps)
        except StopIteration as stop:
            return stop.value
    return {}


def _describe_plan(plan: Plan | None) -> Content:
    """Describe how a long clip was divided: first frames of later shots, key frames,
    and windows."""
    if plan is None:
        return {}
    all_are_keys = len(plan.keys) == plan.frames
    if all_are_keys and len(plan.windows) == 1:
        return {}
    described: Content = {"cuts": list(plan.cuts)}
    if not all_are_keys:
        described["key_frames"] = list(plan.keys)
    described["windows"] = [
        {"frames": [window.keys[0], window.keys[-1]], "anchors": list(window.anchors)}
        for window in plan.windows
    ]
    return described


def _of_model(request: EditRequest, run: PreparedRun) -> Iterator[str]:
    """Warn about a clip that was not drawn in the closed world of a small model; and
    that the model names a scheduler that is not here, unless the sampler was chosen."""
    backbone = run.backbone
    if backbone.words is not None and request.clip.comment != DRAWN:
        yield (
            f"{backbone.id} knows only its own drawn world ({len(backbone.words)} words); on other clips its "
            "edits are meaningless. Use a Stable Diffusion checkpoint for real footage."
        )
    other = backbone.other_scheduler
    sampler = run.resolved.get("sampler", {})
    is_chosen = sampler.get("source") not in ("model", "method")
    # Another sampler is the model's own recommendation.
    if other and not is_chosen and sampler["value"] == other.sampler:
        yield (
            f"The scheduler of {backbone.id}, {other.title}, is not here; the nearest sampler is used, "
            f"{other.sampler}. Set sampler to choose another."
        )
    yield from backbone.notes


def _of_prompts(request: EditRequest, resolved: Resolved) -> Iterator[str]:
    """Warn about negative prompts that have no effect, and about words of regions that
    were appended, since their place in a prompt was not found."""
    inversion = resolved.get("inversion", {}).get("value")
    if request.negatives and resolved["guidance_scale"]["value"] == 1:
        yield "Negative prompts have no effect at a guidance scale of 1. Raise it, or remove them."
    elif request.negatives and inversion == "negative_prompt":
        yield (
            "Negative prompts have no effect with inversion=negative_prompt, which uses the source prompt as "
            "the negative. Choose null_text or plain."
        )
    if request.description != request.source_prompt:
        composed = shorten(request.description, 200)
        yield (
            f"Nothing was said of the clip, so the words of its regions stood for that: {composed}. "
            "Describe the whole clip if the edit misses."
        )
    regions = {region.label: region for region in request.regions}
    prompts = (request.prompt, *request.more_prompts)
    for prompt in prompts:
        composed = compose(request.source_prompt, prompt, request.regions)
        for label, sought in composed.missing.items():
            region = regions[label]
            yield (
                f"Region {region.name!r}: {shorten(sought)} does not match whole words of the prompt, so "
                f"{shorten(region.prompt)} was appended: {shorten(composed.text, 200)}. To bind it "
                "elsewhere, use words of the prompt."
            )


def _of_frames(
    request: EditRequest, plan: Plan | None, backbone: Backbone
) -> Iterator[str]:
    """Warn about a clip that does not fill the last latent of a video model, and about
    cuts that were found, not given."""
    lacking = (1 - len(request.clip)) % backbone.frames_per_latent
    if lacking:
        times = "once" if lacking == 1 else f"{lacking} times"
        yield f"The last frame was repeated {times} for {backbone.id}, and cut again after the edit."
    cuts = plan.cuts if plan else ()
    if cuts and request.decided.cuts is None:
        noun = "frames" if len(cuts) > 1 else "frame"
        numbers = ", ".join(map(str, cuts))
        yield (
            f"The clip seems to be cut before {noun} {numbers}, counted from 0, so each shot was edited on "
            "its own. Set cuts to correct that."
        )
