"""Load the model that `editing.models.files.location.find` found."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.download import download
from regrain.editing.models.files.folder import ModelParts, read_folder
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.lora import add_loras
from regrain.editing.models.files.offers import Family, family_of, family_of_configs
from regrain.editing.models.files.single_file import read_file
from regrain.editing.models.unet.sdxl import StableDiffusionXL
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.models.wan.load import load_wan
from regrain.editing.models.wan.model import Wan
from regrain.editing.params.registry import SUPPORTED
from regrain.editing.storage.memory import count_weights, free_memory, takes_turns, weights_dtype

logger = logging.getLogger(__name__)


def load(
    source: ModelLocation,
    id: str,
    loras: Sequence[str] = (),
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> StableDiffusion | Wan:
    """Load a model that was found; `load_backbone`, which also says what it raises, keeps it."""
    began = time.perf_counter()
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _prepare_libraries()
    place = Path(download(id) if source.kind == "hub" else source.location)
    if (place / "transformer").is_dir() and not (place / "unet").is_dir():
        _check_family(family_of(ModelLocation("folder", str(place))), id)
        return load_wan(place, id, loras, device, dtype)
    dtype = dtype or weights_dtype(device, count_weights(place), free_memory(device))
    parts = read_file(place, dtype) if source.kind == "file" else read_folder(place, id, dtype)
    try:
        schedule = Schedule.from_config(parts.scheduler)
    except ValueError as error:
        reason = f"{shorten(id)} has an unsupported schedule ({error})"
        raise ModelError("model", f"{reason}. Use another model.") from error
    _check_architecture(parts, id)
    prediction = parts.scheduler.get("prediction_type", "epsilon")
    weights = {
        name: sum(p.nbytes for p in part.parameters())
        for name in ("unet", "vae", "text_encoder", "text_encoder_2")
        if (part := getattr(parts, name)) is not None
    }
    turns = takes_turns(device, weights, free_memory(device))
    common = (
        id, parts.unet, parts.vae, parts.text_encoder, parts.tokenizer, schedule, prediction, device, dtype,
        parts.defaults, parts.words, turns,
    )  # fmt: skip
    more = {name: getattr(parts, name) for name in ("text_encoder_2", "padding_2", "empty_is_zero")}
    model = (
        StableDiffusion(*common)
        if parts.text_encoder_2 is None
        else StableDiffusionXL(*common, **more)
    )
    add_loras(loras, model.parts)
    logger.info(
        "loaded a %s model of %.0f MB on %s%s in %.1f s",
        prediction, sum(weights.values()) / 1e6, device, ", its parts in turns" if turns else "",
        time.perf_counter() - began,
    )  # fmt: skip
    return model


def _check_family(family: Family | None, id: str) -> None:
    if family and not family.offers:
        said = f"{shorten(id)} is {family.title}, which is not supported"
        raise ModelError("model", f"{said}. Use {SUPPORTED}.")


def _prepare_libraries() -> None:
    """Import the libraries that read models, and let them be quiet."""
    without = not torch.cuda.is_available() and "xformers" not in sys.modules
    if without:  # of no use here; diffusers then sees it as not installed
        sys.modules["xformers"] = None
    try:
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging
    finally:
        if without:
            del sys.modules["xformers"]
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def _check_architecture(parts: ModelParts, id: str) -> None:
    """Refuse other families of models, and parts whose latents, vectors of words or tokens differ."""
    unet, vae, text = (part.config for part in (parts.unet, parts.vae, parts.text_encoder))
    second = parts.text_encoder_2 and parts.text_encoder_2.config
    _check_family(family_of_configs({}, unet, parts.scheduler), id)
    prediction = parts.scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        reason = f"{shorten(id)} predicts {shorten(prediction)}, which is unknown"
        advice = "Use a model that predicts epsilon, v_prediction or sample."
        raise ModelError("model", f"{reason}. {advice}")
    wide = unet.cross_attention_dim
    vectors = {*wide} if isinstance(wide, list | tuple) else {wide}
    reads = len(parts.tokenizer) <= text.vocab_size and parts.tokenizer.model_max_length > 2
    width = text.hidden_size
    if second:
        width += second.hidden_size
        told = second.projection_dim + 6 * (unet.addition_time_embed_dim or 0)
        reads &= told == unet.projection_class_embeddings_input_dim
        reads &= second.max_position_embeddings >= text.max_position_embeddings
        reads &= second.vocab_size >= len(parts.tokenizer)
    if vae.latent_channels != unet.in_channels or vectors != {width} or not reads:
        raise ModelError(
            "model", f"The parts of {shorten(id)} do not fit together. Download it again."
        )
