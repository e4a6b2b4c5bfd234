"""Parameters of Tune-A-Video."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regrain.editing.params.base import InvertedParams
from regrain.editing.params.written import Controls, control_networks


class TuneAVideoParams(InvertedParams):
    """Tune-A-Video: tune the model on the clip, then edit by words (Wu et al. 2022, arXiv:2212.11565)."""

    PRESETS = {
        "paper": {},
        "fatezero": {"tune_steps": 200, "learning_rate": 1e-5, "temporal_rank": 160},
    }
    NEEDS = {"control": "control"}
    GROUPS = {
        "Tuning": (
            "learning_rate",
            "tune_seed",
            "keep_every",
            "tune_preview_every",
            "joint_norm",
            "positions",
            "temporal_rank",
        )
    }
    SCALED = ("steps", "tune_steps")

    preset: Literal["paper", "fatezero"] = Field(
        "paper",
        title="Preset",
        description="Sets every parameter that you do not: to the paper's values, or those of the "
        "models on which FateZero edits shapes.",
    )
    guidance_scale: float = Field(
        12.5,
        title="Guidance scale",
        ge=0,
        le=50,
        description="How strongly the prompt guides the edit; 1 adds no guidance.",
    )
    tune_steps: int = Field(
        500,
        title="Tuning steps",
        ge=0,
        le=5000,
        description="Steps of tuning; more keep the clip's motion and look better, fewer change more.",
    )
    learning_rate: float = Field(
        3e-5, title="Learning rate", gt=0, le=0.01, description="Learning rate of the tuning."
    )
    tune_seed: int = Field(
        0, title="Seed of the tuning", ge=0, le=2**31, description="Seed of the tuning; `seed` is the edit's."
    )
    joint_norm: bool = Field(
        True, title="Normalise over all frames", description="Normalise features over all frames together."
    )
    positions: bool = Field(
        False,
        title="Tell the order of frames",
        description="Encode the order of the frames in attention over time; the paper does not.",
    )
    temporal_rank: int = Field(
        0,
        title="Convolutions over time",
        ge=0,
        le=320,
        description="Most channels inside the convolutions over time that FateZero adds; 0 adds none.",
    )
    keep_every: int = Field(
        100,
        title="Steps between versions",
        ge=1,
        le=5000,
        description="Tuning steps between kept versions; fewer tuning steps then take one of them at once.",
    )
    tune_preview_every: int = Field(
        100,
        title="Tuning steps between previews",
        ge=0,
        le=5000,
        description="Tuning steps between previews of the edit; 0 shows none.",
    )
    start: Literal["inversion", "noise"] = Field(
        "inversion",
        title="Start from",
        description="Noise to start from: that of the clip, which keeps its motion, or fresh noise.",
    )
    control: Controls = control_networks()
    blend: bool = Field(
        True,
        title="Keep latents outside",
        description="Keep the latents of the source outside the edited regions.",
    )
