"""Parameters of VideoGrain."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from editing.control import parse_control
from editing.params import VARIATION, MethodParams


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
    NEEDS = {"control": "control", "inject_until": "features"}

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
    flow: Literal["auto", "dis", "raft"] = Field(
        "auto", description="How motion is found: by RAFT where its weights are, by OpenCV (DIS), or by RAFT."
    )
    joint_norm: bool = Field(True, description="Normalise features over all frames together.")
    freeu: Literal["off", "released", "full"] = Field(
        "off", description="FreeU: stronger features from deep layers; as released in one block, or in full."
    )
    inject_until: float = Field(
        0.1, ge=0, le=1, description="Share of the schedule, from pure noise on, with the source's features."
    )
    control: str = Field(
        "",
        description="Control networks, KIND=MODEL@WEIGHT, several with commas; kinds: canny, depth, pose. "
        "With the built-in model: canny=storybook/canny@0.7.",
    )
    inversion: Literal["paper", "released"] = Field(
        "paper", description="Noise levels of the inversion; the release takes one step less."
    )
    variation: float = Field(0.0, ge=0, le=1, description=VARIATION)
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
    heat_from: float = Field(
        0.0, ge=0, le=1, description="Share of the schedule after which attention maps are averaged."
    )
    heat_until: float = Field(1.0, ge=0, le=1, description="Share of the schedule up to which they are.")
    heat_grids: str = Field(
        "",
        max_length=40,
        description="Grids that attention maps are read from, with commas: 1 the latents' own, 2 half of it, "
        "4, 8; empty takes those of up to 1024 cells.",
    )
    heat_pixel: str = Field(
        "",
        max_length=40,
        description="FRAME,X,Y, a pixel of the clip, frames from 0: where it looks becomes one more map.",
    )

    @field_validator("control")
    @classmethod
    def _control_can_be_read(cls, value: str) -> str:
        parse_control(value)
        return value

    @field_validator("heat_grids", mode="before")
    @classmethod
    def _one_grid_may_be_a_number(cls, value: object) -> object:
        return str(value) if type(value) is int else value  # what --set makes of heat_grids=2

    @field_validator("heat_grids")
    @classmethod
    def _grids_can_be_read(cls, value: str) -> str:
        read_grids(value)
        return value

    @field_validator("heat_pixel")
    @classmethod
    def _pixel_can_be_read(cls, value: str) -> str:
        read_pixel(value)
        return value

    @model_validator(mode="after")
    def _some_steps_are_averaged(self) -> VideoGrainParams:
        if self.heat_from >= self.heat_until:
            raise ValueError("allowed is a heat_until larger than heat_from")
        return self


def read_grids(text: str) -> tuple[int, ...]:
    """Divisors of the latents' grid: `2, 4`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not set(parts) <= {"1", "2", "4", "8"}:
        raise ValueError("allowed are 1, 2, 4 and 8, with commas")
    return tuple(map(int, parts))


def read_pixel(text: str) -> tuple[int, float, float] | None:
    """Frame, x and y of `FRAME,X,Y`; None if empty."""
    if not text.strip():
        return None
    found = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*", text, re.ASCII)
    if not found:
        raise ValueError("allowed is FRAME,X,Y")
    return int(found[1]), float(found[2]), float(found[3])
