"""Models that draw in few steps: how they are recognised, and the settings that suit
them.

A model says it by the class of its scheduler, a file by its name or metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from regrain.editing.models.files.schedulers import usual_sampler
from regrain.editing.params.base import Sampler
from regrain.editing.params.registry import METHODS


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
_TRAILING = "trailing"
_TITLES = ("ss_output_name", "modelspec.title", "ss_sd_model_name")


def by_name(name: str, metadata: Mapping[str, str] | None = None) -> FewStep | None:
    """Recognise a file by its name, or by the titles in its metadata; None if it says
    nothing."""
    titles = [name, *[(metadata or {}).get(key, "") for key in _TITLES]]
    for title in titles:
        for word, kind in _BY_NAME.items():
            if re.search(rf"(?<![a-z]){word}(?![a-z])", title, re.IGNORECASE):
                return _with_facts(kind, title)
    return None


def _with_facts(kind: FewStep, title: str) -> FewStep:
    """Add what a title says: the number of steps, and that guidance was kept."""
    steps = _STEPS.search(title)
    if steps and int(steps[1]):
        kind = kind._replace(steps=int(steps[1]))
    if kind.title == "Hyper-SD" and _CFG_PRESERVED.search(title):
        kind = kind._replace(guidance_scale=_CFG_SCALE)
    if kind.title == "Hyper-SD" and kind.steps == 1:
        kind = kind._replace(sampler="tcd")
    return kind


def by_scheduler(config: Mapping[str, object]) -> FewStep | None:
    """Recognise a model by its scheduler_config.json; None if it is an ordinary one."""
    name = config.get("_class_name")
    if name == "LCMScheduler":
        return FewStep("LCM", "lcm")
    if name == "TCDScheduler":
        return FewStep("TCD", "tcd")
    if config.get("timestep_spacing") != _TRAILING or not config.get("_class_name"):
        return None
    if config.get("rescale_betas_zero_snr"):
        return None  # levels of a whole schedule, whose first is pure noise
    if name == "EulerDiscreteScheduler":
        return FewStep("SDXL Turbo or Lightning", "euler")
    if name == "EulerAncestralDiscreteScheduler":
        return FewStep("SDXL Turbo or Lightning", "euler_ancestral")
    return None


def proposed(
    scheduler: Mapping[str, object], kind: FewStep | None
) -> dict[str, dict[str, object]]:
    """Return the settings that suit a model, by method.

    Args:
        scheduler: Its scheduler_config.json.
        kind: Its kind, if it draws in few steps.
    """
    found: dict[str, dict[str, object]] = {}
    for name, method in METHODS.items():
        if "inversion" in method.needs or "image_unet" not in method.needs:
            continue
        values: dict[str, object] = {}
        if kind is not None:
            values["steps"] = kind.steps
            values["guidance_scale"] = kind.guidance_scale
        if "sampler" in method.Params.model_fields:
            values["sampler"] = kind.sampler if kind else usual_sampler(scheduler)
        if values.get("sampler") == "ddim":
            del values["sampler"]
        if values:
            found[name] = values
    return found


def proposed_flow(
    scheduler: Mapping[str, object], kind: FewStep | None
) -> dict[str, dict[str, object]]:
    """Return the settings that suit a video model, by method: the shift that its
    scheduler_config.json says, and those of its kind, if it draws in few steps."""
    values: dict[str, object] = {}
    shift = scheduler.get("flow_shift") or scheduler.get("shift")
    if isinstance(shift, int | float) and shift > 0:
        values["shift"] = float(shift)
    if kind is not None:
        values["steps"] = kind.steps
        values["guidance_scale"] = kind.guidance_scale
        values["source_guidance"] = kind.guidance_scale
    found = {}
    for name, method in METHODS.items():
        if values and "flow" in method.needs:
            found[name] = dict(values)
    return found
