"""Diffusers' own pipelines, which ours are compared with."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
    TCDScheduler,
    UNet2DConditionModel,
)
from diffusers.schedulers import (
    scheduling_euler_ancestral_discrete,
    scheduling_lcm,
    scheduling_tcd,
)
from made_models import SCHEDULER
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from regrain.editing.diffusion.schedule import Schedule

PROMPT = "a cat on a mat"
TRAILING = {"timestep_spacing": "trailing"}
LEADING = {"timestep_spacing": "leading"}
# Of each sampler, diffusers' scheduler, its options, and steps.
THEIRS = {
    "lcm": (LCMScheduler, {}, 4),
    "tcd": (TCDScheduler, {}, 5),
    "euler": (EulerDiscreteScheduler, TRAILING, 4),
    "euler_ancestral": (EulerAncestralDiscreteScheduler, TRAILING, 4),
    "ddim_trailing": (DDIMScheduler, TRAILING, 8),
    "ddim": (DDIMScheduler, {}, 10),
    "dpmpp_2m": (DPMSolverMultistepScheduler, LEADING, 8),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, 8),
}


def inpainting_of(folder):
    """Diffusers' own for inpainting, of the parts in a folder."""
    drawing = pipeline_of(folder)
    kind = StableDiffusionInpaintPipeline
    if (folder / "text_encoder_2").is_dir():
        kind = StableDiffusionXLInpaintPipeline
    pipe = kind.from_pipe(drawing)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeing_of(folder):
    """Diffusers' own that see the source, of the parts in a folder."""
    drawing = pipeline_of(folder)
    kind = StableDiffusionInstructPix2PixPipeline
    if (folder / "text_encoder_2").is_dir():
        kind = StableDiffusionXLInstructPix2PixPipeline
    pipe = kind.from_pipe(drawing)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pipeline_of(folder, **more):
    """Diffusers' own, of the parts in a folder."""
    kinds = {
        "vae": AutoencoderKL,
        "unet": UNet2DConditionModel,
        "scheduler": DDIMScheduler,
        "text_encoder": CLIPTextModel,
        "tokenizer": CLIPTokenizer,
    }
    kind = StableDiffusionPipeline
    second = {
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    if (folder / "text_encoder_2").is_dir():
        kinds |= {
            "text_encoder_2": CLIPTextModelWithProjection,
            "tokenizer_2": CLIPTokenizer,
        }
        kind = StableDiffusionXLPipeline
        second = {"add_watermarker": False}
    parts = {part: kind.from_pretrained(folder / part) for part, kind in kinds.items()}
    pipe = kind(**parts, **(second | more))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def in_double(pipe):
    """A pipeline whose networks are in double precision."""
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if getattr(pipe, part, None) is not None:
            getattr(pipe, part).double()
    return pipe


def sampled_by(pipeline, start, steps, **how):
    """The latents that a pipeline draws by `PROMPT` from these, without guidance."""
    height, width = (side * pipeline.vae_scale_factor for side in start.shape[2:])
    return pipeline(
        PROMPT,
        height=height,
        width=width,
        latents=start.clone(),
        guidance_scale=1.0,
        num_inference_steps=steps,
        output_type="latent",
        **how,
    ).images


def scheduler_of(sampler, **more):
    kind, options, steps = THEIRS[sampler]
    found = kind.from_config(SCHEDULER | options | more)
    precise = Schedule.from_config(SCHEDULER).alphas_cumprod
    found.alphas_cumprod = torch.from_numpy(precise)
    if hasattr(found, "final_alpha_cumprod"):
        found.final_alpha_cumprod = found.alphas_cumprod[0]
    return found, steps


def initial(scheduler, step):
    """What our latents are of the noise at the start: diffusers' Euler multiplies by
    the whole deviation, and divides before each call."""
    if isinstance(scheduler, EulerDiscreteScheduler | EulerAncestralDiscreteScheduler):
        scheduler.set_timesteps(len(scheduler.timesteps))
        return float(scheduler.init_noise_sigma) * step.signal
    return 1.0


def draws_from(monkeypatch, noise):
    """Let diffusers' schedulers take the noise of their steps from an iterator."""
    for module in (
        scheduling_lcm,
        scheduling_tcd,
        scheduling_euler_ancestral_discrete,
    ):
        monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: next(noise))
