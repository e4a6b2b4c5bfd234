"""The UNet of Stable Diffusion from a file of packed weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.weights.packed import fill
from regrain.editing.storage.packed import read_packed
from regrain.editing.storage.safetensors_files import LOADING
from regrain.editing.storage.texts import Json

_START = "model.diffusion_model."


def read_packed_unet(path: Path, config: Json, dtype: torch.dtype) -> nn.Module:
    """Read a UNet whose linear layers stay packed.

    Args:
        path: The file, with the names of Stable Diffusion's authors.
        config: Its config.json.
        dtype: Of all other weights.
    Raises:
        ModelError: The file is damaged, of another version, lacks weights, or has some
            that are not known.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    tensors, texts = read_packed(path, "unet")
    version = texts["general.architecture"]
    is_xl = bool(config.get("addition_embed_type"))
    if is_xl != (version == "sdxl"):
        raise ModelError(
            "model",
            f"{shorten(path.name)} is of {version}, but unet/config.json of another "
            "version. Use the folder of that.",
        )
    with LOADING, init_empty_weights():
        unet: Any = UNet2DConditionModel.from_config(config)
    named = {}
    for name in tensors:
        whole = f"{_START}{name.removeprefix(_START)}"
        named[whole] = name
    names = dict.fromkeys(unet.state_dict(), "")
    names |= convert_ldm_unet_checkpoint(named, unet.config)
    fill(unet, tensors, names, path, dtype)
    return unet
