"""Running a recipe in a test."""

import os
import signal
from collections.abc import Callable, Generator
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import torch

from regrain.editing.diffusion.blending import differing, matte, over
from regrain.editing.models.intervention import PLAIN
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.focus import Placed
from regrain.editing.pipeline.placing import edit_placed
from regrain.editing.recipe.events import EditResult, Event, Finished, WindowStarted

Result = TypeVar("Result")


def followed(events: Generator[Event, None, Result]) -> tuple[Result, list[Event]]:
    """Run a recipe, or a part of one, to its end; what it returns, and its events."""
    seen = []
    # Types are checked around a recipe, which hides from its own `no_grad` that it is a
    # generator.
    with torch.no_grad():
        try:
            while True:
                seen.append(next(events))
        except StopIteration as stop:
            return stop.value, seen


def finish(events: Generator[Event, None, Result]) -> Result:
    """What a recipe, or a part of one, returns."""
    return followed(events)[0]


def note_calls(monkeypatch, model, note) -> None:
    """Have each call of a model's `predict` noted before it is made."""
    predict = model.predict

    def spy(x, step, text, change=PLAIN, **named):
        note(x, step, text, change)
        return predict(x, step, text, change, **named)

    monkeypatch.setattr(model, "predict", spy)


def calls_by_window(monkeypatch, model, note, request, params) -> list[list]:
    """What is noted of each call of `predict`, for each of the three windows of an
    edit."""
    calls = [[]]
    note_calls(monkeypatch, model, lambda *given: calls[-1].append(note(*given)))
    with torch.no_grad():
        for event in edit_clip(model, request, params):
            calls += [[]] if isinstance(event, WindowStarted) else []
    _, *windows = calls  # without a set-up
    assert len(windows) == 3
    return windows


def edit_clip(
    backbone, request, params, method=None
) -> Generator[Event, None, EditResult]:
    """An edit of whole frames, as a run without a focus makes it."""
    edits = [Placed.whole(request, params)]
    known = METHODS | ({request.method: method} if method else {})
    with patch.dict(METHODS, known):
        result, _ = yield from edit_placed(backbone, request, edits)
    return result


def negative(request, backbone=None) -> Generator[Event, None, None]:
    """An engine that turns every frame into its negative."""
    frames = request.clip.read(0, len(request.clip))
    result = EditResult(255 - frames, 255 - frames, frames, request.edited_mask, {})
    yield Finished(result, {"version": 1, "warnings": []})


def composite(
    source, edited, masks, feather, opacity=None, painted=None, size=None
) -> np.ndarray:
    """Frames of an edit over those of its source; `painted` are the masks without their
    margins, of an edit that was drawn at a size."""
    made = source.copy()
    for number, inside in enumerate(masks):
        shown = None if opacity is None else opacity[number]
        alpha = matte(inside, feather, shown)
        if painted is not None:
            both = edited[number], source[number]
            alpha = differing(alpha, painted[number], *both, size)
        made[number] = over(source[number], edited[number], alpha)
    return made


def hanging(act: Callable[[Callable[[], None]], object]) -> int:
    """Another process that acts, and says when it hangs in the middle of that; its
    number, once it does."""
    ready, tell = os.pipe()
    child = os.fork()

    def hang() -> None:
        os.write(tell, b".")
        signal.pause()

    if not child:
        act(hang)
        os._exit(0)
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    return child


def kill(child: int) -> None:
    """End a process, and notice its end."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
