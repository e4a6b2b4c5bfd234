"""Run one edit from request to report: load the backbone, run the recipe, time it, pass its events on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from regrain import __version__
from regrain.editing.errors import ModelError, ResourceError, shorten
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.writing import AI_EDITED
from regrain.editing.models.adapters import (
    AdapterFacts,
    check_fits,
    find_adapter,
    is_of_clip,
    load_adapter,
)
from regrain.editing.models.files.location import parse_lora
from regrain.editing.params.registry import (
    OFFERS,
    Resolved,
    check_needs,
    check_params,
    resolve_params,
)
from regrain.editing.recipe.events import (
    EditResult,
    Event,
    Finished,
    Progress,
    Stage,
    Tuned,
    WindowStarted,
)
from regrain.editing.request.compose import missing_phrases
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import adapter_facts, check_runnable, check_source
from regrain.editing.storage.memory import peak_memory, reset_peak
from regrain.editing.storage.packages import installed

if TYPE_CHECKING:
    import torch

    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures
    from regrain.editing.pipeline.metrics import Metrics

log = logging.getLogger(__name__)
T = TypeVar("T")
_PACKAGES = ("torch", "diffusers", "transformers", "opencv-python-headless", "av")


class StageTimer:
    """Seconds spent in each stage, and an estimate for the rest of the current one."""

    def __init__(self) -> None:
        self.device: torch.device | None = None  # known once the model is loaded
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", 0.0
        self._done, self._total = 0, 0  # of the last progress
        # Units before the present count, when it began, and when its last unit ended.
        self._first, self._begun, self._ended = 0, 0.0, 0.0
        # Of a clip in several windows: the present one, when it began, and whether anything was edited in it;
        # seconds and work of those that were.
        self._window: WindowStarted | None = None
        self._opened, self._edited, self._spent, self._worked = 0.0, False, 0.0, 0

    def enter(self, stage: str) -> None:
        """End the current stage and begin another."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = round(
                self.seconds.get(self._stage, 0.0) + now - self._since, 3
            )
            peak = (
                ""
                if self.device is None
                else f", peak memory {peak_memory(self.device) / 1e6:.0f} MB"
            )
            log.info("%s took %.1f s%s", self._stage, now - self._since, peak)
        self._stage, self._since, self._ended = stage, now, now
        self._done = self._total = 0

    def begin(self, window: WindowStarted | None) -> None:
        """End the current window and begin another, or none."""
        now = time.perf_counter()
        if self._window and self._edited:  # not one that was cached
            self._spent, self._worked = (
                self._spent + now - self._opened,
                self._worked + self._window.work,
            )
        self._window, self._opened, self._edited = window, now, False

    def left(self, stage: str, done: int, total: int) -> float | None:
        """Estimate the seconds left when so many units of a stage are done, of so many in total.

        They last until all windows are edited, from what those before took. Before that is known, until the
        end of the stage, from the units so far, counted anew when it starts over; None after a jump, which
        took no time per unit.
        """
        now = time.perf_counter()
        self._edited |= stage == "editing"
        if self._window and self._worked:
            return max(0.0, self._spent / self._worked * self._window.left - (now - self._opened))
        if total != self._total or done != self._done + 1:
            self._first, self._begun = (0, self._ended) if done == 1 else (done, now)
        self._done, self._total, self._ended = done, total, now
        units = done - self._first
        return (now - self._begun) / units * (total - done) if units else None


def edit(request: EditRequest, backbone: Backbone | None = None) -> Iterator[Event]:
    """Run an edit.

    Closing the iterator stops the run and leaves no trace on the model.

    Args:
        request: The request.
        backbone: A loaded model to use instead of `request.model`.
    Yields:
        Stage, Progress and Preview events, Losses and Tuned while a model is tuned, and Finished as the last.
    Raises:
        EditingError: A prompt or the model is missing, or the run failed; see `editing.errors`.
    """
    check_runnable(request)
    clock = StageTimer()
    run = yield from _prepared(request, backbone, clock)
    from regrain.editing.pipeline.assembly import edit_clip

    try:
        made_clip = edit_clip(run.backbone, request, run.params, pictures=run.pictures)
        result, made = yield from _timed(made_clip, clock)
    except ResourceError as error:
        if not request.more_prompts:
            raise
        advice = f"{error.message} Or edit fewer prompts in one run."
        raise ResourceError("more_prompts", advice) from error
    clock.begin(None)
    report, _ = yield from _timed(make_report(request, result, run), clock)
    report |= _describe_tuning(made.adapter.facts if made else run.adapter, made)
    clock.enter("")
    report["seconds"] = clock.seconds
    yield Finished(result, report)


