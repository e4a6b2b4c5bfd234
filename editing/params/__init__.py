"""Parameters of the methods: one declaration gives validation, JSON, command-line help and sliders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field


class MethodParams(BaseModel):
    """What every method has."""

    # Defaults are written as users write them, so they are read like what users write.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )
    # What a named preset sets beyond the defaults, which are the paper's.
    PRESETS: ClassVar[Mapping[str, Mapping[str, object]]] = {"paper": {}}
    # What single parameters need of a model, keys of `editing.registry.OFFERS`, unless they are 0 or empty.
    NEEDS: ClassVar[Mapping[str, str]] = {}

    steps: int = Field(
        50, title="Steps", ge=1, le=1000, description="Denoising steps; the inversion takes as many."
    )
    guidance_scale: float = Field(
        7.5,
        title="Guidance scale",
        ge=0,
        le=50,
        description="How much the prompt outweighs no prompt; 1 is the prompt alone.",
    )
    preset: Literal["paper"] = Field(
        "paper",
        title="Preset",
        description="Naming a preset sets every parameter not given to that source's value.",
    )
    feather: float = Field(
        2.0,
        title="Feather (pixels)",
        ge=0,
        le=3,
        description="Width in source pixels over which an edited region fades into the source.",
    )
    preview_every: int = Field(
        1,
        title="Steps between previews",
        ge=0,
        le=1000,
        description="Steps between live previews; 0 shows none.",
    )


class InvertedParams(MethodParams):
    """What every method has that starts from the clip's own noise, where a seed alone changes nothing."""

    variation: float = Field(
        0.0,
        title="Variation",
        ge=0,
        le=1,
        description="Fresh noise mixed into the edited regions, or the whole frame: another result per seed.",
    )


FROM_NOISE = "Share of the steps, from pure noise on, "
KEYS_SEEN = (
    "Frames whose content a frame sees: itself and the middle one, the middle one only, the first and the "
    "one before, or itself only."
)
Keys = Literal["own_middle", "middle", "first_previous", "own"]
KEY_FRAMES = {
    "own_middle": ("own", "middle"),
    "middle": ("middle",),
    "first_previous": ("first", "previous"),
    "own": ("own",),
}
"""The selectors of `editing.attention.frames.sparse_causal` that each choice of `keys` stands for."""
