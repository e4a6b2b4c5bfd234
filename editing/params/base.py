"""Parameters of the methods: one declaration gives validation, JSON, command-line help
and sliders."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import Texts
from regrain.editing.params.written import (
    ALIGNMENT,
    MOTION_ESTIMATE,
    STEADY,
    Cuts,
    KeyFrames,
    Share,
    parameter,
)
from regrain.editing.storage.texts import Values

QUALITIES: Mapping[str, float] = {"draft": 0.4, "standard": 1.0, "best": 2.0}
"""The work of a run of each quality, as a share of that of a run with nothing given."""
_LEAST_STEPS = 4
_MOST_STEPS = 1000
FROM_NOISE = "Share of the steps, counted from pure noise, "
Sampler = Literal[
    "ddim",
    "ddim_trailing",
    "euler",
    "euler_ancestral",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "lcm",
    "tcd",
]
FEW_STEP: frozenset[Sampler] = frozenset(
    {"ddim_trailing", "euler", "euler_ancestral", "lcm", "tcd"}
)
"""Samplers of models that draw in few steps: all `steps` are run, whatever the
strength."""
_LEARNED = 50  # levels on which consistency models are distilled
Estimator = Literal["auto", "dis", "raft"]
Reach = Literal["exact", "hull", "box"]
Released = Literal["paper", "released"]
"""Values of the paper, or of its released code."""


def most_consistency_steps(strength: float) -> int:
    """Return the most steps of the samplers lcm and tcd: the levels on which such
    models were distilled in a share of the schedule, at least one."""
    return max(1, steps_run(_LEARNED, strength))


def steps_run(steps: int, strength: float) -> int:
    """Return how many steps of a schedule are run with a strength, as diffusers rounds:
    down, but at least one unless it is 0."""
    # A share is a decimal fraction, which binary ones only approach.
    return max(1, int(steps * strength + 1e-9)) if strength else 0


# Parameters that methods have with different defaults.
guidance = partial(
    parameter,
    title="Guidance scale",
    description="How strongly the prompt guides the edit; 1 adds no guidance.",
    span=(0, 50),
    group="First",
    reach=15,
)
steps = partial(
    parameter,
    title="Steps",
    description="Steps of the whole schedule; `strength` skips some.",
    span=(1, 1000),
    group="First",
    reach=100,
)
strength = partial(
    parameter,
    title="Strength",
    description="How much to change: 0 keeps the clip, 1 redraws it.",
    group="At hand",
)
sampler = partial(
    parameter,
    title="Sampler",
    description="How a run goes from noise to clean. lcm, tcd, euler, euler_ancestral and "
    "ddim_trailing are for models that draw in few steps, dpmpp_2m and dpmpp_2m_karras "
    "for ordinary ones in 15 to 25.",
)
self_until = partial(
    parameter,
    title="Keep the layout until",
    description=f"{FROM_NOISE}that keep the layout of the source.",
    group="Source",
)


class MethodParams(BaseModel):
    """Parameters that every method has."""

    # Defaults are written as users write them, so they are read like what users write.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
    )
    # Values of a preset that differ from the defaults, which are the paper's.
    PRESETS: ClassVar[Mapping[str, Values]] = {"paper": {}}
    # Needs of single parameters, unless 0 or empty, of a model: keys of
    # `editing.params.registry.OFFERS`.
    NEEDS: ClassVar[Mapping[str, str]] = {}
    # Counts that a choice of quality scales; see `QUALITIES`.
    SCALED: ClassVar[Texts] = ("steps",)

    @classmethod
    def scaled(cls, usual: Values, quality: str) -> dict[str, int]:
        """Return the counts of a quality, a key of `QUALITIES`; `usual` has those with
        nothing given."""
        share = QUALITIES[quality]
        counts: dict[str, int] = {}
        for name in cls.SCALED:
            value = usual[name]
            if isinstance(value, int):
                counts[name] = min(_MOST_STEPS, max(_LEAST_STEPS, round(value * share)))
        return counts

    def check_together(self) -> None:
        """Refuse values that are allowed alone but not together, by a RequestError.

        Called once every value is decided: a model may recommend the one that fits.
        """

    @property
    def together(self) -> int:
        """Most frames that are edited together; 0 if memory decides."""
        return 0

    @property
    def steps_again(self) -> int:
        """How many of the last steps are taken again."""
        return 0

    @property
    def averaged_frames(self) -> float:
        """Frames over which the finished edit is averaged along the motion."""
        return 0.0

    @property
    def motion_estimate(self) -> Estimator:
        """How motion is estimated; see `MOTION_ESTIMATE`."""
        return "auto"

    @property
    def overlapped(self) -> int:
        """Finished frames of the window before that a window begins with."""
        return 0

    @property
    def begins_given(self) -> bool:
        """True if the first frame is given: as the picture of the whole frame, if there
        is one."""
        return False

    @property
    def matches(self) -> bool:
        """True if the colours of a window are taken to those around its edit."""
        return False

    @property
    def reach(self) -> Reach:
        """The area of a region that is drawn anew: its mask, or the hull or box of it."""
        return "exact"

    @property
    def rebuilds(self) -> bool:
        """True if the source is rebuilt from its inversion, too."""
        return False

    steps: int = steps(
        50, description="More steps: finer and slower; an inversion takes as many."
    )
    guidance_scale: float = guidance(7.5)
    preset: Literal["paper"] = parameter(
        "paper", "Preset", "Sets every parameter that you do not."
    )
    feather: float = parameter(
        2.0,
        "Feather (pixels)",
        "Width in source pixels over which an edited region fades into the source.",
        (0, 3),
        group="Edited area",
    )
    preview_every: int = parameter(
        1,
        "Steps between previews",
        "Steps between live previews; 0 shows none.",
        (0, 1000),
        group="",
    )
    keyframes: KeyFrames = parameter(
        "all",
        "Key frames",
        "Frames to edit: all, every N, auto LEAST-MOST (where most changes, LEAST to MOST apart) or frames "
        "from 0 like 0, 8, 15. The others follow the motion of the clip.",
        group="Long clips",
        hint="all, every 4, auto, or frames from 0 like 0, 8, 15",
    )
    cuts: Cuts = parameter(
        "auto",
        "Cuts",
        "Where shots begin; each is edited on its own. auto looks for cuts, none takes the clip as one "
        "shot; or a list of first frames, like 24, 60.",
        group="Long clips",
        hint="auto, none, or frames from 1 like 24, 60",
    )
    picture_colors: Share = parameter(
        0.0,
        "Colours of pictures",
        "How far each step takes a region to the colours of its picture, beyond what the adapter does.",
        group="Pictures",
    )


class WindowedParams(MethodParams):
    """Parameters of methods that edit a long clip window by window. FRESCO has batches of its own."""

    window: int = parameter(
        0,
        "Frames at once",
        "Most frames that are edited together. Later windows start with the first frame of the shot and the "
        "last of the window before. 0 takes 32, or fewer if memory is short.",
        (0, 1000),
        group="Long clips",
        reach=64,
    )

    @field_validator("window")
    @classmethod
    def _has_room_for_anchors(cls, window: int) -> int:
        if window in (1, 2):
            raise ValueError("expected 0, or 3 or more")
        return window

    @property
    def together(self) -> int:
        """See `MethodParams`."""
        return self.window


class InvertedParams(WindowedParams):
    """Parameters of methods that start from the clip's own noise, where a seed alone changes nothing."""

    variation: Share = parameter(
        0.0,
        "Variation",
        "Share of fresh noise in the edited regions, or in the whole frame if there are none; another seed "
        "gives another result.",
        group="Source",
    )
    steady: float = STEADY

    @property
    def averaged_frames(self) -> float:
        """See `MethodParams`."""
        return self.steady