def edit_shot(request: EditRequest, shot: int, backbone: Backbone | None = None) -> Iterator[Event]:
    """Edit the windows of one shot, counted from 0, and cache them: `edit` of the same request takes them.

    Yields the events of `edit` but the last; arguments and errors are the same.
    """
    check_runnable(request)
    clock = StageTimer()
    run = yield from _prepared(request, backbone, clock)
    from regrain.editing.pipeline.assembly import edit_windows

    yield from _timed(edit_windows(run.backbone, request, run.params, shot, run.pictures), clock)


def tune(request: EditRequest, backbone: Backbone | None = None) -> Iterator[Event]:
    """Tune a model on a clip, for edits of any method with `adapter`.

    Closing the iterator keeps what was learned; the same request then goes on from there.

    Args:
        request: The request. Its source prompt is what the model learns to draw; previews show its prompt, if
            it has any. Its params count if its method is tune_a_video.
        backbone: A loaded model to use instead of `request.model`.
    Yields:
        Stage, Progress, Preview, Losses and Tuned events; the last is the Tuned of the result.
    Raises:
        EditingError: The source prompt or the model is missing, or the tuning failed.
    """
    if request.method != "tune_a_video":
        request = replace(request, method="tune_a_video", params={})
    regions = tuple(replace(region, picture="") for region in request.regions)
    request = replace(request, adapter="", motion="", picture="", regions=regions)
    check_source(request)
    clock = StageTimer()
    run = yield from _prepared(request, backbone, clock)
    from regrain.editing.methods.tuning import learn_clip

    yield Stage("tuning")
    clock.enter("tuning")
    yield from _timed(learn_clip(run.backbone, request, run.params), clock)


class _Prepared(NamedTuple):
    """A model, with the adapter of the request if it has one, the parameters, and what pictures show."""

    backbone: Backbone
    params: Any
    resolved: Resolved
    adapter: AdapterFacts | None
    pictures: Pictures | None
    warnings: Sequence[str]


def _prepared(
    request: EditRequest, backbone: Backbone | None, clock: StageTimer
) -> Generator[Event, None, _Prepared]:
    """Check what can be checked without the model, load it, and decide the parameters."""
    adapter = adapter_facts(request)
    if backbone is None:
        _check_model(request)
    _check_words(request, backbone)
    clock.enter("loading")
    yield Stage("loading")
    if backbone is None:
        from regrain.editing.models.loading.load import load_backbone

        backbone = load_backbone(request.model, request.loras)
    _check_addons(request, backbone.offers, backbone.id)
    if request.motion:
        from regrain.editing.models.unet.motion_modules import load_motion, moving

        motion = parse_lora(request.motion, "motion", 0.0)
        backbone = moving(backbone, load_motion(motion.model, backbone), motion.weight)
    clock.device = backbone.device
    reset_peak(backbone.device)
    recommended = backbone.defaults.get(request.method, {})
    params, resolved = resolve_params(request.method, request.params, recommended)
    check_needs(request.method, params.model_dump(), backbone.offers, backbone.id)
    fields, texts = zip(*request.texts(), strict=True)
    backbone.check_prompts(texts, fields)
    pictures, asked = None, list(request.pictures)
    if asked:
        from regrain.editing.models.pictures.adapter import load_pictures

        pictures = load_pictures(request.picture_adapter, asked, backbone, params.picture_blocks)
    backbone, warnings = use_adapter(backbone, request) if adapter else (backbone, [])
    warnings += pictures.warnings if pictures else ()
    return _Prepared(backbone, params, resolved, adapter, pictures, warnings)


