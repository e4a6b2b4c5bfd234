"""Wan's folders, on disk or from the hub. Safetensors only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.flow import FlowSchedule
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.folder import check_folders, read_defaults
from regrain.editing.models.files.lora import add_loras
from regrain.editing.models.files.words import read_words
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.wan.text import PromptReader
from regrain.editing.storage.memory import count_weights, free_memory, takes_turns, weights_dtype
from regrain.editing.storage.safetensors_files import read_weights

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SHIFT = 3.0  # as the 1.3B model is sampled at 480 pixels


def load_wan(
    folder: Path, id: str, loras: Sequence[str], device: torch.device, dtype: torch.dtype | None
) -> Wan:
    """Load Wan 2.1, or the base layers of its VACE.

    Raises:
        ModelError: A part or some of its weights are missing, or its parts do not fit together.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
    from transformers import AutoTokenizer
    from transformers.models.umt5.modeling_umt5 import UMT5EncoderModel

    check_folders(folder, _PARTS, id)
    read = ("transformer", "vae", "text_encoder")
    transformer, vae, text = (read_config(folder / part / "config.json", id) for part in read)
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json", id)
    fits = vae.get("z_dim", 16) == transformer.get("in_channels", 16)
    if not fits or text.get("d_model") != transformer.get("text_dim", 4096):
        raise ModelError(
            "model", f"The parts of {shorten(id)} do not fit together. Download it again."
        )
    if dtype is None:
        on_gpu, numbers = device.type == "cuda", count_weights(folder / "transformer")
        dtype = torch.bfloat16 if on_gpu else weights_dtype(device, numbers, free_memory(device))
    with boundary(
        "model", f"{shorten(id)}: tokenizer/ cannot be loaded. Download it again.", ModelError
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    network = read_weights(WanTransformer3DModel, folder / "transformer", id, dtype)
    autoencoder = read_weights(AutoencoderKLWan, folder / "vae", id, torch.float32)
    reading = dtype if dtype != torch.float64 else torch.float32
    encoder = partial(read_weights, UMT5EncoderModel, folder / "text_encoder", id, reading)
    add_loras(loras, {"transformer": network})
    stays = (("transformer", network), ("vae", autoencoder))
    weights = {name: sum(p.nbytes for p in part.parameters()) for name, part in stays}
    weights["text_encoder"] = reading.itemsize * count_weights(folder / "text_encoder")
    files = (file.stat() for file in sorted((folder / "text_encoder").glob("*.safetensors")))
    identity = repr([(file.st_size, file.st_mtime_ns) for file in files])
    return Wan(
        id, network, autoencoder, PromptReader(tokenizer, encoder, identity, read_words(folder)),
        FlowSchedule(float(scheduler.get("flow_shift") or _SHIFT)), device, dtype,
        transformer.get("sample_size"), read_defaults(folder / "defaults.json", id),
        takes_turns(device, weights, free_memory(device)),
    )  # fmt: skip
