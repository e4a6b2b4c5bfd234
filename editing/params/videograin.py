"""Parameters of VideoGrain."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from regrain.editing.params.base import (
    MODULATION,
    RELEASED_PRESET,
    AgainParams,
    Estimator,
    InvertedParams,
    ModulationVariants,
)
from regrain.editing.params.written import (
    ATTENTION_SPAN,
    BLEND_EDITED,
    CONTROL_NETWORKS,
    JOINT_NORM,
    MOTION_ESTIMATE,
    Controls,
    Grids,
    Share,
    parameter,
)


class VideoGrainParams(AgainParams, ModulationVariants, InvertedParams):
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
            *MODULATION,
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
        "Attention maps": ("heat_from", "heat_until", "heat_grids"),
    }

    preset: Literal["paper", "released"] = RELEASED_PRESET

    attention_span: Literal["full", "sparse_causal", "own_frame"] = ATTENTION_SPAN
    track_levels: int = parameter(
        1,
        "Levels that follow motion",
        "Number of finest levels whose attention also follows the motion of the clip.",
        (0, 4),
    )
    flow: Estimator = MOTION_ESTIMATE
    joint_norm: bool = JOINT_NORM
    freeu: Literal["off", "released", "full"] = parameter(
        "off",
        "FreeU",
        "Strengthen features of deep layers (FreeU): off, in one block as released, or in full.",
    )
    inject_until: Share = parameter(
        0.1,
        "Source features until",
        "Share of the schedule, counted from pure noise, with the source's features.",
    )
    redraw: float = parameter(
        0.0,
        "Draw again",
        "Share of the last steps to repeat on the finished edit, with the same noise in every frame; "
        "clears away what is left of the old thing. 0 takes none.",
        (0, 0.9),
    )
    control: Controls = CONTROL_NETWORKS
    inversion: Literal["paper", "released"] = parameter(
        "paper",
        "Inversion",
        "Noise levels of the inversion: the paper's, or the release's, with one step less.",
    )
    blend: bool = BLEND_EDITED
    blend_with: Literal["inversion", "noise"] = parameter(
        "inversion",
        "Latents outside",
        "Latents of the source outside the regions: from its inversion, or with fresh noise.",
    )
    heat_from: Share = parameter(
        0.0,
        "Attention maps from",
        "Share of the schedule from which on attention maps are averaged.",
    )
    heat_until: Share = parameter(
        1.0,
        "Attention maps until",
        "Share of the schedule up to which attention maps are averaged.",
    )
    heat_grids: Grids = parameter(
        "",
        "Attention map grids",
        "Grids of the attention maps, separated by commas: 1 for the latents' own, 2 for half of it, 4 or "
        "8; empty takes those of up to 1024 cells.",
    )

    @property
    def motion_estimate(self) -> Estimator:
        """See `MethodParams`."""
        return self.flow

    @model_validator(mode="after")
    def _some_steps_are_averaged(self) -> VideoGrainParams:
        if self.heat_from >= self.heat_until:
            raise ValueError("heat_until must be larger than heat_from")
        return self
