"""Wan's folders, on disk or from the hub. Safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import check_text_encoder
from regrain.editing.models.files.configs import read_config, read_defaults
from regrain.editing.models.files.folder import check_folders
from regrain.editing.models.files.lora import add_loras
from regrain.editing.models.files.recommended import kind_of, recommended
from regrain.editing.models.files.words import read_words
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.text import PromptReader
from regrain.editing.storage.memory import (
    count_weights,
    free_memory,
    takes_turns,
    weights_dtype,
)
from regrain.editing.storage.safetensors_files import (
    read_weights,
    state_of,
    without_marks,
)

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SHIFT = 3.0  # as the 1.3B model is sampled at 480 pixels


def load_wan(
    folder: Path,
    id: str,
    loras: Sequence[str],
    device: torch.device,
    dtype: torch.dtype | None,
) -> Wan:
    """Load Wan 2.1, or the base layers of its VACE.

    Raises:
        ModelError: A part or some of its weights are missing, or its parts do not fit
            together.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from transformers import AutoTokenizer
    from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

    check_folders(folder, _PARTS, id)
    config = _read_configs(folder, id)
    levels = config["scheduler"]
    if dtype is None:
        dtype = _dtype(folder, device)
    damaged = f"{shorten(id)}: tokenizer/ cannot be loaded. Download it again."
    with (
        boundary("model", damaged, ModelError),
        without_marks(folder / "tokenizer") as place,
    ):
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    network = read_weights(WanTransformer3DModel, folder / "transformer", id, dtype)
    autoencoder = read_weights(AutoencoderKLWan, folder / "vae", id, torch.float32)
    add_loras(loras, {"transformer": network})

    text_folder = folder / "text_encoder"
    text_dtype = dtype if dtype != torch.float64 else torch.float32
    load_encoder = partial(read_weights, UMT5EncoderModel, text_folder, id, text_dtype)
    weights = {
        "transformer": sum(weight.nbytes for weight in network.parameters()),
        "vae": sum(weight.nbytes for weight in autoencoder.parameters()),
        "text_encoder": text_dtype.itemsize * count_weights(text_folder),
    }
    return Wan(
        id=id,
        transformer=network,
        vae=autoencoder,
        reader=PromptReader(
            tokenizer, load_encoder, _identity(text_folder), read_words(folder)
        ),
        schedule=FlowSchedule(
            float(levels.get("flow_shift") or levels.get("shift") or _SHIFT)
        ),
        device=device,
        dtype=dtype,
        sample_size=config["transformer"].get("sample_size"),
        defaults=recommended(
            kind_of(id, config["scheduler"], {}, loras),
            config["scheduler"],
            read_defaults(folder / "defaults.json", id),
            loras,
        ),
        takes_turns=takes_turns(device, weights, free_memory(device)),
    )


def _read_configs(folder: Path, id: str) -> dict[str, dict[str, Any]]:
    """Read the configurations of the parts by their folders, and check that the parts
    fit together."""
    names = ("transformer", "vae", "text_encoder")
    config = {name: read_config(folder / name / "config.json", id) for name in names}
    config["scheduler"] = read_config(
        folder / "scheduler" / "scheduler_config.json", id
    )
    network = config["transformer"]
    latents_fit = config["vae"].get("z_dim", 16) == network.get("in_channels", 16)
    place = f"{shorten(id)}: text_encoder/config.json"
    check_text_encoder(config["text_encoder"], place, "UMT5Config")
    text_fits = config["text_encoder"].get("d_model") == network.get("text_dim", 4096)
    if not latents_fit or not text_fits:
        said = f"The parts of {shorten(id)} do not fit together"
        raise ModelError("model", f"{said}. Download it again.")
    return config


def _dtype(folder: Path, device: torch.device) -> torch.dtype:
    """Choose the type of the transformer's weights: the trained one on a GPU, else the
    one that fits."""
    if device.type != "cpu":
        return torch.bfloat16
    return weights_dtype(
        device, count_weights(folder / "transformer"), free_memory(device)
    )


def _identity(folder: Path) -> str:
    """Identify the text encoder's weights by sizes and dates of their files."""
    files = [one for one in state_of(folder) if one[0].endswith(".safetensors")]
    return repr([(size, date) for _, size, date in files])
