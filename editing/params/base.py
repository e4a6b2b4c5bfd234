"""Parameters of the methods: one declaration gives validation, JSON, command-line help and sliders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from regrain.editing.params.written import Cuts, KeyFrames, written

QUALITIES: Mapping[str, float] = {"draft": 0.4, "standard": 1.0, "best": 2.0}
"""How much work a run does, as a share of what it does with nothing given."""
_LEAST_STEPS = 4


class MethodParams(BaseModel):
    """Parameters that every method has."""

    # Defaults are written as users write them, so they are read like what users write.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )
    # Values of a preset that differ from the defaults, which are the paper's.
    PRESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"paper": {}}
    # What single parameters, unless 0 or empty, need from a model: keys of `editing.params.registry.OFFERS`.
    NEEDS: ClassVar[Mapping[str, str]] = {}
    # Parameters that the page shows together, by the group's title.
    GROUPS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Counts that a choice of quality scales; see `QUALITIES`.
    SCALED: ClassVar[tuple[str, ...]] = ("steps",)

    @classmethod
    def scaled(cls, usual: Mapping[str, object], quality: str) -> dict[str, int]:
        """The counts of a quality, one of `QUALITIES`.

        Args:
            usual: Parameters of a run with nothing given.
            quality: Its name.
        """
        share = QUALITIES[quality]
        counts = {name: usual[name] for name in cls.SCALED}
        return {
            name: min(1000, max(_LEAST_STEPS, round(value * share)))
            for name, value in counts.items()
            if isinstance(value, int)
        }

    steps: int = Field(
        50, title="Steps", ge=1, le=1000, description="Denoising steps; the inversion takes as many."
    )
    guidance_scale: float = Field(
        7.5,
        title="Guidance scale",
        ge=0,
        le=50,
        description="How strongly the prompt guides the edit; 1 adds no guidance.",
    )
    preset: Literal["paper"] = Field(
        "paper",
        title="Preset",
        description="Sets every parameter that you do not.",
    )
    feather: float = Field(
        2.0,
        title="Feather (pixels)",
        ge=0,
        le=3,
        description="Width in source pixels over which an edited region fades into the source.",
    )
    preview_every: int = Field(
        1,
        title="Steps between previews",
        ge=0,
        le=1000,
        description="Steps between live previews; 0 shows none.",
    )
    keyframes: KeyFrames = written(
        "all",
        title="Key frames",
        description="Frames to edit: all, every N, auto LEAST-MOST (where most changes, LEAST to MOST apart) "
        "or frames from 0 like 0, 8, 15. The others follow the motion of the clip.",
    )
    cuts: Cuts = written(
        "auto",
        title="Cuts",
        description="Where shots begin; each is edited on its own. auto looks for cuts, none takes "
        "the clip as one shot; or a list of first frames, like 24, 60.",
    )


class WindowedParams(MethodParams):
    """What every method has that edits a long clip window by window. FRESCO has batches of its own."""

    window: int = Field(
        0,
        title="Frames at once",
        ge=0,
        le=1000,
        description="Most frames that are edited together. Later windows start with the first frame of the "
        "shot and the last of the window before. 0 takes 32, or fewer if memory is short.",
    )

    @field_validator("window")
    @classmethod
    def _has_room_for_anchors(cls, window: int) -> int:
        if window in (1, 2):
            raise ValueError("expected 0, or 3 or more")
        return window


class InvertedParams(WindowedParams):
    """What every method has that starts from the clip's own noise, where a seed alone changes nothing."""

    variation: float = Field(
        0.0,
        title="Variation",
        ge=0,
        le=1,
        description="Share of fresh noise in the edited regions, or in the whole frame if there are none; "
        "another seed gives another result.",
    )
    steady: float = Field(
        0.0,
        title="Steady",
        ge=0,
        le=8,
        description="Frames over which the edit is averaged along the motion of the clip, so that it "
        "flickers less; 0 averages nothing.",
    )


class ModulatedParams(MethodParams):
    """What every method has that binds regions to their words by modulated attention (VideoGrain's)."""

    self_strength: float = Field(
        0.3,
        title="Keep regions apart",
        ge=0,
        le=1,
        description="How strongly self-attention is kept within each region.",
    )
    cross_strength: float = Field(
        1.0,
        title="Bind regions to their words",
        ge=0,
        le=1,
        description="How strongly each region is bound to its own words.",
    )
    modulate_until: float = Field(
        0.3,
        title="Modulate until",
        ge=0,
        le=1,
        description="Share of the schedule, counted from pure noise, with modulated attention.",
    )
    schedule_power: float = Field(
        5.0,
        title="Fade of modulation",
        ge=0,
        le=20,
        description="Modulation fades as (t / 1000) to this power; with 0 it stays constant.",
    )
    size_term: bool = Field(
        True,
        title="Favour small regions",
        description="Modulate small regions more strongly than large ones.",
    )


class ByWordsParams(InvertedParams):
    """What FateZero and vid2vid-zero share: an edit by two prompts that are compared."""

    cross_control: Literal["auto", "replace", "refine"] = Field(
        "auto",
        title="Prompt fusion",
        description="How the prompts are fused: replace words, add words, or whichever fits the prompts.",
    )
    alignment: Literal["fixed", "original"] = Field(
        "fixed",
        title="Word alignment",
        description="How words of the two prompts are matched: corrected, or as in the published code.",
    )
    joint_norm: bool = Field(
        False,
        title="Normalise over all frames",
        description="Normalise over all frames together, as the references do.",
    )


FROM_NOISE = "Share of the steps, counted from pure noise, "
KEYS_SEEN = (
    "Frames that each frame sees: itself and the middle one, only the middle one, the first and the previous "
    "one, or only itself."
)
Keys = Literal["own_middle", "middle", "first_previous", "own"]
KEY_FRAMES = {
    "own_middle": ("own", "middle"),
    "middle": ("middle",),
    "first_previous": ("first", "previous"),
    "own": ("own",),
}
"""The selectors of `editing.attention.frames.sparse_causal` for each choice of `keys`."""
