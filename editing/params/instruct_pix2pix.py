"""Parameters of InstructPix2Pix."""

from __future__ import annotations

from typing import Literal

from regrain.editing.params.base import (
    FROM_NOISE,
    ModulatedParams,
    SampledParams,
    Sampler,
    WindowedParams,
    guidance,
    sampler,
    steps,
    strength,
)
from regrain.editing.params.written import (
    ATTENTION_SPAN,
    BLEND,
    CONTROL_NETWORKS,
    STEADY,
    Controls,
    Share,
    parameter,
)


class InstructPix2PixParams(SampledParams, ModulatedParams, WindowedParams):
    """InstructPix2Pix: draw anew, and see the source (Brooks et al. 2023, arXiv:2211.09800)."""

    NEEDS = {"control": "control"}

    steps: int = steps(100)
    guidance_scale: float = guidance(7.5)
    source_guidance: float = parameter(
        1.5,
        "Guidance of the source",
        "How strongly the edit keeps to the source that it sees; 1 adds no guidance.",
        (0, 50),
        group="First",
        reach=5,
    )
    guide_until: Share = parameter(
        1.0,
        "Guide by words until",
        f"{FROM_NOISE}in which the guidance scale acts.",
        group="Words",
    )
    sampler: Sampler = sampler("euler_ancestral")
    strength: Share = strength(1.0)
    attention_span: Literal["full", "own_frame"] = ATTENTION_SPAN
    blend: bool = BLEND
    steady: float = STEADY
    control: Controls = CONTROL_NETWORKS

    @property
    def averaged_frames(self) -> float:
        """See `MethodParams`."""
        return self.steady
