"""Parameters of vid2vid-zero."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import RELEASED_PRESET, ByWordsParams, Released
from regrain.editing.params.written import parameter


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

    preset: Released = RELEASED_PRESET
    inversion: Literal["negative_prompt", "null_text", "plain"] = parameter(
        "negative_prompt",
        "Inversion",
        "How guidance returns to the source: with the source prompt as the negative, with a text learned "
        "for each step, or not at all.",
        group="Inversion",
    )
    inner_steps: int = parameter(
        10,
        "Null-text: inner steps",
        "Most optimisation steps of null-text inversion per denoising step.",
        (1, 100),
        group="Inversion",
    )
    reconstruct: bool = parameter(
        True,
        "Rebuild the source",
        "Also rebuild the source from its inversion.",
        group="Inversion",
    )
    blend: bool = parameter(
        True,
        "Keep latents outside",
        "Keep the latents of the inversion outside the regions with masks.",
        group="Edited area",
    )

    @property
    def rebuilds(self) -> bool:
        """See `MethodParams`."""
        return self.reconstruct
