"""Parameters of VideoGrain."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from editing.params import InvertedParams
from editing.params.written import Controls, Pixel, written


class VideoGrainParams(InvertedParams):
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
        "paper",
        title="Preset",
        description="Naming a preset sets every parameter not given to that source's value.",
    )

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
        description="Share of the schedule, from pure noise on, with modulated attention.",
    )
    schedule_power: float = Field(
        5.0,
        title="Fade of modulation",
        ge=0,
        le=20,
        description="Modulation fades as (t / 1000) to this power; 0 does not fade.",
    )
    size_term: bool = Field(
        True, title="Favour small regions", description="Modulate small regions more than large ones."
    )
    guidance_half: Literal["cond", "uncond", "both"] = Field(
        "cond",
        title="Half with modulated self-attention",
        description="Which half of the guided batch has its self-attention modulated.",
    )
    levels: Literal["all", "coarse"] = Field(
        "all", title="Modulated layers", description="Layers that are modulated: all, or all but the finest."
    )
    uncovered: Literal["region", "repelled"] = Field(
        "region",
        title="Pixels without words",
        description="Pixels without words: one more region that keeps its words, or repelled by everything.",
    )
    size_over_frames: bool = Field(
        False,
        title="Count region size per frame",
        description="Count a region's size in self-attention once more per frame, as the release does.",
    )
    attention_span: Literal["full", "sparse_causal", "own_frame"] = Field(
        "full",
        title="Frames each frame sees",
        description="Frames a frame sees: all, the first and the previous, or itself alone.",
    )
    track_levels: int = Field(
        1,
        title="Levels that follow motion",
        ge=0,
        le=4,
        description="Finest levels whose attention also follows the motion of the clip.",
    )
    flow: Literal["auto", "dis", "raft"] = Field(
        "auto",
        title="Motion estimate",
        description="How motion is found: by RAFT where its weights are, by OpenCV (DIS), or by RAFT.",
    )
    joint_norm: bool = Field(
        True, title="Normalise over all frames", description="Normalise features over all frames together."
    )
    freeu: Literal["off", "released", "full"] = Field(
        "off",
        title="FreeU",
        description="FreeU: stronger features from deep layers; as released in one block, or in full.",
    )
    inject_until: float = Field(
        0.1,
        title="Source features until",
        ge=0,
        le=1,
        description="Share of the schedule, from pure noise on, with the source's features.",
    )
    control: Controls = written(
        "",
        title="Control networks",
        description="Control networks, KIND=MODEL@WEIGHT, several with commas; kinds: canny, depth, pose. "
        "With the built-in model: canny=storybook/canny@0.7.",
    )
    inversion: Literal["paper", "released"] = Field(
        "paper",
        title="Inversion",
        description="Noise levels of the inversion; the release takes one step less.",
    )
    blend: bool = Field(
        True,
        title="Keep latents outside",
        description="Outside the edited regions, take the latents of the source.",
    )
    blend_with: Literal["inversion", "noise"] = Field(
        "inversion",
        title="Latents outside",
        description="The source's latents outside: of its inversion, or with fresh noise.",
    )
    heat_from: float = Field(
        0.0,
        title="Attention maps from",
        ge=0,
        le=1,
        description="Share of the schedule after which attention maps are averaged.",
    )
    heat_until: float = Field(
        1.0,
        title="Attention maps until",
        ge=0,
        le=1,
        description="Share of the schedule up to which they are.",
    )
    heat_grids: str = Field(
        "",
        title="Attention map grids",
        description="Grids that attention maps are read from, with commas: 1 the latents' own, 2 half of it, "
        "4, 8; empty takes those of up to 1024 cells.",
    )
    heat_pixel: Pixel = written(
        "",
        title="Attention of one pixel",
        description="FRAME,X,Y, a pixel of the clip, frames from 0: where it looks becomes one more map.",
    )

    @model_validator(mode="after")
    def _some_steps_are_averaged(self) -> VideoGrainParams:
        if self.heat_from >= self.heat_until:
            raise ValueError("allowed is a heat_until larger than heat_from")
        return self
