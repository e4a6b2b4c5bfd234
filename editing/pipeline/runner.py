"""Run one edit from request to report: load the backbone, run the recipe, time it, pass
its events on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, TypeVar

from regrain.editing.errors import ResourceError
from regrain.editing.models.backbone import Backbone
from regrain.editing.motion import known_flows
from regrain.editing.pipeline.clocks import RunClock
from regrain.editing.pipeline.preparation import prepare_run, tuned_on
from regrain.editing.pipeline.report import make_report
from regrain.editing.recipe.events import (
    Event,
    Finished,
    Progress,
    Stage,
    Steps,
    Tuned,
    WindowStarted,
    changed,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import check_runnable, check_source
from regrain.editing.storage.devices import plain_torch

T = TypeVar("T")
P = ParamSpec("P")


def _apart(run: Callable[P, Steps[None]]) -> Callable[P, Steps[None]]:
    """Let a run work as if nothing were set in PyTorch, and find that again between its
    events."""

    @wraps(run)
    def apart(*given: P.args, **named: P.kwargs) -> Steps[None]:
        events = run(*given, **named)
        try:
            while True:
                with plain_torch():
                    event = next(events, None)
                if event is None:
                    return
                yield event
        finally:
            events.close()
            known_flows.forget()

    return apart


@_apart
def edit(request: EditRequest, backbone: Backbone | None = None) -> Steps[None]:
    """Run an edit.

    Closing the iterator stops the run and leaves no trace on the model.

    Args:
        request: The request.
        backbone: A loaded model to use instead of `request.model`.
    Yields:
        Stage, Progress and Preview events, Losses and Tuned while a model is tuned, and
        Finished as the last.
    Raises:
        EditingError: A prompt or the model is missing, or the run failed; see
            `editing.errors`.
    """
    check_runnable(request)
    clock = RunClock()
    run = yield from prepare_run(request, backbone, clock)
    from regrain.editing.pipeline.placing import edit_placed

    recipe = edit_placed(run.backbone, run.request, run.edits, run.pictures)
    try:
        (result, drawn), made = yield from _timed(recipe, clock)
    except ResourceError as error:
        if not request.more_prompts:
            raise
        raise ResourceError(
            "more_prompts", f"{error.message} Or edit fewer prompts in one run."
        ) from error
    clock.begin(None)
    report, _ = yield from _timed(make_report(request, result, run, drawn), clock)
    adapter = made.adapter.facts if made else run.adapter
    if adapter:
        told = adapter.model_dump(mode="json", exclude={"version", "sketch", "clip"})
        if made:
            told["losses"] = [round(float(loss), 6) for loss in made.losses]
        report["adapter"] = told
    clock.enter("")
    report["seconds"] = clock.seconds
    yield Finished(result, report)


@_apart
def tune(request: EditRequest, backbone: Backbone | None = None) -> Steps[None]:
    """Tune a model on a clip, for edits of any method with `adapter`.

    Closing the iterator keeps what was learned; the same request then goes on from
    there.

    Args:
        request: The request. Its source prompt is what the model learns to draw;
            previews show its prompt, if it has any. Its params count if its method is
            tune_a_video.
        backbone: A loaded model to use instead of `request.model`.
    Yields:
        Stage, Progress, Preview, Losses and Tuned events; the last is the Tuned of the
        result.
    Raises:
        EditingError: The source prompt or the model is missing, or the tuning failed.
    """
    if request.method != "tune_a_video":
        request = replace(request, method="tune_a_video", params={})
    regions = tuple(replace(region, picture="") for region in request.regions)
    request = replace(
        request, adapter="", motion="", picture="", reader="", regions=regions
    )
    check_source(request)
    clock = RunClock()
    run = yield from prepare_run(request, backbone, clock)
    from regrain.editing.methods.tuning import learn_clip

    yield Stage("tuning")
    clock.enter("tuning")
    seen = tuned_on(run.edits)
    yield from _timed(learn_clip(run.backbone, seen.request, seen.params), clock)


def _timed(recipe: Steps[T], clock: RunClock) -> Steps[tuple[T, Tuned | None]]:
    """Pass a recipe's events on, with the time left filled in; return its result and
    its last Tuned."""
    made: list[Tuned] = []

    def follow(event: Event) -> Event:
        if isinstance(event, Stage):
            clock.enter(event.name)
        elif isinstance(event, WindowStarted):
            clock.begin(event)
        elif isinstance(event, Tuned):
            made.append(event)
        elif isinstance(event, Progress):
            left = clock.left(event)
            if event.seconds_left is None:
                return replace(event, seconds_left=left)
        return event

    result = yield from changed(recipe, follow)
    return result, made[-1] if made else None
