"""Parameters of FateZero."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from editing.params import FEATHER, FROM_NOISE, KEYS_SEEN, VARIATION, Keys, MethodParams
from editing.params.written import MAX_EMPHASIS, EmphasisWords, Words, written


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
        description=f"{FROM_NOISE}in which words kept from the source look where they looked there.",
    )
    self_until: float = Field(
        0.5, ge=0, le=1, description=f"{FROM_NOISE}in which the layout of the source is taken over."
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
    emphasis_words: EmphasisWords = written(
        "",
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
    blend_words: Words = written(
        "",
        description="Without masks: words of the source prompt that mark the area, with commas; empty takes "
        "those that are replaced.",
    )
    keys: Keys = Field("own_middle", description=KEYS_SEEN)
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
        "fixed", description="Alignment of the prompts: fixed, or as in the published code."
    )
    joint_norm: bool = Field(False, description="Normalise over all frames together, as the references do.")
    reconstruct: bool = Field(False, description="Also rebuild the source from its inversion.")
    variation: float = Field(0.0, ge=0, le=1, description=VARIATION)
    feather: float = Field(2.0, ge=0, le=3, description=FEATHER)
    preview_every: int = Field(1, ge=0, le=1000, description="Steps between live previews; 0 shows none.")
