"""ZeroGPU: on such a Space, a GPU is lent for the seconds of one call, which runs in a
process of its own.

Arguments and results are pickled, so frames travel as arrays. A Space with ZeroGPU has
the package `spaces` and says so in $SPACES_ZERO_GPU, while others may have the package
alone; elsewhere nothing here is used.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass, replace
from functools import partial, wraps
from html import unescape
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from regrain.editing.errors import ResourceError
from regrain.editing.media.clip import ArrayClip, Clip
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.removed import instead
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.models.finders import CUTS

if TYPE_CHECKING:
    from regrain.ui.page.layout import Tools

Heavy = Callable[..., Any]  # work for which a GPU is lent
log = logging.getLogger(__name__)
SECONDS = "REGRAIN_GPU_SECONDS"
"""The environment variable with the seconds for which a GPU is asked each time."""
_SPEED = "REGRAIN_GPU_SPEED"  # which left
# Not measured. A visitor without an account has 120 a day, and a call that asks for more
# than is left is refused.
_SECONDS = 60
_HERE = (CUTS, "sam")  # what answers clicks in no time without a GPU


def package() -> ModuleType | None:
    """Import the package `spaces` on a Space with ZeroGPU, before torch; returns None
    elsewhere."""
    on = os.environ.get("SPACES_ZERO_GPU", "").casefold() in ("1", "t", "true")
    return importlib.import_module("spaces") if on else None


def lent(tools: Tools, spaces: Any) -> Tools:
    """Return tools whose heavy work is done where the package `spaces` lends a GPU."""
    lend = spaces.GPU(duration=gpu_seconds())

    def there(work: Heavy) -> Heavy:
        return _explained(lend(work))

    edit = there(partial(_portably, tools.edit))
    segment = there(tools.segment)
    propagate = there(partial(_propagated, tools.propagate))
    return replace(
        tools,
        edit=partial(_send, edit),
        segment=partial(_segment, tools.segment, segment),
        propagate=partial(_send_clip, propagate),
        load_ahead=None,  # nothing is loaded without a lent GPU
    )


def _send(work: Heavy, request: EditRequest) -> Iterator[object]:
    """Call work on a lent GPU with a request."""
    return work(portable(request))


def _send_clip(work: Heavy, clip: Clip, keys: object, **how: object) -> object:
    """Call work on a lent GPU with a clip and its key frames."""
    return work(held_clip(clip), keys, **how)


def _segment(here: Heavy, there: Heavy, *points: object, **how: object) -> object:
    """Find a mask on a lent GPU, or here by what is small: nothing has to travel, and
    no visitor's seconds are used."""
    if how.get("method", "sam") in _HERE and not how.get("model"):
        return here(*points, **how)
    how.pop("doubt", None)  # it cannot travel
    return there(*points, **how)


def _explained(work: Heavy) -> Heavy:
    """Return work whose refusal by ZeroGPU is an error that visitors understand."""

    @wraps(work)
    def call(*given: object, **how: object) -> object:
        with _refusals():
            made = work(*given, **how)
        return _items(made) if isinstance(made, Iterator) else made

    return call


def _items(made: Iterator[object]) -> Iterator[object]:
    with _refusals():
        yield from made


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what ZeroGPU says to a page, in HTML, into a ResourceError."""
    try:
        yield
    except gr.Error as error:
        text = re.sub(r"<[^>]*>", "", str(error.message))
        said = " ".join(unescape(text).split()).rstrip(".")
        hint = "Log in to Hugging Face for more seconds, take fewer frames or steps, or try later."
        message = f"No GPU was lent: {said or 'no reason was given'}. {hint}"
        raise ResourceError("gpu", message) from error


def gpu_seconds() -> int:
    """Return the seconds for which a GPU is asked: as the variable says, or a
    constant."""
    if _SPEED in os.environ:
        log.warning("%s: %s", _SPEED, instead(_SPEED))
    given = os.environ.get(SECONDS, "").strip()
    if not given:
        return _SECONDS
    with suppress(ValueError):
        seconds = int(given)
        if seconds > 0:
            return seconds
    log.warning("%s: expected whole seconds, got %r; ignored", SECONDS, given[:20])
    return _SECONDS


def portable(value: Any) -> Any:
    """Return a request or an event that can be pickled: frames in memory, whatever they
    were read from."""
    if isinstance(value, EditRequest):
        labels = None if value.labels is None else np.asarray(value.labels)
        return replace(value, clip=held_clip(value.clip), labels=labels)
    if isinstance(value, LazyFrames):
        return LazyFrames(value.shape, value.dtype, partial(_part, np.asarray(value)))
    if is_dataclass(value) and not isinstance(value, type):
        return _portable_fields(value)
    if isinstance(value, tuple) and any(
        isinstance(part, LazyFrames) or is_dataclass(part) for part in value
    ):
        return tuple(portable(part) for part in value)
    return value


def _portable_fields(value: Any) -> Any:
    """Return a dataclass with portable fields; itself if they are so already."""
    changed = {}
    for field in fields(value):
        if field.init:
            part = getattr(value, field.name)
            new = portable(part)
            if new is not part:
                changed[field.name] = new
    return replace(value, **changed) if changed else value


def held_clip(clip: Clip) -> ArrayClip:
    """Return a clip in memory."""
    frames = np.asarray(frames_of(clip))
    return ArrayClip(
        frames,
        clip.fps,
        clip.name,
        clip.comment,
        times=clip.times,
        duration=clip.duration,
    )


def _part(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    return array[start:stop]


def _portably(work: Heavy, request: EditRequest) -> Iterator[object]:
    yield from map(portable, work(request))


def _propagated(
    propagate: Heavy, clip: Clip, keys: object, **how: object
) -> Iterator[object]:
    yield from propagate(clip, keys, **how)
