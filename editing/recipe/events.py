"""Events of a run, in the order in which they happen. Events with arrays compare by
identity."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Bool, Float32

from regrain.editing.attention.averages import (
    Heat,
    NamedMaps,
    StepAreas,
    WordAttention,
)
from regrain.editing.media.lazy_frames import (
    Frames,
    LazyFrames,
    LazyLabels,
    LazyRgb,
    Numbers,
    RgbFrames,
)
from regrain.editing.storage.texts import Content

if TYPE_CHECKING:
    from regrain.editing.models.adapters import Adapter
    from regrain.editing.request.plan import Plan

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage of the run begins.

    Attributes:
        name: loading, scanning (for cuts), tuning, inverting, editing, decoding,
            measuring or looking.
        skip: Ends the stage early, if the run can go on without it: the edit is kept,
            but not measured or looked at.
    """

    name: str
    skip: Callable[[], None] | None = None


@dataclass(frozen=True, eq=False)
class WindowStarted:
    """A window of a long clip begins: its frames go through the stages of the method.

    Attributes:
        number, total: Its number, from 1, of all windows.
        work: Frames that are edited in it, with its anchors.
        left: Frames that are edited in this and all later windows, with their anchors.
    """

    number: int
    total: int
    work: int
    left: int


@dataclass(frozen=True, eq=False)
class Ready:
    """The first frames of a long clip, RGB at source size, while the rest is still
    being edited."""

    frames: LazyRgb


@dataclass(frozen=True, eq=False)
class Progress:
    """One unit of the current stage is done.

    Attributes:
        stage: Name of the stage.
        done, total: Units done, from 1, and all units of the stage.
        seconds_left: Estimated seconds left in this stage or, of a clip in several
            windows, from the second on, until all of them are edited; None while
            unknown.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class Preview:
    """The clean frames that the model expects at this step; while the clip is inverted,
    its frames on their way to noise.

    Attributes:
        frames: RGB at any size; possibly fewer than the clip has.
        indices: Clip frame number of each of `frames`.
        attention: Heat per region name or word, 0..1, one map per frame
            of `frames`.
    """

    frames: RgbFrames
    indices: Numbers
    attention: NamedMaps


@dataclass(frozen=True, eq=False)
class Losses:
    """The losses of a tuning so far, one per step."""

    losses: Float32[np.ndarray, "steps"]


@dataclass(frozen=True, eq=False)
class Tuned:
    """A version of a tuning, or its result; `losses` as in `Losses`."""

    adapter: Adapter
    losses: Float32[np.ndarray, "steps"]


@dataclass(frozen=True, eq=False)
class OtherEdit:
    """The edit for a further prompt of the same run; `frames`, `uncomposited` and
    `matte` as in `EditResult`."""

    prompt: str
    frames: Frames
    uncomposited: Frames
    matte: LazyLabels | None = None


@dataclass(frozen=True, eq=False)
class EditResult:
    """The result of a run, RGB at source size. Frames are arrays or are read by window,
    see `lazy_frames`.

    Attributes:
        frames: The edit, composited: outside the feathered mask the source's pixels,
            bit for bit.
        uncomposited: The edit as decoded, without compositing.
        source: The frames that were edited.
        edited_mask: Union of the regions with a prompt; True inside.
        attention: By region name, or by word for methods that edit by words.
        reconstruction: The source rebuilt from its inversion, if the method does so.
        control: Input of the control networks, if the method uses any.
        others: The edits for further prompts, in their order.
        words: Attention to words, for methods that edit by words.
        step_areas: The edited area found by attention, by step number from 0.
        plan: The shots, key frames and windows in which the clip was edited.
        matte: How much of the edit `frames` show, 0 (the source) to 255; None where
            that is `edited_mask`, without a feather.
    """

    frames: Frames
    uncomposited: Frames
    source: Frames
    edited_mask: Bool[np.ndarray | LazyFrames, "frames height width"]
    attention: Heat
    reconstruction: Frames | None = None
    control: Frames | None = None
    others: tuple[OtherEdit, ...] = ()
    words: WordAttention | None = None
    step_areas: StepAreas = field(default_factory=dict)
    plan: Plan | None = None
    matte: LazyLabels | None = None


@dataclass(frozen=True, eq=False)
class Finished:
    """The last event; `report` is the content of report.json."""

    result: EditResult
    report: Content


Event = Stage | WindowStarted | Progress | Preview | Losses | Tuned | Ready | Finished


Steps = Generator[Event, None, T]
"""A part of a run, which yields events and returns a result."""


def changed(events: Steps[T], change: Callable[[Event], Event]) -> Steps[T]:
    """Pass events on, each changed; return what their generator returns."""
    try:
        while True:
            yield change(next(events))
    except StopIteration as stop:
        return stop.value
    finally:
        events.close()
