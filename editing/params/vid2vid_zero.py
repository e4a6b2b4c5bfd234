"""Parameters of vid2vid-zero."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    KEYS_SEEN,
    RELEASED_PRESET,
    ByWordsParams,
    Keys,
    self_until,
)
from regrain.editing.params.written import Share, Words, parameter


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
        "Words": ("cross_control", "alignment", "replace_until", "refine_until"),
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
        "Frames": ("self_until", "dense_layers", "keys", "steady", "joint_norm"),
    }

    preset: Literal["paper", "released"] = RELEASED_PRESET
    inversion: Literal["negative_prompt", "null_text", "plain"] = parameter(
        "negative_prompt",
        "Inversion",
        "How guidance returns to the source: with the source prompt as the negative, with a text learned "
        "for each step, or not at all.",
    )
    inner_steps: int = parameter(
        10,
        "Null-text: inner steps",
        "Most optimisation steps of null-text inversion per denoising step.",
        (1, 100),
    )
    learning_rate: Share = parameter(
        0.01,
        "Null-text: learning rate",
        "Learning rate of null-text inversion at the first step; it falls to half.",
    )
    learned_share: float = parameter(
        -0.5,
        "Null-text: share of steps",
        "Share of the steps that use the text of null-text inversion: the first ones, or the last if "
        "negative.",
        (-1, 1),
    )
    pivot: Literal["empty", "source"] = parameter(
        "empty",
        "Null-text: inversion prompt",
        "Prompt of the inversion that null-text inversion retraces: none, or the source prompt.",
    )
    learn_with: Literal["plain", "sampling"] = parameter(
        "plain",
        "Null-text: attention",
        "Attention while null-text inversion learns: each frame alone, or as in sampling.",
    )
    recompute: bool = parameter(
        True,
        "Null-text: save memory",
        "Recompute activations in the backward pass of null-text inversion, to save memory.",
    )
    replace_until: Share = parameter(
        0.8,
        "Replaced words until",
        f"{FROM_NOISE}with the source's cross-attention if words are replaced.",
    )
    refine_until: Share = parameter(
        0.4,
        "Added words until",
        f"{FROM_NOISE}with the source's cross-attention if words are added.",
    )
    self_until: Share = self_until(0.0)
    dense_layers: Words = parameter(
        "down_blocks.0.attentions.0 | down_blocks.1.attentions.0, mid_block.attentions.0, "
        "up_blocks.1.attentions.0",
        "Layers that see all frames",
        "Layers in which each frame sees all frames, by the start of their names, separated by commas; of "
        "names joined by | the first that there is.",
    )
    keys: Keys = parameter(
        "first_previous",
        "Frames each frame sees",
        f"In the other layers: {KEYS_SEEN[0].lower()}{KEYS_SEEN[1:]}",
    )
    reconstruct: bool = parameter(
        True, "Rebuild the source", "Also rebuild the source from its inversion."
    )
    blend: bool = parameter(
        True,
        "Keep latents outside",
        "Keep the latents of the inversion outside the regions with masks.",
    )
