"""The library's runs of a Wan in double precision."""

import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from made_models import aligned

from regrain.editing.attention.layers import plain
from regrain.editing.diffusion.flow import FlowSchedule, UniPC
from regrain.editing.recipe.region_words import ClipModel, RegionText


class DoubleUniPC(UniPCMultistepScheduler):
    """The library's, with its arithmetic in double precision."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.sigmas = self.sigmas.double()


class FromText(WanPipeline):
    """The library's, which does not round the latents that it is given."""

    def prepare_latents(self, *args):
        return args[-1]


class Unbound:
    """Words that are bound to nothing."""

    def __init__(self, bound):
        self.bound = bound

    def attend(self, step, part):
        return plain


def double(kind, folder):
    """A part as the library reads it, in double precision."""
    return aligned(kind.from_pretrained(folder, torch_dtype=torch.float64))


def pipeline_of(kind, vae, networks, ratio=None, **more):
    """The library's, with its solver; `kind` may round no latents."""
    scheduler = DoubleUniPC(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    made = kind(
        tokenizer=None,
        text_encoder=None,
        vae=vae,
        scheduler=scheduler,
        transformer=networks[0],
        transformer_2=networks[1] if len(networks) > 1 else None,
        boundary_ratio=ratio,
        **more,
    )
    made.set_progress_bar_config(disable=True)
    return made


def drawn_by_library(pipeline, text, x, **how):
    """The latents of nine frames that the library makes of others, with a prompt and a
    negative one."""
    how = {"num_frames": 9, "guidance_scale": 5.0, "output_type": "latent"} | how
    prompt, negative = (one.vectors.double() for one in (text[0], text[1]))
    given = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
    latents = x.transpose(0, 1)[None]
    return pipeline(**given, **how, latents=latents).frames[0].transpose(0, 1)


def drawn(model, x, steps, scale, *more):
    """The same by ours, where no words are bound; `scale` is that of a step."""
    clip = ClipModel(model, "ugly", [(0, 1, 2)])
    words = Unbound(RegionText.read(model, "a cat", [], "prompt"))
    solver = UniPC()
    for step in FlowSchedule(5.0).sampling(steps, "diffusers"):
        x0, _ = clip.guided(x, step, words, scale(clip, step), *more)
        x = solver.advance(x, x0, step)
    return x