def use_adapter(backbone: Backbone, request: EditRequest) -> tuple[Backbone, list[str]]:
    """A view of a model with the adapter of a request, and warnings; a ModelError if the two do not fit."""
    from regrain.editing.methods.tuning import learned_clip
    from regrain.editing.models.unet.tuned import tuned

    adapter = load_adapter(find_adapter(request.adapter))
    check_fits(adapter, backbone, backbone.fit(*request.clip.size, request.size))
    warnings = []
    if not is_of_clip(adapter.facts, learned_clip(backbone, request).frames):
        warnings.append("The adapter was tuned on another clip or other frames of it.")
    return tuned(backbone, adapter), warnings


def _describe_tuning(facts: AdapterFacts | None, made: Tuned | None) -> dict[str, object]:
    """What a report says about tuned weights: whose they are and, if made in this run, the losses."""
    if facts is None:
        return {}
    losses = {} if made is None else {"losses": [round(float(loss), 6) for loss in made.losses]}
    return {
        "adapter": facts.model_dump(mode="json", exclude={"version", "sketch", "clip"}) | losses
    }


def _check_model(request: EditRequest) -> None:
    """Refuse a model that the method cannot use before loading it, if its configuration is present."""
    from regrain.editing.models.files.location import find
    from regrain.editing.models.files.offers import family_of

    if family := family_of(find(request.model)):
        check_needs(request.method, request.params, family.offers, request.model, family.title)
        _check_addons(request, family.offers, request.model)


def _check_addons(request: EditRequest, offers: Collection[str], model: str) -> None:
    """Refuse what is made for image models where the model is none."""
    for field, what in (("motion", request.motion), ("adapter", request.adapter)):
        if what and "image_unet" not in offers:
            said = f"It is made for {OFFERS['image_unet']}, which {shorten(model)} does not have"
            raise ModelError(field, f"{said}. Remove it or use another model.")


def _check_words(request: EditRequest, backbone: Backbone | None) -> None:
    """Refuse words that a small model does not know before loading it, and name their field."""
    from regrain.editing.models.files.location import find
    from regrain.editing.models.files.words import check_words, read_words

    words = (
        backbone.words if backbone is not None else read_words(Path(find(request.model).location))
    )
    for field, text in request.texts():
        check_words(words, text, field)


def _timed(
    recipe: Generator[Event, None, T], clock: StageTimer
) -> Generator[Event, None, tuple[T, Tuned | None]]:
    """Pass the recipe's events on, with the time left filled in; also return the last Tuned of them."""
    made = None
    try:
        while True:
            event = next(recipe)
            match event:
                case Stage(name=name):
                    clock.enter(name)
                case WindowStarted():
                    clock.begin(event)
                case Progress(stage=stage, done=done, total=total):
                    left = clock.left(stage, done, total)
                    event = (
                        event
                        if event.seconds_left is not None
                        else replace(event, seconds_left=left)
                    )
                case Tuned():
                    made = event
            yield event
    except StopIteration as stop:
        return stop.value, made
    finally:
        recipe.close()


