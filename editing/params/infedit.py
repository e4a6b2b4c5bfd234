"""Parameters of InfEdit."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    MODULATION,
    ModulationVariants,
    NoiseParams,
    WindowedParams,
)
from regrain.editing.params.written import (
    CONTROL_NETWORKS,
    Controls,
    Share,
    Words,
    parameter,
)

Task = Literal["paper", "replace", "attribute", "pose", "add"]


class InfEditParams(NoiseParams, ModulationVariants, WindowedParams):
    """InfEdit: edit without inversion (Xu et al. 2024, arXiv:2312.04965)."""

    PRESETS = {
        "paper": {},
        "replace": {"self_until": 0.7, "cross_until": 0.3},
        "attribute": {"self_until": 1.0, "cross_until": 1.0},
        "pose": {"self_until": 0.3, "cross_until": 0.3},
        "add": {"self_until": 0.0, "cross_until": 0.0},
    }
    NEEDS = {"control": "control"}
    GROUPS = {
        "Source": (
            "strength",
            "hold",
            "self_until",
            "cross_until",
            "alignment",
            "source_guidance",
            "control",
            "shown",
        ),
        "Edited area": (
            "blend",
            "edit_words",
            "keep_words",
            "edit_threshold",
            "keep_threshold",
            "feather",
        ),
        "Regions": (
            *MODULATION,
            "size_over_frames",
            "levels",
            "uncovered",
            "guidance_half",
        ),
        "Motion": ("attention_span", "noise", "steady", "redraw", "flow"),
    }

    steps: int = parameter(
        15,
        "Steps",
        "More steps: finer and slower; all are run, whatever the strength.",
        (1, 50),
    )
    guidance_scale: float = parameter(
        2.0,
        "Guidance scale",
        "How strongly the prompt guides the edit; 1 adds no guidance.",
        (0, 50),
    )
    source_guidance: float = parameter(
        1.0,
        "Guidance of the source",
        "How strongly the source prompt guides the estimate of the source.",
        (0, 50),
    )
    preset: Task = parameter(
        "paper", "Preset", "Start from the paper's values or from those of a task."
    )
    strength: Share = parameter(
        1.0,
        "Strength",
        "How much to change: below 1 the edit starts from the clip with noise.",
    )
    hold: Share = parameter(
        1.0,
        "Hold the source",
        f"{FROM_NOISE}in which the edit is the clip plus what the prompts differ in; after them the edit is "
        "drawn freely inside the regions.",
    )
    self_until: Share = parameter(
        0.3,
        "Keep the layout until",
        f"{FROM_NOISE}that keep the layout of the source.",
    )
    cross_until: Share = parameter(
        0.7,
        "Keep word attention until",
        f"{FROM_NOISE}that take the source's attention to the words of both prompts.",
    )
    alignment: Literal["fixed", "original"] = parameter(
        "fixed",
        "Word alignment",
        "How words of the two prompts are matched: corrected, or as in the published code.",
    )
    blend: Literal["regions", "words", "never"] = parameter(
        "regions",
        "Keep the source",
        "Where the source is kept: outside the regions (without regions nowhere), by the attention to words, "
        "or nowhere.",
    )
    edit_words: Words = parameter(
        "",
        "Words of the edit",
        "Words of the prompt that mark what is edited, separated by commas; empty takes everywhere.",
    )
    keep_words: Words = parameter(
        "",
        "Words that are kept",
        "Words of both prompts that mark what is kept, separated by commas.",
    )
    edit_threshold: Share = parameter(
        0.6,
        "Threshold of the edit",
        "Share of the strongest attention above which a place is edited.",
    )
    keep_threshold: Share = parameter(
        0.6,
        "Threshold of what is kept",
        "Share of the strongest attention above which a place is kept.",
    )
    attention_span: Literal["full", "sparse_causal", "own_frame"] = parameter(
        "full",
        "Frames each frame sees",
        "Frames that each frame sees: all, the first and the previous one, or only itself.",
    )
    steady: float = parameter(
        0.0,
        "Steady",
        "Frames over which the edit is averaged along the motion of the clip, so that it flickers less; 0 "
        "averages nothing.",
        (0, 8),
    )
    redraw: float = parameter(
        0.0,
        "Draw again",
        "Share of the last steps to repeat on the finished edit, averaged along the motion, with the same "
        "noise in every frame. 0 takes none.",
        (0, 0.9),
    )
    control: Controls = CONTROL_NETWORKS

    @property
    def steps_again(self) -> int:
        """How many of the steps `redraw` takes again; never all of them."""
        return min(round(self.steps * self.redraw), self.steps - 1)
