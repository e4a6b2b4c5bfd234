"""Make the content of report.json."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from regrain import __version__
from regrain.editing.errors import shorten
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.writing import AI_EDITED
from regrain.editing.models.adapters import AdapterFacts
from regrain.editing.params.registry import Resolved, check_params
from regrain.editing.pipeline.focus import BoxedResult, describe_focus
from regrain.editing.pipeline.preparation import PreparedRun
from regrain.editing.recipe.events import EditResult, Event, Progress, Stage, Tuned
from regrain.editing.request.compose import missing_phrases
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.memory import peak_memory
from regrain.editing.storage.packages import installed

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures
    from regrain.editing.pipeline.metrics import Metrics

_PACKAGES = ("torch", "diffusers", "transformers", "opencv-python-headless", "av")


def make_report(
    request: EditRequest,
    result: EditResult,
    run: PreparedRun,
    boxes: Sequence[BoxedResult] = (),
) -> Generator[Event, None, dict[str, object]]:
    """Measure a result, and the boxes it was put together from, and make the content of
    report.json, except the seconds."""
    from regrain.editing.pipeline.metrics import measuring
    from regrain.editing.request.project import describe

    enough = threading.Event()
    edited = run.boxed.request
    yield Stage("measuring", enough.set)
    others = []
    for number, other in enumerate(result.others, 2):
        edit = replace(
            result, frames=other.frames, uncomposited=other.uncomposited, attention={}
        )
        metrics = yield from _until(enough, measuring(edit, edited))
        file = f"edited_{number}.mp4"
        others.append({"file": file, "prompt_used": other.prompt, "metrics": metrics})
    focus: list[dict[str, Any]] = []
    for one in boxes:
        own = yield from _until(enough, measuring(one.result, one.boxed.request))
        focus.append(describe_focus(request, one) | {"metrics": own})
    # Nothing was attended to outside the boxes.
    whole = replace(result, attention={}) if boxes else result
    metrics = yield from _until(enough, measuring(whole, edited))
    if metrics:
        for one in focus:
            metrics["attention"] |= one["metrics"].get("attention", {})
    report: dict[str, object] = {
        "version": 1,
        "comment": AI_EDITED,
        "versions": _versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": describe(request),
        "prompt_used": request.composed.text,
        "params": run.resolved,
        "seconds": {},
        "peak_memory": peak_memory(run.backbone.device),
    }
    report |= _describe_plan(result)
    report |= _describe_pictures(run.pictures)
    if focus:
        report["focus"] = focus
    report["metrics"] = metrics
    if others:
        report["others"] = others
    report["warnings"] = _warnings(request, result, run)
    return report


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"regrain": __version__}
    for name in _PACKAGES:
        versions[name] = installed(name)
    return versions


def _until(
    stopped: threading.Event, steps: Generator[Progress, None, Metrics]
) -> Generator[Progress, None, Metrics]:
    """Return the result of `steps`, or {} if stopped."""
    try:
        while not stopped.is_set():
            yield next(steps)
    except StopIteration as stop:
        return stop.value
    return {}


def describe_tuning(
    facts: AdapterFacts | None, made: Tuned | None
) -> dict[str, object]:
    """Describe tuned weights: where they come from and, if this run tuned them, the
    losses."""
    if facts is None:
        return {}
    adapter = facts.model_dump(mode="json", exclude={"version", "sketch", "clip"})
    if made is not None:
        adapter["losses"] = [round(float(loss), 6) for loss in made.losses]
    return {"adapter": adapter}


def _describe_plan(result: EditResult) -> dict[str, object]:
    """Describe how a long clip was divided: first frames of later shots, key frames,
    and windows."""
    plan = result.plan
    if plan is None:
        return {}
    all_are_keys = len(plan.keys) == plan.frames
    if all_are_keys and len(plan.windows) == 1:
        return {}
    described: dict[str, object] = {"cuts": list(plan.cuts)}
    if not all_are_keys:
        described["key_frames"] = list(plan.keys)
    described["windows"] = [
        {"frames": [window.keys[0], window.keys[-1]], "anchors": list(window.anchors)}
        for window in plan.windows
    ]
    return described


def _describe_pictures(pictures: Pictures | None) -> dict[str, object]:
    """Describe the pictures that acted: their region, file, fingerprint as the model
    saw it, and scale."""
    if pictures is None or not pictures.seen:
        return {}
    seen = [
        {
            "region": one.asked.name or None,
            "file": one.asked.path.name,
            "fingerprint": one.fingerprint,
            "scale": one.scale,
        }
        for one in pictures.seen
    ]
    return {"pictures": seen}


def _warnings(request: EditRequest, result: EditResult, run: PreparedRun) -> list[str]:
    return [
        *request.clip.warnings,
        *_unknown_world(request, run.backbone),
        *_other_scheduler(run.backbone, run.resolved),
        *run.backbone.notes,
        *_unused_negatives(request, run.resolved),
        *_appended_words(request),
        *_padded(request, run.backbone),
        *_cuts_found(request, result),
        *run.warnings,
    ]


def _unknown_world(request: EditRequest, backbone: Backbone) -> list[str]:
    """Warn about a clip that was not drawn in the closed world of a small model."""
    if backbone.words is None or request.clip.comment == DRAWN:
        return []
    return [
        f"{backbone.id} knows only its own drawn world ({len(backbone.words)} words); on other clips its "
        "edits are meaningless. Use a Stable Diffusion checkpoint for real footage."
    ]


def _other_scheduler(backbone: Backbone, resolved: Resolved) -> list[str]:
    """Warn that the model names a scheduler that is not here, unless the sampler was
    chosen."""
    other = backbone.other_scheduler
    entry = resolved.get("sampler")
    if other is None or entry is None or entry["source"] not in ("model", "method"):
        return []
    if entry["value"] != other.sampler:
        return []  # the model's own recommendation
    return [
        f"The scheduler of {backbone.id}, {other.title}, is not here; the nearest sampler is used, "
        f"{other.sampler}. Set sampler to choose another."
    ]


def _unused_negatives(request: EditRequest, resolved: Resolved) -> list[str]:
    """Warn that negative-prompt inversion uses the source prompt in place of the
    negative prompt, and that nothing is guided away from without guidance."""
    if not request.negatives:
        return []
    if resolved["guidance_scale"]["value"] == 1:
        return [
            "Negative prompts have no effect at a guidance scale of 1. Raise it, or remove them."
        ]
    entry = resolved.get("inversion")
    if entry is None or entry["value"] != "negative_prompt":
        return []
    return [
        "Negative prompts have no effect with inversion=negative_prompt, which uses the source prompt as the "
        "negative. Choose null_text or plain."
    ]


def _appended_words(request: EditRequest) -> list[str]:
    """Warn about words of regions that were appended, since their place in a prompt was
    not found."""
    regions = {region.label: region for region in request.regions}
    prompts = (request.prompt, *request.more_prompts)
    warnings: list[str] = []
    for prompt, text in zip(prompts, request.targets, strict=True):
        missing = missing_phrases(request.source_prompt, prompt, request.regions)
        for label, sought in missing.items():
            region = regions[label]
            warnings.append(
                f"Region {region.name!r}: {shorten(sought)} does not match whole words of the prompt, so "
                f"{shorten(region.prompt)} was appended: {shorten(text, 200)}. To bind it elsewhere, use "
                "words of the prompt."
            )
    return warnings


def _padded(request: EditRequest, backbone: Backbone) -> list[str]:
    """Warn about a clip that does not fill the last latent of a video model."""
    lacking = (1 - len(request.clip)) % backbone.frames_per_latent
    if lacking == 0:
        return []
    times = "once" if lacking == 1 else f"{lacking} times"
    return [
        f"The last frame was repeated {times} for {backbone.id}, and cut again after the edit."
    ]


def _cuts_found(request: EditRequest, result: EditResult) -> list[str]:
    """Warn about cuts that were found, not given."""
    plan = result.plan
    if plan is None or not plan.cuts:
        return []
    given = check_params(request.method, request.params).cuts
    if given is not None:
        return []
    noun = "frames" if len(plan.cuts) > 1 else "frame"
    numbers = ", ".join(map(str, plan.cuts))
    return [
        f"The clip seems to be cut before {noun} {numbers}, counted from 0, so each shot was edited on its "
        "own. Set cuts to correct that."
    ]
