"""Load the model that `editing.models.files.location.find` found."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import image_factor
from regrain.editing.models.files.download import download
from regrain.editing.models.files.facts import facts_at
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.offers import check_family
from regrain.editing.models.unet.sdxl import StableDiffusionXL
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.models.wan.load import load_wan
from regrain.editing.models.wan.model import Wan
from regrain.editing.models.weights.folder import (
    ModelParts,
    check_configs,
    check_fit,
    read_folder,
    read_schedule,
)
from regrain.editing.models.weights.lora import add_loras
from regrain.editing.models.weights.single_file import read_file
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.memory import (
    bytes_of,
    count_weights,
    free_memory,
    takes_turns,
    weights_dtype,
)
from regrain.editing.storage.safetensors_files import quieten

_OPENCLIP = 1024  # width of the text encoder of 2.x
_CUT = 11  # layers of the text encoder of 1.x without its last
logger = logging.getLogger(__name__)


def load(
    source: ModelLocation,
    id: str,
    loras: Sequence[str] = (),
    *,
    prediction: str = "",
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> StableDiffusion | Wan:
    """Load a model that was found; `load_backbone`, which also says what it raises,
    keeps it."""
    began = time.perf_counter()
    device = choose_device(device)
    _prepare_libraries()
    if source.kind == "hub":
        source = ModelLocation("folder", download(id))
    facts = facts_at(source, id)
    if facts.is_video:
        for part in facts.files:  # says best what is wrong with them
            facts.config(f"{part}/config.json")
        check_family(facts.family, id)
        if prediction:
            raise ModelError(
                "prediction",
                f"{shorten(id)} predicts flow, as all of its kind. Leave it out.",
            )
        return load_wan(facts, loras, device, dtype)
    numbers = count_weights(Path(source.location))
    dtype = dtype or weights_dtype(device, numbers, free_memory(device))
    if facts.head:
        parts = read_file(facts, facts.head, dtype, prediction)
    else:
        parts = read_folder(facts, dtype, prediction)
    _check_architecture(parts, id)
    add_loras(loras, parts.modules)
    if side := facts.side_with(loras):
        factor = image_factor(parts.modules["vae"].config)
        parts.modules["unet"].register_to_config(sample_size=side // factor)
    weights = bytes_of(parts.modules)
    turns = takes_turns(device, weights, free_memory(device))
    predicts = parts.scheduler.get("prediction_type", "epsilon")
    few_step = facts.few_step(loras)
    is_xl = "text_encoder_2" in parts.modules
    model = (StableDiffusionXL if is_xl else StableDiffusion)(
        id=id,
        parts=parts.modules,
        tokenizer=parts.tokenizer,
        schedule=read_schedule(parts.scheduler, id),
        prediction=predicts,
        device=device,
        dtype=dtype,
        defaults=facts.recommended(loras),
        words=facts.words,
        few_step=few_step.title if few_step else "",
        other_scheduler=facts.other_scheduler(loras),
        takes_turns=turns,
        notes=(*facts.notes(loras, predicts, _reads_last_layer(parts)),),
        loras=tuple(loras),
        **parts.more,
    )
    megabytes = sum(weights.values()) / 1e6
    how = ", its parts in turns" if turns else ""
    seconds = time.perf_counter() - began
    logger.info(
        "loaded a %s model of %.0f MB on %s%s in %.1f s",
        predicts,
        megabytes,
        device,
        how,
        seconds,
    )
    return model


def _reads_last_layer(parts: ModelParts) -> bool:
    """Tell whether words are read from the last layer of CLIP's text encoder; SDXL
    reads the one before, and 2.x and some models of 1.x come without it."""
    text = parts.modules["text_encoder"].config
    is_whole = text.hidden_size < _OPENCLIP and text.num_hidden_layers != _CUT
    return bool(is_whole) and "text_encoder_2" not in parts.modules


def _prepare_libraries() -> None:
    """Import the libraries that read models, and let them be quiet."""
    needed = choose_device().type == "cuda"
    hide_xformers = not needed and "xformers" not in sys.modules
    if hide_xformers:  # of no use here; diffusers then sees it as not installed
        sys.modules["xformers"] = None
    try:
        quieten("diffusers")
        quieten("transformers")
    finally:
        if hide_xformers:
            del sys.modules["xformers"]


def _check_architecture(parts: ModelParts, id: str) -> None:
    """Refuse other families of models, and parts that do not agree on latents, vectors
    of words, and tokens."""
    network = parts.modules["unet"]
    unet = network.config
    check_configs(unet, parts.scheduler, id)
    if not any(name.endswith("attn1") for name, _ in network.named_modules()):
        raise ModelError(
            "model",
            f"The UNet of {shorten(id)} has no attention, which is not supported. Use "
            "another model.",
        )
    text = parts.modules["text_encoder"].config
    tokens = len(parts.tokenizer)
    width = text.hidden_size
    channels = parts.modules["vae"].config.latent_channels
    fits = {
        "latent_channels of vae/, out_channels of unet/": channels == unet.out_channels,
        "tokenizer/, vocab_size of text_encoder/": tokens <= text.vocab_size,
        "model_max_length of tokenizer/": parts.tokenizer.model_max_length > 2,
    }
    if "text_encoder_2" in parts.modules:
        second = parts.modules["text_encoder_2"].config
        width += second.hidden_size
        pooled_and_sizes = second.projection_dim
        pooled_and_sizes += 6 * (unet.addition_time_embed_dim or 0)
        positions = second.max_position_embeddings
        fits |= {
            "tokenizer/, vocab_size of text_encoder_2/": second.vocab_size >= tokens,
            "max_position_embeddings of text_encoder/ and text_encoder_2/": positions
            >= text.max_position_embeddings,
            "projection_dim of text_encoder_2/, projection_class_embeddings_input_dim "
            "of unet/": pooled_and_sizes == unet.projection_class_embeddings_input_dim,
        }
    given = unet.cross_attention_dim
    widths = {*given} if isinstance(given, list | tuple) else {given}
    fits["hidden_size of text_encoder/, cross_attention_dim of unet/"] = widths == {
        width
    }
    check_fit(id, fits)
