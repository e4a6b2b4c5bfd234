"""The library's runs of a Wan in double precision."""

import torch
from diffusers import UniPCMultistepScheduler
from made_models import aligned

from regrain.editing.attention.layers import plain


class DoubleUniPC(UniPCMultistepScheduler):
    """The library's, with its arithmetic in double precision."""

    def set_timesteps(self, *args, **kwargs):
        super().set_timesteps(*args, **kwargs)
        self.sigmas = self.sigmas.double()


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
