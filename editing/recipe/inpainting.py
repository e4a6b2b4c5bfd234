"""Input of inpainting models: the mask of what is drawn anew, and the latents of the
rest."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.diffusion.schedule import FrameLatents
from regrain.editing.models.backbone import Backbone
from regrain.editing.recipe.window import ResizedClip

GREY = 127.5  # of 255; 0 for the autoencoder


def beside_latents(
    backbone: Backbone, working: ResizedClip, source: FrameLatents
) -> Float[Tensor, "frames channels h w"] | None:
    """Return the mask and the latents that an inpainting model reads beside its own;
    None for other models.

    A cell is drawn anew if an edited region touches any of its pixels; such models are
    trained to see grey there.

    Args:
        backbone: The model.
        working: The clip at the working size; without regions all of it is drawn anew.
        source: Its latents.

    Source: Rombach et al., arXiv:2112.10752, Sec. 4.5, as released with Stable
        Diffusion: mask, then latents.
    """
    if not backbone.inpaints:
        return None
    inside = working.inside()
    if inside is None:
        inside = torch.ones_like(source[:, :1])
    seen = working.frames.astype(np.float32)
    seen[working.drawn_anew()] = GREY
    return torch.cat([inside, backbone.encode(seen)], 1)
