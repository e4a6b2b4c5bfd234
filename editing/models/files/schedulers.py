"""The schedulers of diffusers that a model may name, and the samplers nearest to
them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from regrain.editing.params.base import Sampler

NEAREST: Mapping[str, Sampler] = {
    # deterministic, of first order
    "DDIMScheduler": "ddim",
    "DDIMParallelScheduler": "ddim",
    "DDIMInverseScheduler": "ddim",
    "PNDMScheduler": "ddim",
    "EulerDiscreteScheduler": "ddim",
    # with noise in every step
    "DDPMScheduler": "euler_ancestral",
    "DDPMParallelScheduler": "euler_ancestral",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "KDPM2AncestralDiscreteScheduler": "euler_ancestral",
    # of higher order
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "DPMSolverMultistepInverseScheduler": "dpmpp_2m",
    "DPMSolverSinglestepScheduler": "dpmpp_2m",
    "DPMSolverSDEScheduler": "dpmpp_2m",
    "DEISMultistepScheduler": "dpmpp_2m",
    "UniPCMultistepScheduler": "dpmpp_2m",
    "SASolverScheduler": "dpmpp_2m",
    "HeunDiscreteScheduler": "dpmpp_2m",
    "KDPM2DiscreteScheduler": "dpmpp_2m",
    "LMSDiscreteScheduler": "dpmpp_2m",
    # of few-step models
    "LCMScheduler": "lcm",
    "TCDScheduler": "tcd",
}
"""Of each class of diffusers whose levels are those of Stable Diffusion, the sampler
that is nearest to it. Models of other classes are not supported."""
_SAME = ("DDIMScheduler", "DDIMParallelScheduler", "LCMScheduler", "TCDScheduler")
_SOLVER = "DPMSolverMultistepScheduler"
# What diffusers' DPM-Solver++ is set to where `dpmpp_2m` equals it.
_SOLVED: Mapping[str, object] = {
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "final_sigmas_type": "zero",
    "use_lu_lambdas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}


class OtherScheduler(NamedTuple):
    """A scheduler that a model names and that is not here.

    Attributes:
        title: As shown to users.
        sampler: What is used in its place.
    """

    title: str
    sampler: Sampler


def usual_sampler(config: Mapping[str, object]) -> Sampler:
    """Return the sampler that is nearest to an ordinary model's
    scheduler_config.json."""
    name = config.get("_class_name", "DDIMScheduler")
    sampler = NEAREST.get(str(name), "ddim")
    if sampler == "dpmpp_2m" and config.get("solver_order") == 1:
        return "ddim"
    if sampler == "dpmpp_2m" and config.get("use_karras_sigmas"):
        return "dpmpp_2m_karras"
    return sampler


def other_scheduler(config: Mapping[str, object]) -> OtherScheduler | None:
    """Return what an ordinary model's scheduler_config.json names, if no sampler equals
    it."""
    name = config.get("_class_name")
    if name is None or name in _SAME:
        return None
    title = str(name)
    if name == _SOLVER:
        if all(config.get(key) in (None, value) for key, value in _SOLVED.items()):
            return None
        title = f"{title} with its settings"
    return OtherScheduler(title, usual_sampler(config))
