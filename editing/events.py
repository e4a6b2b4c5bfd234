"""What a run tells the outside, in the order it happens. Values that hold arrays compare by identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from editing.frames import Frames


@dataclass(frozen=True, eq=False)
class Stage:
    """A part of the run begins.

    Attributes:
        name: loading, inverting, editing, decoding or measuring.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Progress:
    """One unit of the current stage is done.

    Attributes:
        stage: Name of the stage.
        done: Units done, counted from 1 to `total` within the stage.
        total: Units of the stage.
        seconds_left: Estimate for this stage; None while there is none.
    """

    stage: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, eq=False)
class Preview:
    """The clean frames the model expects at this step.

    Attributes:
        frames: RGB at any size; maybe fewer than the clip's.
        indices: Clip frame number of each of `frames`.
        attention: Heat per region name, word or chosen pixel, 0..1, one map per frame of `frames`.
    """

    frames: UInt8[np.ndarray, "frames height width 3"]
    indices: tuple[int, ...]
    attention: Mapping[str, Float32[np.ndarray, "frames grid_height grid_width"]]


@dataclass(frozen=True, eq=False)
class RegionAttention:
    """Probability mass that each pixel gives to a region's words, before and after modulation.

    Or that a chosen pixel gives to each. Averaged over heads, layers and modulated steps; 0..1.
    """

    before: Float32[np.ndarray, "frames grid_height grid_width"]
    after: Float32[np.ndarray, "frames grid_height grid_width"]


@dataclass(frozen=True, eq=False)
class WordAttention:
    """Where each word of the two prompts looks, before anything is changed: averages over the run, 0..1.

    Articles and prepositions are left out.

    Attributes:
        source: Words of the source prompt, while the source is inverted.
        edit: Words of the prompt, while it is edited.
    """

    source: Mapping[str, Float32[np.ndarray, "frames grid_height grid_width"]]
    edit: Mapping[str, Float32[np.ndarray, "frames grid_height grid_width"]]


@dataclass(frozen=True, eq=False)
class OtherEdit:
    """The edit to a further prompt of the same run; `frames` and `uncomposited` as in `EditResult`."""

    prompt: str
    frames: UInt8[np.ndarray | Frames, "frames height width 3"]
    uncomposited: UInt8[np.ndarray | Frames, "frames height width 3"]


@dataclass(frozen=True, eq=False)
class EditResult:
    """What a run made, at source size, RGB. Frames are arrays or are read by window, see `editing.frames`.

    Attributes:
        frames: The edit, composited: outside the feathered mask the source's pixels, bit for bit.
        uncomposited: The edit as decoded, everywhere.
        source: The frames that were edited.
        edited_mask: Union of the regions with a prompt; True inside.
        attention: Per region name, or per word where the method goes by words; and of a chosen pixel.
        reconstruction: The source rebuilt from its inversion, where the method does so.
        control: Control maps, where the method uses them.
        others: The edits to further prompts, in their order.
        words: Where words look, where the method goes by words.
        areas: By number of a step, from 0: where the edit was let through, as attention told it.
    """

    frames: UInt8[np.ndarray | Frames, "frames height width 3"]
    uncomposited: UInt8[np.ndarray | Frames, "frames height width 3"]
    source: UInt8[np.ndarray | Frames, "frames height width 3"]
    edited_mask: Bool[np.ndarray | Frames, "frames height width"]
    attention: Mapping[str, RegionAttention]
    reconstruction: UInt8[np.ndarray | Frames, "frames height width 3"] | None = None
    control: UInt8[np.ndarray | Frames, "frames height width 3"] | None = None
    others: tuple[OtherEdit, ...] = ()
    words: WordAttention | None = None
    areas: Mapping[int, Bool[np.ndarray, "frames grid_height grid_width"]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Finished:
    """The last event.

    Attributes:
        result: Frames and maps.
        report: What report.json will hold.
    """

    result: EditResult
    report: dict[str, object]


Event = Stage | Progress | Preview | Finished
