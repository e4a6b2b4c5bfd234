"""How a model is stepped: the schedulers of diffusers that it may name, the samplers
nearest to them, models that draw in few steps, and the settings that suit each.

A few-step model says so by the class of its scheduler, a file by its published name.
What one word or a spacing may mean is a proposal, which changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

from regrain.editing.errors import shorten
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
        sign: What says so, if that alone proves nothing.
    """

    title: str
    sampler: Sampler
    steps: int = 4
    guidance_scale: float = 1.0
    sign: str = ""

    @property
    def guess(self) -> str:
        """What its sign says, which changes nothing, and what to set if it is so."""
        return (
            f"{self.sign} says {self.title}, which alone changes nothing. If it is: --set "
            f"steps={self.steps} --set guidance_scale={self.guidance_scale:g} (also "
            f"source_guidance), and sampler={self.sampler} where the method has it."
        )


GUIDED_LCM = FewStep("LCM", "lcm", 4, 8.0)
"""A consistency model that is told the scale of guidance and needs no second row."""
# Of each kind, the word by which its files are known, which may mean anything else, and
# what names have in which it means this: the base and the number of steps (#) beside
# it, or all of a published name. In both, "-" stands for any of "-_. ".
_NAMES: tuple[tuple[str, str, FewStep], ...] = (
    (
        "animatelcm",
        "^animatelcm$|animatelcm-sd15-[it]2v",
        FewStep("AnimateLCM", "lcm", 6, 2.0),
    ),
    (
        "lcm",
        "lcm-lora-(?:weights-)?(?:sd-?v?1-?5|sdxl|ssd-1b)|sd(?:15|xl)-lcm-lora|lcm-#",
        FewStep("LCM", "lcm"),
    ),
    ("tcd", "tcd-sd(?:15|21|xl)[a-z-]*-lora", FewStep("TCD", "tcd")),
    # of one step, and those that keep their guidance
    ("hyper", "hyper-sd(?:15|xl)?-1-?step", FewStep("Hyper-SD", "tcd", 1)),
    (
        "hyper",
        "hyper-sd(?:15|xl)?-#-cfg",
        FewStep("Hyper-SD", "ddim_trailing", 8, 5.0),
    ),
    ("hyper", "hyper-sd(?:15|xl)?-#", FewStep("Hyper-SD", "ddim_trailing", 8)),
    ("dmd2?", "dmd2-sdxl-#", FewStep("DMD2", "lcm")),
    ("lightning", "sdxl-lightning-#", FewStep("Lightning", "euler")),
    (
        "turbo",
        "^sd(?:xl|-xl)?-turbo(?:-1-0|-lora-v1)?(?:-fp16)?$",
        FewStep("Turbo", "euler_ancestral"),
    ),
    (
        "pcm",
        "pcm-sd(?:15|xl)-(?:(?:small|normal)cfg-#|lcmlike-lora)",
        FewStep("PCM", "ddim_trailing"),
    ),
    ("flash", "^flash-sd(?:xl)?$", FewStep("Flash Diffusion", "lcm")),
    # of Wan
    (
        "lightx2v",
        r"lightx2v(?:-\w+)*-cfg-step-distill|stepdistill-cfgdistill|lightx2v-#",
        FewStep("LightX2V", "lcm"),
    ),
    ("causvid", r"wan2-?1-causvid(?:-\w+)*-lora-rank\d+", FewStep("CausVid", "lcm")),
    (
        "accvid(?:eo)?",
        r"wan2-?1-accvid(?:-\w+)*-lora-rank\d+",
        FewStep("AccVideo", "lcm", 8),
    ),
    (
        "fusionx",
        r"wan2-?1-(?:[it]2v|\w+-to-video)-14b-fusionx",
        FewStep("FusionX", "lcm", 8),
    ),
    (
        "self-?forcing",
        r"self-forcing-(?:dmd|sid)|wan2-?1(?:-\w+)*-self-forcing",
        FewStep("Self Forcing", "lcm"),
    ),
)
_XL, _SPACING = "SDXL Turbo or Lightning", "The scheduler's spacing"
# Of the classes of such models; the last two are of many others, too.
_BY_CLASS = {
    "LCMScheduler": FewStep("LCM", "lcm"),
    "TCDScheduler": FewStep("TCD", "tcd"),
    "EulerDiscreteScheduler": FewStep(_XL, "euler", sign=_SPACING),
    "EulerAncestralDiscreteScheduler": FewStep(_XL, "euler_ancestral", sign=_SPACING),
}
_TITLES = ("ss_output_name", "modelspec.title")


def by_name(name: str, metadata: Content) -> FewStep | None:
    """Recognise a file by its published name, or the titles in its metadata, which may
    also say the number of steps.

    One word of them alone is a sign that proves nothing; None without any.
    """
    guess = None
    titles = (str(metadata.get(key, "")) for key in _TITLES)
    for title, (word, published, kind) in product((name, *titles), _NAMES):
        last = re.sub(r".*[/\\]|\.safetensors$", "", title)
        own = re.sub("[-_. ]+", "-", last.lower())
        pattern = published.replace("#", r"([1-9]\d?)-?steps?")
        if found := re.search(f"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", own):
            return kind._replace(steps=int(found[1])) if found.lastindex else kind
        if re.search(f"(?<![a-z]){word}(?![a-z])", own):
            guess = kind._replace(sign=f"The name {shorten(last)}")
    return guess


def by_scheduler(config: Content) -> FewStep | None:
    """Recognise a model by its scheduler_config.json; None if it is an ordinary one.

    A spacing that ordinary models may have, too, is a sign that proves nothing.
    """
    kind = _BY_CLASS.get(str(config.get("_class_name")))
    # with `rescale_betas_zero_snr`, levels of a whole schedule: the first is pure noise
    fits = config.get("timestep_spacing") == "trailing"
    fits = fits and not config.get("rescale_betas_zero_snr")
    return kind if kind and (fits or not kind.sign) else None


def shift_of(config: Content) -> float:
    """Return the shift of a video model's scheduler_config.json; 0 if it says none."""
    shift = config.get("flow_shift") or config.get("shift")
    return float(shift) if isinstance(shift, int | float) and shift > 0 else 0.0


def proposed(scheduler: Content, kind: FewStep | None) -> Defaults:
    """Return the settings that suit a model, by method.

    Args:
        scheduler: Its scheduler_config.json, whose shift is for video models.
        kind: Its kind, if it draws in few steps.
    """
    few: dict[str, object] = {}
    if kind is not None:
        few = {"steps": kind.steps, "guidance_scale": kind.guidance_scale}
    shift = shift_of(scheduler)
    sampler = kind.sampler if kind else usual_sampler(scheduler)
    found: Defaults = {}
    for name, method in METHODS.items():
        values: dict[str, object] = {}
        if "flow" in method.needs:
            if shift:
                values["shift"] = shift
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
