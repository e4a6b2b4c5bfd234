"""ZeroGPU: on such a Space, a GPU is lent for the seconds of one call, which runs in a process of its own.

What goes there and what comes back is pickled, so frames travel as arrays. Elsewhere the package `spaces` is
missing, and nothing here is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from regrain.editing.media.clip import ArrayClip, Clip
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.pipeline.estimate import frame_passes
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.models.finders import CUTS

if TYPE_CHECKING:
    from regrain.ui.page.layout import Tools

# Assumed, not measured: on the GPUs that are lent, half precision, 512 x 512 pixels.
_LOADING, _SECONDS_PER_PASS = 20.0, 0.04
_MOST = 300  # seconds that are asked for
_CLICK, _TRACKED = 15, 0.3  # seconds for a mask, and per frame that is tracked
_PIXELS = 512 * 512


def package() -> ModuleType | None:
    """The package `spaces`, if this is a place that has it; must be imported before torch."""
    return importlib.import_module("spaces") if importlib.util.find_spec("spaces") else None


def lent(tools: Tools, spaces: Any) -> Tools:
    """Tools whose heavy work is done where the package `spaces` lends a GPU."""
    seconds = lambda request, how: run_seconds(request)  # noqa: E731
    edit = spaces.GPU(duration=seconds)(partial(_portably, tools.edit))
    segment = spaces.GPU(duration=_CLICK)(tools.segment)
    propagate = spaces.GPU(duration=_tracking_seconds)(partial(_propagated, tools.propagate))
    discover = tools.discover and spaces.GPU(duration=seconds)(partial(_portably, tools.discover))
    return replace(
        tools,
        edit=lambda request: edit(portable(request), {}),
        # Cuts need no GPU, and the clip they look at would have to travel.
        segment=lambda *at, **how: (tools.segment if how.get("method") == CUTS else segment)(
            *at, **how
        ),
        propagate=lambda clip, keys, start, stop, **how: propagate(
            held_clip(clip), keys, start, stop, how
        ),
        discover=discover and (lambda request, **how: discover(portable(request), how)),
    )


def run_seconds(request: EditRequest) -> int:
    """Seconds of GPU that a run asks for: what it takes by its steps, frames and size, and some to load."""
    width, height = request.clip.size
    share = min(1.0, width * height / _PIXELS)
    return min(_MOST, round(_LOADING + frame_passes(request) * share * _SECONDS_PER_PASS))


def portable(value: Any) -> Any:
    """A request or an event that can be pickled: frames in memory, whatever they were read from."""
    if isinstance(value, EditRequest):
        labels = None if value.labels is None else np.asarray(value.labels)
        return replace(value, clip=held_clip(value.clip), labels=labels)
    if isinstance(value, LazyFrames):
        return LazyFrames(value.shape, value.dtype, partial(_part, np.asarray(value)))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        changed = {name: new for name, part in parts.items() if (new := portable(part)) is not part}
        return replace(value, **changed) if changed else value
    if isinstance(value, tuple) and any(
        isinstance(part, LazyFrames) or is_dataclass(part) for part in value
    ):
        return tuple(portable(part) for part in value)
    return value


def held_clip(clip: Clip) -> ArrayClip:
    """A clip in memory."""
    frames = np.asarray(frames_of(clip))
    return ArrayClip(
        frames, clip.fps, clip.name, clip.comment, times=clip.times, duration=clip.duration
    )


def _part(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    return array[start:stop]


def _portably(work: Any, request: EditRequest, how: Mapping[str, Any]) -> Iterator[Any]:
    yield from map(portable, work(request, **how))


def _propagated(
    propagate: Any, clip: Clip, keys: Any, start: int, stop: int, how: Mapping[str, Any]
) -> Iterator[Any]:
    yield from propagate(clip, keys, start=start, stop=stop, **how)


def _tracking_seconds(clip: Clip, keys: Any, start: int, stop: int, how: Mapping[str, Any]) -> int:
    return min(_MOST, round(_LOADING + (stop - start) * _TRACKED))
