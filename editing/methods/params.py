"""Parameters of the methods: one declaration gives validation, JSON, command-line help and sliders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from editing.control import parse_control


class MethodParams(BaseModel):
    """What every method has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # What a named preset sets beyond the defaults, which are the paper's.
    PRESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"paper": {}}

    steps: int = Field(50, ge=1, le=1000, description="Denoising steps; the inversion takes as many.")
    guidance_scale: float = Field(
        7.5, ge=0, le=50, description="How much the prompt outweighs no prompt; 1 is the prompt alone."
    )
    preset: Literal["paper"] = Field(
        "paper", description="Naming a preset sets every parameter not given to that source's value."
    )


class VideoGrainParams(MethodParams):
    """VideoGrain: attention modulated by regions (Yang et al. 2025, arXiv:2502.17258).

    Where the paper and its released code differ is in docs/videograin.md.
    """

    PRESETS = {
        "paper": {},
        "released": {
            "guidance_half": "uncond",
            "levels": "coarse",
            "uncovered": "repelled",
            "size_over_frames": True,
            "blend_with": "noise",
            "inversion": "released",
            "inject_until": 0.0,
        },
    }

    preset: Literal["paper", "released"] = Field(
        "paper", description="Naming a preset sets every parameter not given to that source's value."
    )

    self_strength: float = Field(
        0.3, ge=0, le=1, description="How strongly self-attention is kept within each region."
    )
    cross_strength: float = Field(
        1.0, ge=0, le=1, description="How strongly each region is bound to its own words."
    )
    modulate_until: float = Field(
        0.3, ge=0, le=1, description="Share of the schedule, from pure noise on, with modulated attention."
    )
    schedule_power: float = Field(
        5.0, ge=0, le=20, description="Modulation fades as (t / 1000) to this power; 0 does not fade."
    )
    size_term: bool = Field(True, description="Modulate small regions more than large ones.")
    guidance_half: Literal["cond", "uncond", "both"] = Field(
        "cond", description="Which half of the guided batch has its self-attention modulated."
    )
    levels: Literal["all", "coarse"] = Field(
        "all", description="Layers that are modulated: all, or all but the finest."
    )
    uncovered: Literal["region", "repelled"] = Field(
        "region",
        description="Pixels without words: one more region that keeps its words, or repelled by everything.",
    )
    size_over_frames: bool = Field(
        False, description="Count a region's size in self-attention once more per frame, as the release does."
    )
    attention_span: Literal["full", "sparse_causal", "own_frame"] = Field(
        "full", description="Frames a frame sees: all, the first and the previous, or itself alone."
    )
    track_levels: int = Field(
        1, ge=0, le=4, description="Finest levels whose attention also follows the motion of the clip."
    )
    joint_norm: bool = Field(True, description="Normalise features over all frames together.")
    freeu: Literal["off", "released", "full"] = Field(
        "off", description="FreeU: stronger features from deep layers; as released in one block, or in full."
    )
    inject_until: float = Field(
        0.1, ge=0, le=1, description="Share of the schedule, from pure noise on, with the source's features."
    )
    control: str = Field(
        "", description="Control networks, KIND=MODEL@WEIGHT, several with commas; kinds: canny, depth, pose."
    )
    inversion: Literal["paper", "released"] = Field(
        "paper", description="Noise levels of the inversion; the release takes one step less."
    )
    variation: float = Field(
        0.0, ge=0, le=1, description="Fresh noise mixed into the edited regions: another result per seed."
    )
    blend: bool = Field(True, description="Outside the edited regions, take the latents of the source.")
    blend_with: Literal["inversion", "noise"] = Field(
        "inversion", description="The source's latents outside: of its inversion, or with fresh noise."
    )
    feather: float = Field(
        2.0,
        ge=0,
        le=3,
        description="Width in source pixels over which an edited region fades into the source.",
    )
    preview_every: int = Field(1, ge=0, le=1000, description="Steps between live previews; 0 shows none.")

    @field_validator("control")
    @classmethod
    def _control_can_be_read(cls, value: str) -> str:
        parse_control(value)
        return value
