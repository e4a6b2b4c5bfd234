"""Diffusers folders, on disk or on the hub. Safetensors only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import (
    PREDICTIONS,
    check_index,
    check_text_encoder,
    class_in_index,
    unused_parts,
)
from regrain.editing.models.files.configs import read_config, read_defaults
from regrain.editing.models.files.offers import check_family, family_of_configs
from regrain.editing.models.files.words import read_words
from regrain.editing.storage.safetensors_files import read_weights, without_marks

_OPENCLIP = 1024  # width of the text encoder of 2.x
_CUT = 11  # layers of the text encoder of 1.x without its last


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
    text_encoder_2: nn.Module | None = None  # of SDXL, as the next two
    padding_2: int = 0
    empty_is_zero: bool = True
    unused: tuple[str, ...] = ()  # parts of the model's index that nothing reads

    @property
    def with_weights(self) -> dict[str, nn.Module]:
        """The parts with weights, by their folders."""
        parts = {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoder}
        if self.text_encoder_2 is not None:
            parts["text_encoder_2"] = self.text_encoder_2
        return parts

    @property
    def reads_last_layer(self) -> bool:
        """Whether words are read from the last layer of CLIP's text encoder; SDXL reads
        the one before, and 2.x and some models of 1.x come without it."""
        text = self.text_encoder.config
        is_whole = text.hidden_size < _OPENCLIP and text.num_hidden_layers != _CUT
        return self.text_encoder_2 is None and bool(is_whole)


def with_prediction(
    scheduler: Mapping[str, Any], prediction: str, name: str
) -> dict[str, Any]:
    """Add what the network predicts, empty if nobody says, to a
    scheduler_config.json; a ModelError if that says something else."""
    said = scheduler.get("prediction_type")
    if not prediction:
        return dict(scheduler)
    if prediction not in PREDICTIONS:
        reason = f"Expected {' or '.join(PREDICTIONS)}, got {shorten(prediction)}"
        raise ModelError("prediction", f"{reason}. Choose one of these.")
    if said not in (None, prediction):
        reason = f"{name} says that it predicts {shorten(said)}, not {prediction}"
        raise ModelError("prediction", f"{reason}. Leave it out.")
    return {**scheduler, "prediction_type": prediction}


def read_folder(
    folder: Path, id: str, dtype: torch.dtype, prediction: str = ""
) -> ModelParts:
    """Read a diffusers folder; `words.json` and `defaults.json` next to the parts are
    optional, and `prediction` is for one that does not say what it predicts.

    Raises:
        ModelError: A part or some of its weights are missing, or exist only as a
            pickle.
    """
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel

    check_folders(folder, ("unet", "vae", "text_encoder", "tokenizer", "scheduler"), id)
    said = read_config(folder / "scheduler" / "scheduler_config.json", id)
    index = _read_index(folder, id)
    named = class_in_index(index, "scheduler")
    if named:  # diffusers goes by the index
        said = {**said, "_class_name": named}
    scheduler = with_prediction(said, prediction, shorten(id))
    vae = read_config(folder / "vae" / "config.json", id)
    unet = read_config(folder / "unet" / "config.json", id)
    _check_text_encoder(folder / "text_encoder", id)
    autoencoders = {"AutoencoderKL": AutoencoderKL, "AutoencoderDC": AutoencoderDC}
    autoencoder = vae.get("_class_name", "AutoencoderKL")
    if autoencoder not in autoencoders:
        reason = f"{shorten(id)} has an unsupported autoencoder, {autoencoder}"
        raise ModelError(
            "model", f"{reason}. Use a model with {' or '.join(autoencoders)}."
        )
    if unet.get("sample_size") is None:
        raise ModelError(
            "model", f"{shorten(id)}: unet/config.json has no sample_size. Add it."
        )
    check_configs(unet, scheduler, id)
    tokenizer = _read_tokenizer(folder / "tokenizer", id)
    is_xl = unet.get("addition_embed_type")
    second = _read_second(folder, id, dtype, index) if is_xl else {}
    return ModelParts(
        unet=read_weights(UNet2DConditionModel, folder / "unet", id, dtype),
        vae=read_weights(autoencoders[autoencoder], folder / "vae", id, torch.float32),
        text_encoder=read_weights(CLIPTextModel, folder / "text_encoder", id, dtype),
        tokenizer=tokenizer,
        scheduler=scheduler,
        defaults=read_defaults(folder / "defaults.json", id),
        words=read_words(folder),
        unused=tuple(unused_parts(index)),
        **second,
    )


def check_configs(
    unet: Mapping[str, Any], scheduler: Mapping[str, Any], id: str
) -> None:
    """Refuse a family, a schedule or a prediction that is not supported, before any
    weights are read."""
    check_family(family_of_configs({}, unet, scheduler), id)
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        reason = f"{shorten(id)} predicts {shorten(prediction)}, which is not supported"
        advice = f"Use a model that predicts {' or '.join(PREDICTIONS)}."
        raise ModelError("model", f"{reason}. {advice}")
    schedule = read_schedule(scheduler, id)
    if schedule.reaches_pure_noise and prediction == "epsilon":
        said = f"{shorten(id)} predicts epsilon, but its last level has no signal"
        advice = "If it is one for v_prediction, set its prediction_type, or use --prediction"
        raise ModelError("model", f"{said}. {advice}.")


def read_schedule(config: Mapping[str, Any], id: str) -> Schedule:
    """Build the schedule of a scheduler_config.json; a ModelError if it is unknown."""
    try:
        return Schedule.from_config(config)
    except ValueError as error:
        reason = f"{shorten(id)} has an unsupported schedule ({error})"
        raise ModelError("model", f"{reason}. Use another model.") from error


def _read_tokenizer(folder: Path, id: str) -> Any:
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    said = f"{shorten(id)}: {folder.name}/ cannot be loaded. Download it again."
    with boundary("model", said, ModelError), without_marks(folder) as place:
        return CLIPTokenizer.from_pretrained(place, local_files_only=True)


def check_folders(folder: Path, parts: Sequence[str], id: str) -> None:
    """Refuse a model without one of these parts."""
    for part in parts:
        if not (folder / part).is_dir():
            said = f"{shorten(id)} has no folder {part}/"
            raise ModelError("model", f"{said}. Download the model again.")


def _read_index(folder: Path, id: str) -> Mapping[str, Any]:
    """Read model_index.json, checked; empty without one."""
    path = folder / "model_index.json"
    index = read_config(path, id) if path.is_file() else {}
    check_index(index, f"{shorten(id)}: {path.name}")
    return index


def _check_text_encoder(folder: Path, id: str) -> dict[str, Any]:
    """Read and check the configuration of a text encoder."""
    content = read_config(folder / "config.json", id)
    check_text_encoder(content, f"{shorten(id)}: {folder.name}/config.json")
    return content


def _check_end(content: Mapping[str, Any], tokenizer: Any, id: str) -> None:
    """Refuse a text encoder that looks for another end mark than the tokenizer's, so
    that its pooled text would be that of the start."""
    end = content.get("eos_token_id", 49_407)
    # Files from before transformers 4.31 say 2, and mean the highest token.
    if end not in (2, tokenizer.eos_token_id):
        said = f"{shorten(id)}: text_encoder_2/config.json has eos_token_id {end}"
        reason = f"but tokenizer_2/ ends texts with {tokenizer.eos_token_id}"
        raise ModelError("model", f"{said}, {reason}. Correct it.")


def _read_second(
    folder: Path, id: str, dtype: torch.dtype, index: Mapping[str, Any]
) -> dict[str, Any]:
    """Read SDXL's second text encoder and tokenizer."""
    from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection

    check_folders(folder, ("text_encoder_2", "tokenizer_2"), id)
    place = folder / "text_encoder_2"
    content = _check_text_encoder(place, id)
    tokenizer = _read_tokenizer(folder / "tokenizer_2", id)
    _check_end(content, tokenizer, id)
    said = f"{shorten(id)}: tokenizer_2/ has no token to pad with. Download it again."
    with boundary("model", said, ModelError):
        padding = int(tokenizer.pad_token_id)
    return {
        "text_encoder_2": read_weights(CLIPTextModelWithProjection, place, id, dtype),
        "padding_2": padding,
        "empty_is_zero": bool(index.get("force_zeros_for_empty_prompt", True)),
    }
