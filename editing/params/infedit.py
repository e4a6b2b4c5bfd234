"""Parameters of InfEdit."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    AgainParams,
    DrawnParams,
    ModulatedParams,
    WindowedParams,
    guidance,
    self_until,
    steps,
)
from regrain.editing.params.written import (
    CONTROL_NETWORKS,
    STEADY,
    Controls,
    Share,
    Words,
    parameter,
)

Task = Literal["paper", "replace", "attribute", "pose", "add"]


class InfEditParams(AgainParams, DrawnParams, ModulatedParams, WindowedParams):
    """InfEdit: edit without inversion (Xu et al. 2024, arXiv:2312.04965)."""

    PRESETS = {
        "paper": {},
        "replace": {"self_until": 0.7, "cross_until": 0.3},
        "attribute": {"self_until": 1.0, "cross_until": 1.0},
        "pose": {"self_until": 0.3, "cross_until": 0.3},
        "add": {"self_until": 0.0, "cross_until": 0.0},
    }
    NEEDS = {"control": "control"}

    steps: int = steps(
        15,
        description="More steps: finer and slower; all are run, whatever the strength.",
        span=(1, 50),
    )
    guidance_scale: float = guidance(2.0)
    source_guidance: float = parameter(
        1.0,
        "Guidance of the source",
        "How strongly the source prompt guides the estimate of the source.",
        (0, 50),
        group="Source",
    )
    preset: Task = parameter(
        "paper", "Preset", "Start from the paper's values or from those of a task."
    )
    strength: Share = parameter(
        1.0,
        "Strength",
        "How much to change: below 1 the edit starts from the clip with noise.",
        group="At hand",
    )
    hold: Share = parameter(
        1.0,
        "Hold the source",
        f"{FROM_NOISE}in which the edit is the clip plus what the prompts differ in; after them the edit is "
        "drawn freely inside the regions.",
        group="Source",
    )
    self_until: Share = self_until(0.3)
    cross_until: Share = parameter(
        0.7,
        "Keep word attention until",
        f"{FROM_NOISE}that take the source's attention to the words of both prompts.",
        group="Source",
    )
    blend: Literal["regions", "words", "never"] = parameter(
        "regions",
        "Keep the source",
        "Where the source is kept: outside the regions (without regions nowhere), by the attention to words, "
        "or nowhere.",
        group="Edited area",
    )
    edit_words: Words = parameter(
        "",
        "Words of the edit",
        "Words of the prompt that mark what is edited, separated by commas; empty takes everywhere.",
        group="Edited area",
    )
    keep_words: Words = parameter(
        "",
        "Words that are kept",
        "Words of both prompts that mark what is kept, separated by commas.",
        group="Edited area",
    )
    edit_threshold: Share = parameter(
        0.6,
        "Threshold of the edit",
        "Share of the strongest attention above which a place is edited.",
        group="Edited area",
    )
    keep_threshold: Share = parameter(
        0.6,
        "Threshold of what is kept",
        "Share of the strongest attention above which a place is kept.",
        group="Edited area",
    )
    steady: float = STEADY
    redraw: float = parameter(
        0.0,
        "Draw again",
        "Share of the last steps to repeat on the finished edit, averaged along the motion, with the same "
        "noise in every frame. 0 takes none.",
        (0, 0.9),
        group="Motion",
    )
    control: Controls = CONTROL_NETWORKS

    @property
    def averaged_frames(self) -> float:
        """See `MethodParams`."""
        return self.steady
