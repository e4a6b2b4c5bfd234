"""Diffusers folders, on disk or on the hub. Safetensors only."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.words import read_words
from regrain.editing.storage.safetensors_files import check_head, read_weights


@dataclass(frozen=True, eq=False)
class ModelParts:
    """The parts of a model; weights on the CPU in the requested dtype."""

    unet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    tokenizer: Any  # of transformers, which types none
    scheduler: Mapping[str, object]
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    words: frozenset[str] | None = None
    text_encoder_2: nn.Module | None = None  # of SDXL, as what follows
    padding_2: int = 0
    empty_is_zero: bool = True


def read_folder(folder: Path, id: str, dtype: torch.dtype) -> ModelParts:
    """Read a diffusers folder; `words.json` and `defaults.json` next to the parts are optional.

    Raises:
        ModelError: A part or some of its weights are missing, or exist only as a pickle.
    """
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    autoencoders = {"AutoencoderKL": AutoencoderKL, "AutoencoderDC": AutoencoderDC}
    check_folders(folder, ("unet", "vae", "text_encoder", "tokenizer", "scheduler"), id)
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", id)
    vae, unet, _ = (
        read_config(folder / part / "config.json", id) for part in ("vae", "unet", "text_encoder")
    )
    autoencoder = vae.get("_class_name", "AutoencoderKL")
    if autoencoder not in autoencoders:
        reason = f"{shorten(id)} has an unsupported autoencoder, {autoencoder}"
        raise ModelError("model", f"{reason}. Use a model with {' or '.join(autoencoders)}.")
    if unet.get("sample_size") is None:
        raise ModelError("model", f"{shorten(id)}: unet/config.json has no sample_size. Add it.")
    with boundary(
        "model", f"{shorten(id)}: tokenizer/ cannot be loaded. Download it again.", ModelError
    ):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return ModelParts(
        read_weights(UNet2DConditionModel, folder / "unet", id, dtype),
        read_weights(autoencoders[autoencoder], folder / "vae", id, torch.float32),
        read_weights(CLIPTextModel, folder / "text_encoder", id, dtype),
        tokenizer,
        scheduler,
        read_defaults(folder / "defaults.json", id),
        read_words(folder),
        **(_second(folder, id, dtype) if unet.get("addition_embed_type") else {}),
    )


def check_folders(folder: Path, parts: Sequence[str], id: str) -> None:
    """Refuse a model one of whose parts is missing."""
    for part in parts:
        if not (folder / part).is_dir():
            raise ModelError(
                "model", f"{shorten(id)} has no folder {part}/. Download the model again."
            )


def _second(folder: Path, id: str, dtype: torch.dtype) -> dict[str, Any]:
    """What SDXL has more."""
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    check_folders(folder, ("text_encoder_2", "tokenizer_2"), id)
    read_config(folder / "text_encoder_2" / "config.json", id)
    index = folder / "model_index.json"
    with boundary(
        "model", f"{shorten(id)}: tokenizer_2/ cannot be loaded. Download it again.", ModelError
    ):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True)
        padding = int(tokenizer.pad_token_id)
    return {
        "text_encoder_2": read_weights(
            CLIPTextModelWithProjection, folder / "text_encoder_2", id, dtype
        ),
        "padding_2": padding,
        "empty_is_zero": not index.is_file()
        or bool(read_config(index, id).get("force_zeros_for_empty_prompt", True)),
    }


def read_defaults(path: Path, id: str) -> Mapping[str, Mapping[str, object]]:
    """Recommended parameters by method; none without the file."""
    defaults = read_config(path, id) if os.path.lexists(path) else {}
    if not all(isinstance(values, dict) for values in defaults.values()):
        raise ModelError(
            "model", f"{shorten(id)}: defaults.json is not an object of objects. Correct it."
        )
    return defaults


@contextmanager
def opened(path: Path, field: str, title: str) -> Iterator[Any]:
    """A .safetensors file of a stranger; whatever it fails at is one line, which names it by its title.

    Raises:
        ModelError: It is missing, damaged, or what is done with it fails.
    """
    check_head(path, field)
    damaged = f"{shorten(title)} is damaged or not a .safetensors file. Download it again."
    with boundary(field, damaged, ModelError), safe_open(path, "pt") as file:
        yield file