def make_report(
    request: EditRequest, result: EditResult, run: _Prepared
) -> Generator[Event, None, dict[str, object]]:
    """Make the content of report.json, except the seconds."""
    from regrain.editing.pipeline.metrics import measuring
    from regrain.editing.request.project import describe

    enough = threading.Event()
    yield Stage("measuring", enough.set)
    others = []
    for n, other in enumerate(result.others, 2):
        edit = replace(result, frames=other.frames, uncomposited=other.uncomposited, attention={})
        metrics = yield from _until(enough, measuring(edit, request))
        others.append({"file": f"edited_{n}.mp4", "prompt_used": other.prompt, "metrics": metrics})
    metrics = yield from _until(enough, measuring(result, request))
    return {
        "version": 1,
        "comment": AI_EDITED,
        "versions": {"regrain": __version__} | {name: installed(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": describe(request),
        "prompt_used": request.composed.text,
        "params": run.resolved,
        "seconds": {},
        "peak_memory": peak_memory(run.backbone.device),
        **_describe_plan(result),
        **_describe_pictures(run.pictures),
        "metrics": metrics,
        **({"others": others} if others else {}),
        "warnings": [
            *request.clip.warnings,
            *_unknown_world(request, run.backbone),
            *_unused_negatives(request, run.resolved),
            *_appended_words(request),
            *_padded(request, run.backbone),
            *_cuts_found(request, result),
            *run.warnings,
        ],
    }


def _until(
    enough: threading.Event, steps: Generator[Progress, None, Metrics]
) -> Generator[Progress, None, Metrics]:
    """What all steps lead to; nothing if it is enough before."""
    try:
        while not enough.is_set():
            yield next(steps)
    except StopIteration as stop:
        return stop.value
    return {}


def _cuts_found(request: EditRequest, result: EditResult) -> list[str]:
    """Cuts that were found, not given."""
    plan = result.plan
    if (
        plan is None
        or not plan.cuts
        or check_params(request.method, request.params).cuts is not None
    ):
        return []
    frames = f"frame{'s' if len(plan.cuts) > 1 else ''} {', '.join(map(str, plan.cuts))}"
    return [
        f"The clip seems to be cut before {frames}, counted from 0, so each shot was edited on its own. "
        "Set cuts to correct that."
    ]


def _describe_plan(result: EditResult) -> dict[str, object]:
    """How a long clip was divided: the first frame of each shot but the first, key frames, and windows."""
    plan = result.plan
    if plan is None or (len(plan.windows) == 1 and len(plan.keys) == plan.frames):
        return {}
    windows = [
        {"frames": [w.keys[0], w.keys[-1]], "anchors": list(w.anchors)} for w in plan.windows
    ]
    keys = {} if len(plan.keys) == plan.frames else {"key_frames": list(plan.keys)}
    return {"cuts": list(plan.cuts), **keys, "windows": windows}


def _describe_pictures(pictures: Pictures | None) -> dict[str, object]:
    """The pictures that acted: of which region, file, fingerprint of what the model saw, and scale."""
    seen = [
        {"region": one.asked.name or None, "file": one.asked.path.name}
        | {"fingerprint": one.fingerprint, "scale": one.scale}
        for one in (pictures.seen if pictures else ())
    ]
    return {"pictures": seen} if seen else {}


def _unknown_world(request: EditRequest, backbone: Backbone) -> list[str]:
    """A model of a closed world warns about every clip that was not drawn in it."""
    if backbone.words is None or request.clip.comment == DRAWN:
        return []
    return [
        f"{backbone.id} knows only its own drawn world ({len(backbone.words)} words); on other clips its "
        "edits are meaningless. Use a Stable Diffusion checkpoint for real footage."
    ]


def _padded(request: EditRequest, backbone: Backbone) -> list[str]:
    """A clip that does not fill the last latent of a video model."""
    if not (lacking := (1 - len(request.clip)) % backbone.frames_per_latent):
        return []
    times = "once" if lacking == 1 else f"{lacking} times"
    return [f"The last frame was repeated {times} for {backbone.id}, and cut again after the edit."]


def _appended_words(request: EditRequest) -> list[str]:
    """Words of regions are appended to a prompt if their place in it was not found."""
    regions = {region.label: region for region in request.regions}
    return [
        f"Region {regions[label].name!r}: {shorten(sought)} does not match whole words of the prompt, so "
        f"{shorten(regions[label].prompt)} was appended: {shorten(text, 200)}. To bind it elsewhere, use "
        "words of the prompt."
        for prompt, text in zip(
            (request.prompt, *request.more_prompts), request.targets, strict=True
        )
        for label, sought in missing_phrases(request.source_prompt, prompt, request.regions).items()
    ]


def _unused_negatives(request: EditRequest, resolved: Resolved) -> list[str]:
    """Negative-prompt inversion uses the source prompt in place of the negative prompt."""
    entry = resolved.get("inversion")
    if not request.negatives or entry is None or entry["value"] != "negative_prompt":
        return []
    return [
        "Negative prompts have no effect with inversion=negative_prompt, which uses the source prompt as the "
        "negative. Choose null_text or plain."
    ]
