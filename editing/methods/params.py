"""Parameters of the methods: one declaration gives validation, JSON, command-line help and sliders."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MethodParams(BaseModel):
    """What every method has."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    steps: int = Field(50, ge=1, le=1000, description="Denoising steps; the inversion takes as many.")
    guidance_scale: float = Field(
        7.5, ge=0, le=50, description="How much the prompt outweighs no prompt; 1 is the prompt alone."
    )
    preset: Literal["paper"] = Field(
        "paper", description="Naming a preset sets every parameter not given to that source's value."
    )


class VideoGrainParams(MethodParams):
    """VideoGrain: attention modulated by regions (Yang et al. 2025, arXiv:2502.17258)."""

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
    variation: float = Field(
        0.0, ge=0, le=1, description="Fresh noise mixed into the edited regions: another result per seed."
    )
    blend: bool = Field(True, description="Outside the edited regions, take the latents of the inversion.")
    feather: float = Field(
        2.0,
        ge=0,
        le=3,
        description="Width in source pixels over which an edited region fades into the source.",
    )
    preview_every: int = Field(1, ge=0, le=1000, description="Steps between live previews; 0 shows none.")
