"""Parameters of VideoGrain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from regrain.editing.params.base import InvertedParams, ModulatedParams
from regrain.editing.params.written import Controls, Grids, Pixel, control_networks, motion_estimate, written


class VideoGrainParams(ModulatedParams, InvertedParams):
    """VideoGrain: attention modulated by regions (Yang et al. 2025, arXiv:2502.17258).

    docs/videograin.md lists where the paper and its released code differ.
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

    GROUPS = {
        "Regions": (
            "self_strength",
            "cross_strength",
            "modulate_until",
            "schedule_power",
            "size_term",
            "size_over_frames",
            "levels",
            "uncovered",
            "guidance_half",
            "feather",
        ),
        "Motion": (
            "attention_span",
            "track_levels",
            "flow",
            "steady",
            "redraw",
            "joint_norm",
        ),
        "Source": (
            "variation",
            "inject_until",
            "blend",
            "blend_with",
            "inversion",
            "control",
        ),
        "Attention maps": (
            "heat_pixel",
            "heat_from",
            "heat_until",
            "heat_grids",
        ),
    }

    preset: Literal["paper", "released"] = Field(
        "paper",
        title="Preset",
        description="Sets every parameter that you do not: to the paper's values or the release's.",
    )

    guidance_half: Literal["cond", "uncond", "both"] = Field(
        "cond",
        title="Half with modulated self-attention",
        description="Which half of the guided batch has its self-attention modulated.",
    )
    levels: Literal["all", "coarse"] = Field(
        "all",
        title="Modulated layers",
        description="Layers whose attention is modulated: all, or all but the finest.",
    )
    uncovered: Literal["region", "repelled"] = Field(
        "region",
        title="Pixels without words",
        description="How pixels without words are treated: as one more region, or repelled by all words.",
    )
    size_over_frames: bool = Field(
        False,
        title="Count region size per frame",
        description="Count a region's size once per frame in self-attention, as the release does.",
    )
    attention_span: Literal["full", "sparse_causal", "own_frame"] = Field(
        "full",
        title="Frames each frame sees",
        description="Frames that each frame sees: all, the first and the previous one, or only itself.",
    )
    track_levels: int = Field(
        1,
        title="Levels that follow motion",
        ge=0,
        le=4,
        description="Number of finest levels whose attention also follows the motion of the clip.",
    )
    flow: Literal["auto", "dis", "raft"] = motion_estimate()
    joint_norm: bool = Field(
        True, title="Normalise over all frames", description="Normalise features over all frames together."
    )
    freeu: Literal["off", "released", "full"] = Field(
        "off",
        title="FreeU",
        description="Strengthen features of deep layers (FreeU): off, in one block as released, or in full.",
    )
    inject_until: float = Field(
        0.1,
        title="Source features until",
        ge=0,
        le=1,
        description="Share of the schedule, counted from pure noise, with the source's features.",
    )
    redraw: float = Field(
        0.0,
        title="Draw again",
        ge=0,
        le=0.9,
        description="Share of the last steps to repeat on the finished edit, with the same noise in every "
        "frame; clears away what is left of the old thing. 0 takes none.",
    )
    control: Controls = control_networks()
    inversion: Literal["paper", "released"] = Field(
        "paper",
        title="Inversion",
        description="Noise levels of the inversion: the paper's, or the release's, with one step less.",
    )
    blend: bool = Field(
        True,
        title="Keep latents outside",
        description="Keep the latents of the source outside the edited regions.",
    )
    blend_with: Literal["inversion", "noise"] = Field(
        "inversion",
        title="Latents outside",
        description="Latents of the source outside the regions: from its inversion, or with fresh noise.",
    )
    heat_from: float = Field(
        0.0,
        title="Attention maps from",
        ge=0,
        le=1,
        description="Share of the schedule from which on attention maps are averaged.",
    )
    heat_until: float = Field(
        1.0,
        title="Attention maps until",
        ge=0,
        le=1,
        description="Share of the schedule up to which attention maps are averaged.",
    )
    heat_grids: Grids = written(
        "",
        title="Attention map grids",
        description="Grids of the attention maps, separated by commas: 1 for the latents' own, 2 for half of "
        "it, 4 or 8; empty takes those of up to 1024 cells.",
    )
    heat_pixel: Pixel = written(
        "",
        title="Attention of one pixel",
        description="A pixel as FRAME,X,Y (frames from 0): one more map shows where it looks.",
    )

    @property
    def steps_again(self) -> int:
        """How many of the steps `redraw` takes again; never all of them."""
        return min(round(self.steps * self.redraw), self.steps - 1)

    @model_validator(mode="after")
    def _some_steps_are_averaged(self) -> VideoGrainParams:
        if self.heat_from >= self.heat_until:
            raise ValueError("heat_until must be larger than heat_from")
        return self
