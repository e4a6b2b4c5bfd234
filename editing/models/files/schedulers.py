"""How a model is stepped: the schedulers of diffusers that it may name, the samplers
nearest to them, models that draw in few steps, and the settings that suit each.

A few-step model says so by the class of its scheduler, a file by its published name.
What one word or a spacing may mean is a proposal, which changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple, cast

from regrain.editing.errors import shorten
from regrain.editing.params.base import Sampler
from regrain.editing.params.registry import METHODS
from regrain.editing.storage.texts import Content, Values

Defaults = dict[str, Content]
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
_SOLVED: Values = {
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


def usual_sampler(config: Values) -> Sampler:
    """Return the sampler that is nearest to an ordinary model's
    scheduler_config.json."""
    name = config.get("_class_name", "DDIMScheduler")
    sampler = NEAREST.get(str(name), "ddim")
    if sampler == "dpmpp_2m" and config.get("solver_order") == 1:
        return "ddim"
    if sampler == "dpmpp_2m" and config.get("use_karras_sigmas"):
        return "dpmpp_2m_karras"
    return sampler


def other_scheduler(config: Values) -> OtherScheduler | None:
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
        """A line on its sign, which changes nothing, and on what to set if it is right."""
        return (
            f"{self.sign} says {self.title}, which alone changes nothing. If it is: --set "
            f"steps={self.steps} --set guidance_scale={self.guidance_scale:g} (also "
            f"source_guidance), and sampler={self.sampler} where the method has it."
        )


GUIDED_LCM = FewStep("LCM", "lcm", 4, 8.0)
"""A consistency model that is told the scale of guidance and needs no second row."""
# Of each kind: the word by which its files are known, which may mean anything else; what
# names have in which it means this, the base and the number of steps (#) beside it, or
# all of a published name; sampler, steps, guidance, title. "-" stands for any of "-_. ".
_NAMES = r"""
(?<!\d)#      (?!)                                                  lcm              4 1  few steps
animatelcm     ^animatelcm$|animatelcm-sd15-[it]2v                    lcm              6 2  AnimateLCM
lcm            lcm-lora-(?:weights-)?(?:sd-?v?1-?5|sdxl|ssd-1b)       lcm              4 1  LCM
lcm            sd(?:15|xl)-lcm-lora|lcm-#                             lcm              4 1  LCM
tcd            tcd-sd(?:15|21|xl)[a-z-]*-lora                         tcd              4 1  TCD
hyper          hyper-sd(?:15|xl)?-1-?steps?                           tcd              1 1  Hyper-SD
hyper          hyper-sd(?:15|xl)?-#-cfg                               ddim_trailing    8 5  Hyper-SD
hyper          hyper-sd(?:15|xl)?-#                                   ddim_trailing    8 1  Hyper-SD
dmd2?          dmd2-sdxl-#                                            lcm              4 1  DMD2
lightning      wan2-?2(?:-\w+)*-#-(?:lora-)?(?:rank\d+-seko-v\d+|\d{6}) lcm             4 1  Lightning for Wan
lightning      wan2-?2(?:-\w+)*-lightning(?:-\w+)*-#                 lcm              4 1  Lightning for Wan
lightning      sdxl-lightning-#                                       euler            4 1  Lightning
turbo          ^sd-?(?:xl-)?turbo(?:-1-0|-lora-v1)?(?:-fp16)?$        euler_ancestral  4 1  Turbo
pcm            pcm-sd(?:15|xl)-(?:small|normal)cfg-#                  ddim_trailing    4 1  PCM
pcm            pcm-sd(?:15|xl)-lcmlike-lora                           ddim_trailing    4 1  PCM
flash          ^flash-sd(?:xl)?$                                      lcm              4 1  Flash Diffusion
lightx2v       lightx2v(?:-\w+)*-cfg-step-distill|lightx2v-#          lcm              4 1  LightX2V
lightx2v       stepdistill-cfgdistill                                 lcm              4 1  LightX2V
causvid        wan2-?1-causvid(?:-\w+)*-lora-rank\d+                  lcm              8 1  CausVid
fastwan        fastwan2-[12]-ti?2v(?:-\w+)+                           lcm              3 1  FastWan
accvid(?:eo)?  wan2-?1-accvid(?:-\w+)*-lora-rank\d+                   lcm              8 1  AccVideo
fusionx        wan2-?1-(?:[it]2v|\w+-to-video)-14b-fusionx|wan14b[it]2vfusionix lcm              8 1  FusionX
self-?forcing  self-forcing-(?:dmd|sid)                               lcm              4 1  Self Forcing
self-?forcing  wan2-?1(?:-\w+)*-self-forcing                          lcm              4 1  Self Forcing
"""
# Of kinds for Wan: the shift, or the levels, that they were distilled for.
_FLOW: Mapping[str, Values] = {
    "LightX2V": {"shift": 5.0},
    "Lightning for Wan": {"shift": 5.0},
    "CausVid": {"shift": 7.0},
    "FusionX": {"shift": 2.0},
    "FastWan": {"levels": "1000, 757, 522"},
}
_XL, _SPACING = "SDXL Turbo or Lightning", "The scheduler's spacing"
# Of the classes of such models; the last two are of many others, too.
_BY_CLASS = {
    "LCMScheduler": FewStep("LCM", "lcm"),
    "TCDScheduler": FewStep("TCD", "tcd"),
    "EulerDiscreteScheduler": FewStep(_XL, "euler", sign=_SPACING),
    "EulerAncestralDiscreteScheduler": FewStep(_XL, "euler_ancestral", sign=_SPACING),
}
_TITLES = ("ss_output_name", "modelspec.title")
_STEPS = r"(?<![a-z0-9])([1-9]\d?)[-_. ]?steps?(?![a-z0-9])"


def by_name(name: str, metadata: Values) -> FewStep | None:
    """Recognise a file by its published name, those of two folders together with its
    own, or the titles in its metadata, which may also say the number of steps.

    One word of them alone is a sign that proves nothing; None without any.
    """
    guess = None
    titles = (str(metadata.get(key, "")) for key in _TITLES)
    folder = name
    # on the hub, what is in front is an owner
    if name.endswith(".safetensors") or re.search(_STEPS, name.lower()):
        folder = re.sub(r"[/\\](?=(?:[^/\\]+[/\\])?[^/\\]+$)", "-", name)
    for title, line in product((name, folder, *titles), _NAMES.strip().splitlines()):
        last = re.sub(r".*[/\\](?=.)|[/\\]$|\.safetensors$", "", title)
        own = re.sub("[-_. ]+", "-", last.lower())
        line = line.replace("#", r"[1-9]\d?-?steps?")
        word, pattern, sampler, steps, scale, kind = line.split(maxsplit=5)
        found = re.search(f"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])", own)
        if stated := re.search(_STEPS, own):
            steps = stated[1]
        of_kind = FewStep(kind, cast("Sampler", sampler), int(steps), float(scale))
        if found:
            return of_kind
        if re.search(f"(?<![a-z]){word}(?![a-z])", own):
            guess = of_kind._replace(sign=f"The name {shorten(last)}")
    return guess


def by_scheduler(config: Values) -> FewStep | None:
    """Recognise a model by its scheduler_config.json; None if it is an ordinary one.

    A spacing that ordinary models may have, too, is a sign that proves nothing.
    """
    kind = _BY_CLASS.get(str(config.get("_class_name")))
    # with `rescale_betas_zero_snr`, levels of a whole schedule: the first is pure noise
    fits = config.get("timestep_spacing") == "trailing"
    fits = fits and not config.get("rescale_betas_zero_snr")
    return kind if kind and (fits or not kind.sign) else None


def shift_of(config: Values) -> float:
    """Return the shift of a video model's scheduler_config.json; 0 if it says none."""
    shift = config.get("flow_shift") or config.get("shift")
    return float(shift) if isinstance(shift, int | float) and shift > 0 else 0.0


def proposed(scheduler: Values, kind: FewStep | None) -> Defaults:
    """Return the settings that suit a model, by method.

    Args:
        scheduler: Its scheduler_config.json, whose shift is for video models.
        kind: Its kind, if it draws in few steps.
    """
    given: Content = {}
    if shift := shift_of(scheduler):
        given["shift"] = shift
    sampler = kind.sampler if kind else usual_sampler(scheduler)
    if sampler != "ddim":
        given["sampler"] = sampler
    if kind:
        given |= {"steps": kind.steps, "guidance_scale": kind.guidance_scale}
        given |= {"solver": "lcm"} | _FLOW.get(kind.title, {})
    found: Defaults = {}
    for name, method in METHODS.items():
        known = method.Params.model_fields
        values = {key: value for key, value in given.items() if key in known}
        if kind and "flow" in method.needs and "source_guidance" in known:
            values["source_guidance"] = kind.guidance_scale
        if kind and "source" in method.needs:
            values["source_guidance"] = 1.0
        if values and "inversion" not in method.needs:
            found[name] = values
    return found
