"""Parameters of flow_regions."""

from __future__ import annotations

from functools import partial
from typing import Literal

from regrain.editing.errors import RequestError
from regrain.editing.params.base import (
    FROM_NOISE,
    ModulatedParams,
    WindowedParams,
    guidance,
    steps,
    strength,
)
from regrain.editing.params.written import BLEND, Levels, Share, parameter

shift = partial(
    parameter,
    title="Shift",
    description="How far steps crowd near pure noise; 1 spreads them evenly.",
    span=(0.1, 30),
    group="Flow",
)
span = partial(
    parameter,
    title="Frames in a call",
    description="Most frames that the model sees at once. Of a longer clip it sees overlapping pieces, "
    "which are averaged in every step.",
    span=(5, 1000),
    group="Flow",
)


class BoundParams(ModulatedParams, WindowedParams):
    """Parameters of methods that bind regions to their words in a video model."""

    self_strength: Share = parameter(
        0.0,
        "Keep regions apart",
        "How strongly self-attention is kept within each region; fades with the noise to the power of 5.",
        group="Regions",
    )
    cross_strength: Share = parameter(
        0.6,
        "Bind regions to their words",
        "How strongly each region is bound to its own words.",
        group="Regions",
    )
    modulate_until: Share = parameter(
        0.77,
        "Modulate until",
        f"{FROM_NOISE}with modulated attention.",
        group="Regions",
    )
    schedule_power: float = parameter(
        0.0,
        "Fade of modulation",
        "Binding to words fades as the noise to this power; with 0 it stays constant.",
        (0, 20),
        group="Regions",
    )
    size_term: bool = parameter(
        False,
        "Favour small regions",
        "Modulate small regions more strongly than large ones.",
        group="Regions",
    )
    columns: Share = parameter(
        0.0,
        "Bind words to their regions",
        "How strongly each word is also drawn to its region over the whole clip, as FlowAnchor does.",
        group="Regions",
    )
    levels: Levels = parameter(
        "even",
        "Noise levels",
        "Where steps start: spread by shift evenly, or as diffusers or the authors of Wan do; or timesteps "
        "of a model that draws in few steps, like 1000, 757, 522.",
        group="Flow",
    )
    blend: bool = BLEND
    window: int = parameter(
        0,
        "Frames at once",
        "Most frames that are edited together; pieces of an edit do not know each other. 0 takes as many as "
        "can be decoded together.",
        (0, 1000),
        group="Long clips",
        reach=64,
    )

    def check_together(self) -> None:
        """Refuse another number of steps than that of levels that are given."""
        count = self.steps if isinstance(self.levels, str) else len(self.levels)
        if count != self.steps:
            raise RequestError(
                "params.steps",
                f"Expected {count}, since so many levels are given, got {self.steps}. Set "
                f"steps to {count}, or leave levels out.",
            )


class FlowRegionsParams(BoundParams):
    """FlowEdit (Kulikov et al. 2024, arXiv:2412.08629), its words bound to regions. See docs/wan.md."""

    NEEDS = {"first_frame": "first_frame"}
    PRESETS = {
        "regions": {},
        "flowedit": {"steps": 50, "strength": 0.82, "cross_strength": 0.0},
        "flowanchor": {
            "cross_strength": 0.3,
            "columns": 0.3,
            "modulated": "target",
            "amplify": True,
        },
    }

    preset: Literal["regions", "flowedit", "flowanchor"] = parameter(
        "regions",
        "Preset",
        "Start from values for regions, from those of FlowEdit on Wan, or from FlowAnchor's.",
    )
    steps: int = steps(25)
    strength: Share = strength(0.92)
    guidance_scale: float = guidance(12.0)
    source_guidance: float = parameter(
        5.0,
        "Guidance of the source",
        "The same of the source prompt, from which the edit starts.",
        (0, 50),
        group="Flow",
    )
    shift: float = shift(5.0)
    averages: int = parameter(
        1,
        "Noises per step",
        "Over how many noises each step is averaged.",
        (1, 16),
        group="Flow",
    )
    modulated: Literal["both", "target"] = parameter(
        "both",
        "Modulated prompts",
        "Bind regions to their words in both prompts, so that what binding itself does cancels, or in the "
        "target's alone.",
        group="Regions",
    )
    amplify: bool = parameter(
        False,
        "Amplify",
        "Strengthen the edit where it is strong, more so in long clips, as FlowAnchor does.",
        group="Flow",
    )
    span: int = span(41)
    first_frame: bool = parameter(
        False,
        "Begin with a given frame",
        "Hold the first frame, from which the others are drawn: as the picture of the whole frame shows it "
        "or, without one, as it is. Later windows begin with the last finished frame.",
        group="Flow",
    )

    @property
    def begins_given(self) -> bool:
        """See `MethodParams`."""
        return self.first_frame

    @property
    def overlapped(self) -> int:
        """See `MethodParams`."""
        return int(self.first_frame)
