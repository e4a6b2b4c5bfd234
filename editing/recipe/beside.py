"""What a network reads beside its own latents: of inpainting models the mask of what is
drawn anew and the latents of the rest, of models that see it the source."""

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
    """Return what a model reads beside its own latents; None for most.

    Of an inpainting model these are the mask and the latents of the picture without
    what it covers. A cell is drawn anew if an edited region touches any of its pixels;
    such models are trained to see grey there. One that sees the source reads its
    latents as the autoencoder gives them.

    Args:
        backbone: The model.
        working: The clip at the working size; without regions all of it is drawn anew.
        source: Its latents.

    Source: Rombach et al., arXiv:2112.10752, Sec. 4.5, as released with Stable
        Diffusion: mask, then latents; Brooks et al., arXiv:2211.09800, Sec. 3.2.
    """
    if backbone.beside == "source":
        return backbone.unscaled(source)
    if not backbone.beside:
        return None
    inside = working.inside()
    if inside is None:
        inside = torch.ones_like(source[:, :1])
    seen = working.frames.astype(np.float32)
    seen[working.drawn_anew()] = GREY
    return torch.cat([inside, backbone.encode(seen)], 1)
