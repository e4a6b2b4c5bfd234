"""Parameters of Tune-A-Video."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import InvertedParams, guidance
from regrain.editing.params.written import (
    BLEND_EDITED,
    CONTROL_NETWORKS,
    Controls,
    parameter,
)


class TuneAVideoParams(InvertedParams):
    """Tune-A-Video: tune the model on the clip, then edit by words (Wu et al. 2022, arXiv:2212.11565)."""

    PRESETS = {
        "paper": {},
        "fatezero": {"tune_steps": 200, "learning_rate": 1e-5, "temporal_rank": 160},
    }
    NEEDS = {"control": "control"}
    SCALED = ("steps", "tune_steps")

    preset: Literal["paper", "fatezero"] = parameter(
        "paper",
        "Preset",
        "Start from the paper's values, or from those of the models on which FateZero edits shapes.",
    )
    guidance_scale: float = guidance(12.5)
    tune_steps: int = parameter(
        500,
        "Tuning steps",
        "Steps of tuning; more keep the clip's motion and look better, fewer change more.",
        (0, 5000),
        group="First",
        reach=1000,
    )
    learning_rate: float = parameter(
        3e-5,
        "Learning rate",
        "Learning rate of the tuning.",
        gt=0,
        le=0.01,
        group="Tuning",
    )
    tune_seed: int = parameter(
        0,
        "Seed of the tuning",
        "Seed of the tuning; `seed` is the edit's.",
        (0, 2**31),
        group="Tuning",
    )
    temporal_rank: int = parameter(
        0,
        "Convolutions over time",
        "Most channels inside the convolutions over time that FateZero adds; 0 adds none.",
        (0, 320),
        group="Tuning",
    )
    keep_every: int = parameter(
        100,
        "Steps between versions",
        "Tuning steps between kept versions; fewer tuning steps then take one of them at once.",
        (1, 5000),
        group="Tuning",
        reach=1000,
    )
    tune_preview_every: int = parameter(
        100,
        "Tuning steps between previews",
        "Tuning steps between previews of the edit; 0 shows none, nor does `preview_every` 0.",
        (0, 5000),
        group="Tuning",
        reach=1000,
    )
    control: Controls = CONTROL_NETWORKS
    blend: bool = BLEND_EDITED
