"""Parameters of FRESCO."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    RELEASED_PRESET,
    ModulatedParams,
    Released,
    SampledParams,
    steps,
    strength,
)
from regrain.editing.params.written import (
    BLEND,
    CONTROL_NETWORKS,
    Controls,
    Share,
    parameter,
)


class FrescoParams(SampledParams, ModulatedParams):
    """FRESCO: features and attention follow the motion of the clip (Yang et al. 2024, arXiv:2403.12962).

    docs/fresco.md lists where the paper and its released code differ.
    """

    PRESETS = {
        "paper": {},
        "released": {
            "learning_rate": 0.2,
            "flow_weight": 2.0,
            "similarity_weight": 100.0,
            "flow_loss": "circular",
            "similarity_loss": "absolute",
            "details": "released",
        },
    }
    NEEDS = {"control": "control"}

    # The first steps, which modulate most in VideoGrain, are skipped here unless the
    # strength is 1.
    modulate_until: Share = parameter(
        0.7,
        "Modulate until",
        f"{FROM_NOISE}with modulated attention.",
        group="Regions",
    )
    schedule_power: float = parameter(
        0.0,
        "Fade of modulation",
        "Modulation fades as (t / 1000) to this power; with 0 it stays constant.",
        (0, 20),
        group="Regions",
    )
    steps: int = steps(20)
    preset: Released = RELEASED_PRESET
    strength: Share = strength(0.75)
    frames_at_once: int = parameter(
        8,
        "Frames at once",
        "Most frames in one batch; later batches start with the first frame of the shot and the last of the "
        "batch before. Memory grows with it.",
        (3, 64),
        group="Long clips",
    )
    step_noise: Literal["own", "shared", "none"] = parameter(
        "own",
        "Noise of the steps",
        "Fresh noise in every step: each frame's own, the same for all, or none (DDIM).",
        group="Source",
    )
    optimise_until: Share = parameter(
        0.75,
        "Optimise features until",
        f"{FROM_NOISE}in which features are optimised; 0 turns it off.",
        group="Features",
    )
    optimise_rounds: int = parameter(
        20,
        "Rounds",
        "Adam steps each time features are optimised.",
        (1, 200),
        group="Features",
    )
    learning_rate: float = parameter(
        0.4,
        "Learning rate",
        "Learning rate of Adam when features are optimised.",
        gt=0,
        le=10,
        group="Features",
    )
    flow_weight: float = parameter(
        1.0,
        "Weight of motion",
        "How strongly features follow the motion of the clip; 0 turns it off.",
        (0, 1000),
        group="Features",
    )
    similarity_weight: float = parameter(
        50.0,
        "Weight of similarity",
        "How strongly places of a frame stay as alike as in the source; 0 turns it off.",
        (0, 10000),
        group="Features",
    )
    flow_loss: Literal["open", "circular"] = parameter(
        "open",
        "Pairs of frames",
        "Frames compared along the motion: each with the one before, or neighbours both ways and the last "
        "with the first, as released.",
        group="Features",
    )
    similarity_loss: Literal["squared", "absolute"] = parameter(
        "squared",
        "Distance of similarities",
        "How similarities are compared: by squared differences, or absolute ones, as released.",
        group="Features",
    )
    details: Literal["fixed", "released"] = parameter(
        "fixed",
        "Details",
        "How the source's features are noised, the least differences that count, and how statistics are "
        "restored: corrected, or as in the published code.",
        group="Features",
    )
    control: Controls = CONTROL_NETWORKS
    blend: bool = BLEND

    @property
    def together(self) -> int:
        """See `MethodParams`."""
        return self.frames_at_once
