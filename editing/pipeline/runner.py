"""Run one edit from request to report: load the backbone, run the recipe, time it, pass
its events on."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from regrain.editing.errors import ResourceError
from regrain.editing.pipeline.clocks import RunClock
from regrain.editing.pipeline.focus import BoxedResult
from regrain.editing.pipeline.placing import edit_boxes
from regrain.editing.pipeline.preparation import PreparedRun, prepare, seen_by_model
from regrain.editing.pipeline.report import describe_tuning, make_report
from regrain.editing.recipe.events import (
    EditResult,
    Event,
    Finished,
    Progress,
    Stage,
    Tuned,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.runnable import check_runnable, check_source

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone

T = TypeVar("T")
_OF_STEPS = ("inverting", "editing")  # stages whose units are the network's steps


def edit(request: EditRequest, backbone: Backbone | None = None) -> Iterator[Event]:
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
    run = yield from prepare(request, backbone, clock.stages)
    try:
        (result, boxes), made = yield from _timed(_edited(run), clock)
    except ResourceError as error:
        if not request.more_prompts:
            raise
        advice = f"{error.message} Or edit fewer prompts in one run."
        raise ResourceError("more_prompts", advice) from error
    clock.windows.begin(None)
    report, _ = yield from _timed(make_report(request, result, run, boxes), clock)
    adapter = made.adapter.facts if made else run.adapter
    report |= describe_tuning(adapter, made)
    clock.stages.enter("")
    report["seconds"] = clock.stages.seconds
    in_units = clock.stages.in_units
    report["seconds_in_steps"] = {
        stage: in_units[stage] for stage in _OF_STEPS if stage in in_units
    }
    yield Finished(result, report)


def _edited(
    run: PreparedRun,
) -> Generator[Event, None, tuple[EditResult, tuple[BoxedResult, ...]]]:
    """Edit the whole frame, or boxes of it; returns the result, and that of each edit
    of boxes."""
    from regrain.editing.pipeline.assembly import edit_clip

    if run.boxed.edits:
        return (yield from edit_boxes(run.backbone, run.boxed, run.pictures))
    request = run.boxed.request
    recipe = edit_clip(run.backbone, request, run.params, pictures=run.pictures)
    return (yield from recipe), ()


def edit_shot(
    request: EditRequest, shot: int, backbone: Backbone | None = None
) -> Iterator[Event]:
    """Edit the windows of one shot, counted from 0, and cache them: `edit` of the same
    request takes them.

    Yields the events of `edit` but the last; arguments and errors are the same.
    """
    check_runnable(request)
    clock = RunClock()
    run = yield from prepare(request, backbone, clock.stages)
    from regrain.editing.pipeline.assembly import edit_windows

    parts = [(boxed.request, boxed.params) for boxed in run.boxed.edits]
    for part, params in parts or [(request, run.params)]:
        recipe = edit_windows(run.backbone, part, params, shot, run.pictures)
        yield from _timed(recipe, clock)


def tune(request: EditRequest, backbone: Backbone | None = None) -> Iterator[Event]:
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
    request = replace(request, adapter="", motion="", picture="", regions=regions)
    check_source(request)
    clock = RunClock()
    run = yield from prepare(request, backbone, clock.stages)
    from regrain.editing.methods.tuning import learn_clip

    yield Stage("tuning")
    clock.stages.enter("tuning")
    seen = seen_by_model(run.boxed)
    yield from _timed(learn_clip(run.backbone, seen, run.params), clock)


def _timed(
    recipe: Generator[Event, None, T], clock: RunClock
) -> Generator[Event, None, tuple[T, Tuned | None]]:
    """Pass a recipe's events on, with the time left filled in; return its result and
    its last Tuned."""
    made = None
    try:
        while True:
            event = next(recipe)
            clock.follow(event)
            if isinstance(event, Progress):
                left = clock.left(event)
                if event.seconds_left is None:
                    event = replace(event, seconds_left=left)
            elif isinstance(event, Tuned):
                made = event
            yield event
    except StopIteration as stop:
        return stop.value, made
    finally:
        recipe.close()