class ModulatedParams(MethodParams):
    """Parameters of methods that bind regions to their words by modulated attention (VideoGrain's)."""

    self_strength: Share = parameter(
        0.3,
        "Keep regions apart",
        "How strongly self-attention is kept within each region.",
        group="Regions",
    )
    cross_strength: Share = parameter(
        1.0,
        "Bind regions to their words",
        "How strongly each region is bound to its own words.",
        group="Regions",
    )
    modulate_until: Share = parameter(
        0.3,
        "Modulate until",
        "Share of the schedule, counted from pure noise, with modulated attention.",
        group="Regions",
    )
    schedule_power: float = parameter(
        5.0,
        "Fade of modulation",
        "Modulation fades as (t / 1000) to this power; with 0 it stays constant.",
        (0, 20),
        group="Regions",
    )
    size_term: bool = parameter(
        True,
        "Favour small regions",
        "Modulate small regions more strongly than large ones.",
        group="Regions",
    )


class DrawnParams(MethodParams):
    """Parameters of methods that draw anew, without inversion."""

    flow: Estimator = MOTION_ESTIMATE

    @property
    def motion_estimate(self) -> Estimator:
        """See `MethodParams`."""
        return self.flow


class SampledParams(DrawnParams):
    """Parameters of methods that draw anew by any sampler."""

    sampler: Sampler = sampler("ddim")
    strength: Share = strength(0.6)

    def check_together(self) -> None:
        """Refuse more steps than a consistency model has levels."""
        most = most_consistency_steps(self.strength)
        if self.sampler in ("lcm", "tcd") and self.steps > most:
            raise RequestError(
                "params.steps",
                f"Expected at most {most} with {self.sampler} and strength "
                f"{self.strength:g}, got {self.steps}. Take fewer steps, or raise the "
                "strength.",
            )


class AgainParams(MethodParams):
    """What the parameter `redraw` means, where a method has it."""

    if TYPE_CHECKING:  # each method has it at a place of its own
        redraw: float

    @property
    def steps_again(self) -> int:
        """See `MethodParams`; never all of them."""
        return min(round(self.steps * self.redraw), self.steps - 1)


class ByWordsParams(InvertedParams):
    """Parameters of FateZero and vid2vid-zero: an edit by two prompts that are compared."""

    cross_control: Literal["auto", "replace", "refine"] = parameter(
        "auto",
        "Prompt fusion",
        "How the prompts are fused: replace words, add words, or whichever fits the prompts.",
        group="Words",
    )
    alignment: Literal["fixed", "original"] = ALIGNMENT
    joint_norm: bool = parameter(
        False,
        "Normalise over all frames",
        "Normalise over all frames together, as the references do.",
        group="Frames",
    )


RELEASED_PRESET = parameter(
    "paper",
    "Preset",
    "Start from the paper's values or from those of the released code.",
)
