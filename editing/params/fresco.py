"""Parameters of FRESCO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from regrain.editing.params.base import FROM_NOISE, ModulatedParams
from regrain.editing.params.written import Controls, control_networks, motion_estimate


class FrescoParams(ModulatedParams):
    """FRESCO: features and attention follow the motion of the clip (Yang et al. 2024, arXiv:2403.12962).

    docs/fresco.md lists where the paper and its released code differ. Adam does not see the scale of a loss,
    so only the ratio of the two weights counts: 50 in the paper as in the release.
    """

    PRESETS = {
        "paper": {},
        "released": {"learning_rate": 0.2, "flow_loss": "circular", "similarity_loss": "absolute"},
    }
    NEEDS = {"control": "control"}
    GROUPS = {
        "Features": (
            "optimise_until",
            "optimise_rounds",
            "learning_rate",
            "flow_weight",
            "similarity_weight",
            "flow_loss",
            "similarity_loss",
            "restore_statistics",
        ),
        "Attention": (
            "cross_frame",
            "spatial_steps",
            "spatial_sharpness",
            "temporal_until",
            "temporal_sharpness",
        ),
        "Background": ("smooth_background", "smooth_from", "smooth_until"),
        "Region words": (
            "self_strength",
            "cross_strength",
            "modulate_until",
            "schedule_power",
            "size_term",
        ),
    }

    # The first steps, which modulate most in VideoGrain, are skipped here unless the strength is 1.
    modulate_until: float = Field(
        0.7,
        title="Modulate until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with modulated attention.",
    )
    schedule_power: float = Field(
        0.0,
        title="Fade of modulation",
        ge=0,
        le=20,
        description="Modulation fades as (t / 1000) to this power; with 0 it stays constant.",
    )
    steps: int = Field(
        20, title="Steps", ge=1, le=1000, description="Steps of the whole schedule; `strength` skips some."
    )
    preset: Literal["paper", "released"] = Field(
        "paper",
        title="Preset",
        description="Sets every parameter that you do not: to the paper's values or the release's.",
    )
    strength: float = Field(
        0.75,
        title="Strength",
        ge=0,
        le=1,
        description="Share of the schedule to run: how far the result may go from the clip; 0 keeps it.",
    )
    frames_at_once: int = Field(
        8,
        title="Frames at once",
        ge=3,
        le=64,
        description="Most frames in one batch; later batches start with the first frame of the shot and "
        "the last of the batch before. Memory grows with it.",
    )
    first_noise: Literal["shared", "own"] = Field(
        "shared", title="First noise", description="Whether frames start from the same noise or their own."
    )
    step_noise: Literal["own", "shared", "none"] = Field(
        "own",
        title="Noise of the steps",
        description="Fresh noise in every step: each frame's own, the same for all, or none (DDIM).",
    )
    optimise_until: float = Field(
        0.75,
        title="Optimise features until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}in which features are optimised; 0 turns it off.",
    )
    optimise_rounds: int = Field(
        20, title="Rounds", ge=1, le=200, description="Adam steps each time features are optimised."
    )
    learning_rate: float = Field(
        0.4,
        title="Learning rate",
        gt=0,
        le=10,
        description="Learning rate of Adam when features are optimised.",
    )
    flow_weight: float = Field(
        1.0,
        title="Weight of motion",
        ge=0,
        le=1000,
        description="How strongly features follow the motion of the clip; 0 turns it off.",
    )
    similarity_weight: float = Field(
        50.0,
        title="Weight of similarity",
        ge=0,
        le=10000,
        description="How strongly places of a frame stay as alike as in the source; 0 turns it off.",
    )
    flow_loss: Literal["open", "circular"] = Field(
        "open",
        title="Pairs of frames",
        description="Frames compared along the motion: each with the one before, or neighbours both ways and "
        "the last with the first, as released.",
    )
    similarity_loss: Literal["squared", "absolute"] = Field(
        "squared",
        title="Distance of similarities",
        description="How similarities are compared: by squared differences, or absolute ones, as released.",
    )
    restore_statistics: bool = Field(
        True,
        title="Restore statistics",
        description="Restore the mean and deviation of every channel after features are optimised.",
    )
    cross_frame: Literal["efficient", "first", "own"] = Field(
        "efficient",
        title="Frames each frame sees",
        description="What each frame sees: the first frame and what is new in the others, the first alone, "
        "or only itself.",
    )
    spatial_steps: int = Field(
        1,
        title="Steps with spatial attention",
        ge=0,
        le=1000,
        description="First steps in which places that are alike in the source get similar queries; 0 turns "
        "it off.",
    )
    temporal_until: float = Field(
        0.65,
        title="Attention along motion until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}with attention along the motion of the clip; 0 turns it off.",
    )
    spatial_sharpness: float = Field(
        0.2,
        title="Sharpness of spatial attention",
        ge=0,
        le=10,
        description="Factor on the logits of spatial attention; a lower one mixes more places.",
    )
    temporal_sharpness: float = Field(
        0.2,
        title="Sharpness along motion",
        ge=0,
        le=10,
        description="Factor on the logits of attention along the motion; a lower one mixes more frames.",
    )
    smooth_background: bool = Field(
        True,
        title="Smooth the background",
        description="Let what no region covers follow the motion of the clip, if there are masks and its "
        "latents are not kept.",
    )
    smooth_from: float = Field(
        0.8,
        title="Smooth pixels from",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}after which the background is smoothed in pixels too.",
    )
    smooth_until: float = Field(
        0.9,
        title="Smooth pixels until",
        ge=0,
        le=1,
        description=f"{FROM_NOISE}until which the background is smoothed in pixels.",
    )
    flow: Literal["auto", "dis", "raft"] = motion_estimate()
    control: Controls = control_networks()
    blend: bool = Field(
        True, title="Keep latents outside", description="Keep the source's latents outside the regions."
    )
