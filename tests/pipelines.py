"""Diffusers' own pipelines, which ours are compared with."""

from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

PROMPT = "a cat on a mat"


def inpainting_of(folder):
    """Diffusers' own for inpainting, of the parts in a folder."""
    drawing = pipeline_of(folder)
    kind = StableDiffusionInpaintPipeline
    if (folder / "text_encoder_2").is_dir():
        kind = StableDiffusionXLInpaintPipeline
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
