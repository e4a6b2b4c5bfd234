"""Parameters of vid2vid-zero."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from editing.params import FROM_NOISE, KEYS_SEEN, InvertedParams, Keys
from editing.params.written import Words, written


class Vid2VidZeroParams(InvertedParams):
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
        "paper",
        title="Preset",
        description="Naming a preset sets every parameter not given to that source's value.",
    )
    inversion: Literal["negative_prompt", "null_text", "plain"] = Field(
        "negative_prompt",
        title="Inversion",
        description="How guidance finds back to the source: the source prompt in place of no prompt, a "
        "learned text per step, or not at all.",
    )
    inner_steps: int = Field(
        10,
        title="Null-text: inner steps",
        ge=1,
        le=100,
        description="Null-text: optimisation steps per denoising step at most.",
    )
    learning_rate: float = Field(
        0.01,
        title="Null-text: learning rate",
        ge=0,
        le=1,
        description="Null-text: of the first step; falls to half.",
    )
    learned_share: float = Field(
        -0.5,
        title="Null-text: share of steps",
        ge=-1,
        le=1,
        description="Null-text: share of the steps that use the learned text: the first ones, or if negative "
        "the last.",
    )
    pivot: Literal["empty", "source"] = Field(
        "empty",
        title="Null-text: inversion prompt",
        description="Null-text: prompt of the inversion that is retraced: none, or the source's.",
    )
    learn_with: Literal["plain", "sampling"] = Field(
        "plain",
        title="Null-text: attention",
        description="Null-text: attention while learning: each frame on its own, or as in sampling.",
    )
    recompute: bool = Field(
        True,
        title="Null-text: save memory",
        description="Null-text: compute activations anew in the backward pass, to save memory.",
    )
    cross_control: Literal["auto", "replace", "refine"] = Field(
        "auto",
        title="Prompt fusion",
        description="Replace words in their places, refine by added words, or decide by the two prompts.",
    )
    replace_until: float = Field(
        0.8,
        title="Replaced words until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with cross-attention of the source, where words replace.",
    )
    refine_until: float = Field(
        0.4,
        title="Added words until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with cross-attention of the source, where words are added.",
    )
    self_until: float = Field(
        0.0,
        title="Keep the layout until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}in which the layout of the source is taken over.",
    )
    dense_layers: Words = written(
        "down_blocks.0.attentions.0, mid_block.attentions.0, up_blocks.1.attentions.0",
        title="Layers that see all frames",
        description="Layers in which a frame sees all frames: beginnings of their names, with commas.",
    )
    keys: Keys = Field(
        "first_previous",
        title="Frames each frame sees",
        description=f"In the other layers: {KEYS_SEEN[0].lower()}{KEYS_SEEN[1:]}",
    )
    alignment: Literal["fixed", "original"] = Field(
        "fixed",
        title="Word alignment",
        description="Alignment of the prompts: fixed, or as in the published code.",
    )
    joint_norm: bool = Field(
        False,
        title="Normalise over all frames",
        description="Normalise over all frames together, as the references do.",
    )
    reconstruct: bool = Field(
        True, title="Rebuild the source", description="Also rebuild the source, on the way."
    )
    blend: bool = Field(
        True,
        title="Keep latents outside",
        description="Outside the regions that have masks, take the latents of the inversion.",
    )
