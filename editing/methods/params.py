"""Parameters of the methods: one declaration gives validation, JSON, command-line help and sliders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from editing.control import parse_control

MAX_EMPHASIS = 20


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


_VARIATION = "Fresh noise mixed into the edited regions, or the whole frame: another result per seed."


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
    variation: float = Field(0.0, ge=0, le=1, description=_VARIATION)
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


_FROM_NOISE = "Share of the steps, from pure noise on, "
_FEATHER = "Width in source pixels over which an edited region fades into the source."
_KEYS = (
    "Frames whose content a frame sees: itself and the middle one, the middle one only, the first and the "
    "one before, or itself only."
)
Keys = Literal["own_middle", "middle", "first_previous", "own"]
KEY_FRAMES = {
    "own_middle": ("own", "middle"),
    "middle": ("middle",),
    "first_previous": ("first", "previous"),
    "own": ("own",),
}
"""The selectors of `editing.attention.frames.sparse_causal` that each choice of `keys` stands for."""


class FateZeroParams(MethodParams):
    """FateZero: the edit takes over attention of the source (Qi et al. 2023, arXiv:2303.09535)."""

    PRESETS = {
        "paper": {},
        "released": {
            "keys": "middle",
            "keys_levels": "coarse",
            "inversion_latents": "released",
            "alignment": "original",
            "joint_norm": True,
        },
        "style": {"cross_until": 0.8, "self_until": 0.8, "emphasis": 10.0},
        "attribute": {"cross_until": 0.5, "self_until": 0.5},
        "shape": {
            "cross_until": 0.5,
            "self_until": 0.5,
            "keys": "first_previous",
            "blend_self": True,
            "blend_latents": "always",
        },
    }

    preset: Literal["paper", "released", "style", "attribute", "shape"] = Field(
        "paper",
        description="Naming a preset sets every parameter not given: the paper's, the released code's, or "
        "what suits an edit of style, attribute or shape.",
    )
    cross_until: float = Field(
        0.5,
        ge=0,
        le=1,
        description=f"{_FROM_NOISE}in which words kept from the source look where they looked there.",
    )
    self_until: float = Field(
        0.5, ge=0, le=1, description=f"{_FROM_NOISE}in which the layout of the source is taken over."
    )
    cross_control: Literal["auto", "replace", "refine"] = Field(
        "auto",
        description="Replace words in their places, refine by added words, or decide by the two prompts.",
    )
    emphasis: float = Field(
        1.0,
        ge=0,
        le=MAX_EMPHASIS,
        description="Factor on the attention of the emphasised words while it is fused.",
    )
    emphasis_words: str = Field(
        "",
        max_length=400,
        description="Words of the prompt to emphasise, with commas, each with its own factor where given "
        "(sketch=5); empty takes the new words.",
    )
    blend_self: bool = Field(
        False, description="Take over the layout only outside the edited area, to let its shape change."
    )
    blend_latents: Literal["masks", "always", "never"] = Field(
        "masks",
        description="Outside the edited area, take the latents of the inversion: where regions have masks, "
        "always, or never.",
    )
    blend_from: float = Field(
        0.2, ge=0, le=1, description="Share of the steps after which latents outside are taken."
    )
    blend_until: float = Field(0.8, ge=0, le=1, description="Share of the steps up to which they are.")
    use_masks: bool = Field(
        True, description="The edited area is that of the masks, where regions have any, not of attention."
    )
    blend_threshold: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Without masks: share of the strongest attention from which on a place is in the area.",
    )
    blend_words: str = Field(
        "",
        max_length=400,
        description="Without masks: words of the source prompt that mark the area, with commas; empty takes "
        "those that are replaced.",
    )
    keys: Keys = Field("own_middle", description=_KEYS)
    keys_levels: Literal["all", "coarse"] = Field(
        "all", description="Layers in which a frame sees others: all, or all but the finest."
    )
    levels: Literal["all", "coarse"] = Field(
        "coarse", description="Layers that take over attention: all, or all but the finest."
    )
    guidance_half: Literal["cond", "both"] = Field(
        "cond", description="Half of the guided batch that takes over the layout of the source."
    )
    inversion_latents: Literal["aligned", "released"] = Field(
        "aligned",
        description="Noise level of the source latents: that of the edit, or as released one step cleaner "
        "for attention and one noisier for blending.",
    )
    alignment: Literal["fixed", "original"] = Field(
        "fixed", description="Alignment of the prompts: mended, or as in the published code."
    )
    joint_norm: bool = Field(False, description="Normalise over all frames together, as the references do.")
    reconstruct: bool = Field(False, description="Also rebuild the source from its inversion.")
    variation: float = Field(0.0, ge=0, le=1, description=_VARIATION)
    feather: float = Field(2.0, ge=0, le=3, description=_FEATHER)
    preview_every: int = Field(1, ge=0, le=1000, description="Steps between live previews; 0 shows none.")


class Vid2VidZeroParams(MethodParams):
    """vid2vid-zero: cross-frame attention without training (Wang et al. 2023, arXiv:2303.17599)."""

    PRESETS = {
        "paper": {},
        "released": {
            "inversion": "null_text",
            "inner_steps": 1,
            "alignment": "original",
            "joint_norm": True,
        },
    }

    preset: Literal["paper", "released"] = Field(
        "paper", description="Naming a preset sets every parameter not given to that source's value."
    )
    inversion: Literal["negative_prompt", "null_text", "plain"] = Field(
        "negative_prompt",
        description="How guidance finds back to the source: the source prompt in place of no prompt, a "
        "learned text per step, or not at all.",
    )
    inner_steps: int = Field(
        10, ge=1, le=100, description="Null-text: optimisation steps per denoising step at most."
    )
    learning_rate: float = Field(0.01, ge=0, le=1, description="Null-text: of the first step; falls to half.")
    learned_share: float = Field(
        -0.5,
        ge=-1,
        le=1,
        description="Null-text: share of the steps that use the learned text: the first ones, or if negative "
        "the last.",
    )
    pivot: Literal["empty", "source"] = Field(
        "empty", description="Null-text: prompt of the inversion that is retraced: none, or the source's."
    )
    learn_with: Literal["plain", "sampling"] = Field(
        "plain",
        description="Null-text: attention while learning: each frame on its own, or as in sampling.",
    )
    recompute: bool = Field(
        True, description="Null-text: compute activations anew in the backward pass, to save memory."
    )
    cross_control: Literal["auto", "replace", "refine"] = Field(
        "auto",
        description="Replace words in their places, refine by added words, or decide by the two prompts.",
    )
    replace_until: float = Field(
        0.8, ge=0, le=1, description=f"{_FROM_NOISE}with cross-attention of the source, where words replace."
    )
    refine_until: float = Field(
        0.4,
        ge=0,
        le=1,
        description=f"{_FROM_NOISE}with cross-attention of the source, where words are added.",
    )
    self_until: float = Field(
        0.0, ge=0, le=1, description=f"{_FROM_NOISE}in which the layout of the source is taken over."
    )
    dense_layers: str = Field(
        "down_blocks.0.attentions.0, mid_block.attentions.0, up_blocks.1.attentions.0",
        max_length=2000,
        description="Layers in which a frame sees all frames: beginnings of their names, with commas.",
    )
    keys: Keys = Field("first_previous", description=f"In the other layers: {_KEYS[0].lower()}{_KEYS[1:]}")
    alignment: Literal["fixed", "original"] = Field(
        "fixed", description="Alignment of the prompts: mended, or as in the published code."
    )
    joint_norm: bool = Field(False, description="Normalise over all frames together, as the references do.")
    reconstruct: bool = Field(True, description="Also rebuild the source, on the way.")
    blend: bool = Field(
        True, description="Outside the regions that have masks, take the latents of the inversion."
    )
    variation: float = Field(0.0, ge=0, le=1, description=_VARIATION)
    feather: float = Field(2.0, ge=0, le=3, description=_FEATHER)
    preview_every: int = Field(1, ge=0, le=1000, description="Steps between live previews; 0 shows none.")
