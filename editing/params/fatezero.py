"""Parameters of FateZero."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    ByWordsParams,
    self_until,
)
from regrain.editing.params.written import (
    MAX_EMPHASIS,
    EmphasisWords,
    Share,
    Words,
    parameter,
)


class FateZeroParams(ByWordsParams):
    """FateZero: the edit reuses attention of the source (Qi et al. 2023, arXiv:2303.09535)."""

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

    preset: Literal["paper", "released", "style", "attribute", "shape"] = parameter(
        "paper",
        "Preset",
        "Start from the paper's values, from those of the released code, or from values for edits of style, "
        "attribute or shape; for shapes, its authors first tune the model on the clip (see `adapter`).",
    )
    cross_until: Share = parameter(
        0.5,
        "Keep word attention until",
        f"{FROM_NOISE}that take the source's attention to the words of both prompts.",
        group="Words",
    )
    self_until: Share = self_until(0.5)
    emphasis: float = parameter(
        1.0,
        "Emphasis",
        "Factor on the attention to emphasised words while the prompts are fused.",
        (0, MAX_EMPHASIS),
        group="Words",
    )
    emphasis_words: EmphasisWords = parameter(
        "",
        "Emphasised words",
        "Words of the prompt to emphasise, separated by commas, with their own factors if given (sketch=5); "
        "empty takes the new words.",
        group="Words",
    )
    blend_self: bool = parameter(
        False,
        "Let shapes change",
        "Keep the layout only outside the edited area, so that shapes inside can change.",
        group="Edited area",
    )
    blend_latents: Literal["masks", "always", "never"] = parameter(
        "masks",
        "Keep latents outside",
        "When to keep the latents of the inversion outside the edited area: if regions have masks, always, "
        "or never.",
        group="Edited area",
    )
    blend_words: Words = parameter(
        "",
        "Words that mark the area",
        "Without masks, words of the source prompt that mark the area, separated by commas; empty takes the "
        "replaced words.",
        group="Edited area",
    )
    edit_words: Words = parameter(
        "",
        "Words that mark the edit",
        "Without masks, words of the prompt that also mark the area, separated by commas; empty takes the "
        "new words.",
        group="Words",
    )
    keys: Literal["own_middle", "middle", "first_previous", "own"] = parameter(
        "own_middle",
        "Frames each frame sees",
        "Frames that each frame sees: itself and the middle one, only the middle one, the first and the "
        "previous one, or only itself.",
        group="Frames",
    )
    keys_levels: Literal["all", "coarse"] = parameter(
        "all",
        "Layers that see other frames",
        "Layers in which frames see others: all, or all but the finest.",
        group="Frames",
    )
    levels: Literal["all", "coarse"] = parameter(
        "coarse",
        "Layers with source attention",
        "Layers that use the source's attention: all, or all but the finest.",
        group="Frames",
    )
    inversion_latents: Literal["aligned", "released"] = parameter(
        "aligned",
        "Noise level of source latents",
        "Noise level of the source latents: the edit's or, as released, one step cleaner for attention and "
        "one step noisier for blending.",
    )
