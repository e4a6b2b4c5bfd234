"""Parameters of VideoGrain."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    RELEASED_PRESET,
    AgainParams,
    Estimator,
    InvertedParams,
    ModulatedParams,
    Released,
)
from regrain.editing.params.written import (
    ATTENTION_SPAN,
    BLEND_EDITED,
    CONTROL_NETWORKS,
    JOINT_NORM,
    MOTION_ESTIMATE,
    Controls,
    Share,
    parameter,
)


class VideoGrainParams(AgainParams, ModulatedParams, InvertedParams):
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

    preset: Released = RELEASED_PRESET
    guidance_half: Literal["cond", "uncond", "both"] = parameter(
        "cond",
        "Half with modulated self-attention",
        "Which half of the guided batch has its self-attention modulated.",
        group="Regions",
    )
    levels: Literal["all", "coarse"] = parameter(
        "all",
        "Modulated layers",
        "Layers whose attention is modulated: all, or all but the finest.",
        group="Regions",
    )
    uncovered: Literal["region", "repelled"] = parameter(
        "region",
        "Pixels without words",
        "How pixels without words are treated: as one more region, or repelled by all words.",
        group="Regions",
    )
    size_over_frames: bool = parameter(
        False,
        "Count region size per frame",
        "Count a region's size once per frame in self-attention, as the release does.",
        group="Regions",
    )
    attention_span: Literal["full", "sparse_causal", "own_frame"] = ATTENTION_SPAN
    flow: Estimator = MOTION_ESTIMATE
    joint_norm: bool = JOINT_NORM
    inject_until: Share = parameter(
        0.1,
        "Source features until",
        "Share of the schedule, counted from pure noise, with the source's features.",
        group="Source",
    )
    redraw: float = parameter(
        0.0,
        "Draw again",
        "Share of the last steps to repeat on the finished edit, with the same noise in every frame; "
        "clears away what is left of the old thing. 0 takes none.",
        (0, 0.9),
        group="Motion",
    )
    control: Controls = CONTROL_NETWORKS
    inversion: Released = parameter(
        "paper",
        "Inversion",
        "Noise levels of the inversion: the paper's, or the release's, with one step less.",
        group="Source",
    )
    blend: bool = BLEND_EDITED
    blend_with: Literal["inversion", "noise"] = parameter(
        "inversion",
        "Latents outside",
        "Latents of the source outside the regions: from its inversion, or with fresh noise.",
        group="Source",
    )

    @property
    def motion_estimate(self) -> Estimator:
        """See `MethodParams`."""
        return self.flow
