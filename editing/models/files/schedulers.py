"""How a model is stepped: the schedulers of diffusers that it may name, the samplers
nearest to them, models that draw in few steps, and the settings that suit each.

A few-step model says so by the class of its scheduler, a file by its name or metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from regrain.editing.params.base import Sampler
from regrain.editing.params.registry import METHODS

Content = Mapping[str, object]
"""Content of a JSON file."""
Defaults = dict[str, dict[str, object]]
"""Parameters by method."""
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
_SOLVED: Content = {
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


def usual_sampler(config: Content) -> Sampler:
    """Return the sampler that is nearest to an ordinary model's
    scheduler_config.json."""
    name = config.get("_class_name", "DDIMScheduler")
    sampler = NEAREST.get(str(name), "ddim")
    if sampler == "dpmpp_2m" and config.get("solver_order") == 1:
        return "ddim"
    if sampler == "dpmpp_2m" and config.get("use_karras_sigmas"):
        return "dpmpp_2m_karras"
    return sampler


def other_scheduler(config: Content) -> OtherScheduler | None:
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


class FewStep(NamedTuple):
    """A kind of few-step model.

    Attributes:
        title: As shown to users.
        sampler: The sampler that it was distilled for.
        steps: Steps that suit it.
        guidance_scale: Scale that suits it; 1 is no guidance.
    """

    title: str
    sampler: Sampler
    steps: int = 4
    guidance_scale: float = 1.0


GUIDED_LCM = FewStep("LCM", "lcm", 4, 8.0)
"""A consistency model that is told the scale of guidance and needs no second row."""
_STEPS = re.compile(r"(\d{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)
# By a word in the name of a file or repository; the first that is found counts.
_BY_NAME: Mapping[str, FewStep] = {
    "lcm": FewStep("LCM", "lcm"),
    "tcd": FewStep("TCD", "tcd"),
    "hyper": FewStep("Hyper-SD", "ddim_trailing", 8),
    "dmd2?": FewStep("DMD2", "lcm"),
    "lightning": FewStep("Lightning", "euler"),
    "turbo": FewStep("Turbo", "euler_ancestral"),
    "pcm": FewStep("PCM", "ddim_trailing"),
    "flash": FewStep("Flash Diffusion", "lcm"),
    # of Wan
    "lightx2v": FewStep("LightX2V", "lcm"),
    "causvid": FewStep("CausVid", "lcm"),
    "accvid(?:eo)?": FewStep("AccVideo", "lcm", 8),
    "fusionx": FewStep("FusionX", "lcm", 8),
    "self[-_ ]?forcing": FewStep("Self Forcing", "lcm"),
}
_CFG_PRESERVED = re.compile(r"(?<![a-z])cfg(?![a-z])", re.IGNORECASE)
_CFG_SCALE = 5.0  # of Hyper-SD files that keep their guidance
_FOR_FEW = {
    "LCMScheduler": FewStep("LCM", "lcm"),
    "TCDScheduler": FewStep("TCD", "tcd"),
}
_XL = "SDXL Turbo or Lightning"
_IF_TRAILING = {
    "EulerDiscreteScheduler": FewStep(_XL, "euler"),
    "EulerAncestralDiscreteScheduler": FewStep(_XL, "euler_ancestral"),
}
_TITLES = ("ss_output_name", "modelspec.title", "ss_sd_model_name")


def by_name(name: str, metadata: Mapping[str, str] | None = None) -> FewStep | None:
    """Recognise a file by its name, or by the titles in its metadata; None if it says
    nothing.

    They may also say the number of steps, and that guidance was kept.
    """
    said = metadata or {}
    for title in (name, *(said.get(key, "") for key in _TITLES)):
        for word, kind in _BY_NAME.items():
            if re.search(rf"(?<![a-z]){word}(?![a-z])", title, re.IGNORECASE):
                steps = _STEPS.search(title)
                if steps and int(steps[1]):
                    kind = kind._replace(steps=int(steps[1]))
                if word == "hyper" and _CFG_PRESERVED.search(title):
                    kind = kind._replace(guidance_scale=_CFG_SCALE)
                if word == "hyper" and kind.steps == 1:
                    kind = kind._replace(sampler="tcd")
                return kind
    return None


def by_scheduler(config: Content) -> FewStep | None:
    """Recognise a model by its scheduler_config.json; None if it is an ordinary one."""
    name = str(config.get("_class_name"))
    if name in _FOR_FEW:
        return _FOR_FEW[name]
    # with `rescale_betas_zero_snr`, levels of a whole schedule: the first is pure noise
    whole = config.get("rescale_betas_zero_snr")
    if config.get("timestep_spacing") != "trailing" or whole:
        return None
    return _IF_TRAILING.get(name)


def proposed(scheduler: Content, kind: FewStep | None) -> Defaults:
    """Return the settings that suit a model, by method.

    Args:
        scheduler: Its scheduler_config.json, whose shift is for video models.
        kind: Its kind, if it draws in few steps.
    """
    few: dict[str, object] = {}
    if kind is not None:
        few = {"steps": kind.steps, "guidance_scale": kind.guidance_scale}
    shift = scheduler.get("flow_shift") or scheduler.get("shift")
    sampler = kind.sampler if kind else usual_sampler(scheduler)
    found: Defaults = {}
    for name, method in METHODS.items():
        values: dict[str, object] = {}
        if "flow" in method.needs:
            if isinstance(shift, int | float) and shift > 0:
                values["shift"] = float(shift)
            values |= few
            if kind is not None:
                values["source_guidance"] = kind.guidance_scale
        elif "inversion" not in method.needs and "image_unet" in method.needs:
            values |= few
            if "sampler" in method.Params.model_fields and sampler != "ddim":
                values["sampler"] = sampler
        if values:
            found[name] = values
    return found
