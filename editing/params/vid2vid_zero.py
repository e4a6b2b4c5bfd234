"""Parameters of vid2vid-zero."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regrain.editing.params.base import FROM_NOISE, KEYS_SEEN, ByWordsParams, Keys
from regrain.editing.params.written import Words, written


class Vid2VidZeroParams(ByWordsParams):
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

    GROUPS = {
        "Words": (
            "cross_control",
            "alignment",
            "replace_until",
            "refine_until",
        ),
        "Inversion": (
            "inversion",
            "inner_steps",
            "learning_rate",
            "learned_share",
            "pivot",
            "learn_with",
            "recompute",
            "reconstruct",
        ),
        "Frames": (
            "self_until",
            "dense_layers",
            "keys",
            "steady",
            "joint_norm",
        ),
    }

    preset: Literal["paper", "released"] = Field(
        "paper",
        title="Preset",
        description="Sets every parameter that you do not: to the paper's values or the release's.",
    )
    inversion: Literal["negative_prompt", "null_text", "plain"] = Field(
        "negative_prompt",
        title="Inversion",
        description="How guidance returns to the source: with the source prompt as the negative, with a text "
        "learned for each step, or not at all.",
    )
    inner_steps: int = Field(
        10,
        title="Null-text: inner steps",
        ge=1,
        le=100,
        description="Most optimisation steps of null-text inversion per denoising step.",
    )
    learning_rate: float = Field(
        0.01,
        title="Null-text: learning rate",
        ge=0,
        le=1,
        description="Learning rate of null-text inversion at the first step; it falls to half.",
    )
    learned_share: float = Field(
        -0.5,
        title="Null-text: share of steps",
        ge=-1,
        le=1,
        description="Share of the steps that use the text of null-text inversion: the first ones, or the "
        "last if negative.",
    )
    pivot: Literal["empty", "source"] = Field(
        "empty",
        title="Null-text: inversion prompt",
        description="Prompt of the inversion that null-text inversion retraces: none, or the source prompt.",
    )
    learn_with: Literal["plain", "sampling"] = Field(
        "plain",
        title="Null-text: attention",
        description="Attention while null-text inversion learns: each frame alone, or as in sampling.",
    )
    recompute: bool = Field(
        True,
        title="Null-text: save memory",
        description="Recompute activations in the backward pass of null-text inversion, to save memory.",
    )
    replace_until: float = Field(
        0.8,
        title="Replaced words until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with the source's cross-attention if words are replaced.",
    )
    refine_until: float = Field(
        0.4,
        title="Added words until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with the source's cross-attention if words are added.",
    )
    self_until: float = Field(
        0.0,
        title="Keep the layout until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}that keep the layout of the source.",
    )
    dense_layers: Words = written(
        "down_blocks.0.attentions.0, mid_block.attentions.0, up_blocks.1.attentions.0",
        title="Layers that see all frames",
        description="Layers in which each frame sees all frames, by the start of their names, separated by "
        "commas.",
    )
    keys: Keys = Field(
        "first_previous",
        title="Frames each frame sees",
        description=f"In the other layers: {KEYS_SEEN[0].lower()}{KEYS_SEEN[1:]}",
    )
    reconstruct: bool = Field(
        True, title="Rebuild the source", description="Also rebuild the source from its inversion."
    )
    blend: bool = Field(
        True,
        title="Keep latents outside",
        description="Keep the latents of the inversion outside the regions with masks.",
    )
