"""Diffusers folders, on disk or on the hub. Safetensors only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from regrain.editing.boundary import boundary
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import (
    PREDICTIONS,
    unsupported,
    with_defaults,
)
from regrain.editing.models.files.facts import LEVELS, UNET, ModelFacts
from regrain.editing.models.files.offers import check_family, family_of_configs
from regrain.editing.models.files.reader import USUAL_LENGTH, clip_vocabulary
from regrain.editing.models.weights.packed_unet import read_packed_unet
from regrain.editing.storage.ready import check_vocabulary
from regrain.editing.storage.safetensors_files import (
    packed_file,
    read_weights,
    without_marks,
)
from regrain.editing.storage.texts import Json, Values

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class ModelParts:
    """The parts of a model.

    Attributes:
        modules: Those with weights by their folders, on the CPU in the requested dtype:
            unet, vae, text_encoder, of SDXL text_encoder_2.
        tokenizer: That of the first text encoder.
        scheduler: Its scheduler_config.json, with what the network predicts.
        more: Further arguments of SDXL's class.
    """

    modules: dict[str, nn.Module]
    tokenizer: "PreTrainedTokenizerBase"
    scheduler: Values
    more: Mapping[str, int] = field(default_factory=dict)


def with_prediction(scheduler: Json, prediction: str, name: str) -> Json:
    """Add what the network predicts, empty if nobody says, to a
    scheduler_config.json; a ModelError if that says something else."""
    said = scheduler.get("prediction_type")
    if not prediction:
        return dict(scheduler)
    if prediction not in PREDICTIONS:
        raise ModelError(
            "prediction",
            f"Expected {' or '.join(PREDICTIONS)}, got {shorten(prediction)}. "
            "Choose one of these.",
        )
    if said not in (None, prediction):
        raise ModelError(
            "prediction",
            f"{name} says that it predicts {shorten(said)}, not {prediction}. "
            "Leave it out.",
        )
    return {**scheduler, "prediction_type": prediction}


def read_folder(facts: ModelFacts, dtype: torch.dtype, prediction: str) -> ModelParts:
    """Read a diffusers folder; `prediction` is for one that does not say what it
    predicts.

    Raises:
        ModelError: A part or some of its weights are missing, or exist only as a
            pickle.
    """
    from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
    )

    id = facts.id
    folder = facts.folder
    check_folders(folder, ("unet", "vae", "text_encoder", "tokenizer", "scheduler"), id)
    facts.config(LEVELS)  # which must be there
    index = facts.index
    scheduler = with_prediction(facts.scheduler, prediction, shorten(id))
    scheduler = with_defaults(scheduler, facts.place(LEVELS))
    vae = facts.known_config("vae/config.json")
    unet = facts.known_config(UNET)
    facts.known_config("text_encoder/config.json")
    autoencoders = {"AutoencoderKL": AutoencoderKL, "AutoencoderDC": AutoencoderDC}
    autoencoder = vae.get("_class_name", "AutoencoderKL")
    if autoencoder not in autoencoders:
        raise unsupported(facts.place("vae/config.json"), "_class_name", autoencoder)
    if unet.get("sample_size") is None:
        raise ModelError(
            "model", f"{shorten(id)}: unet/config.json has no sample_size. Add it."
        )
    check_configs(unet, scheduler, id)
    tokenizer = read_tokenizer(folder / "tokenizer", id)
    readers = {
        "unet": UNet2DConditionModel,
        "vae": autoencoders[autoencoder],
        "text_encoder": CLIPTextModel,
    }
    more: dict[str, int] = {}
    if unet.get("addition_embed_type"):
        check_folders(folder, ("text_encoder_2", "tokenizer_2"), id)
        encoder = facts.known_config("text_encoder_2/config.json")
        end = encoder.get("eos_token_id", 49_407)
        second = read_tokenizer(folder / "tokenizer_2", id)
        more["padding_2"] = _padding(second, id, end)
        more["empty_is_zero"] = bool(index.get("force_zeros_for_empty_prompt", True))
        readers["text_encoder_2"] = CLIPTextModelWithProjection
    modules = {}
    packed = packed_file(folder / "unet", id)
    for part, kind in readers.items():
        of_part = torch.float32 if part == "vae" else dtype
        if packed and part == "unet":
            modules[part] = read_packed_unet(packed, unet, dtype)
        else:
            modules[part] = read_weights(kind, folder / part, id, of_part)
    return ModelParts(modules, tokenizer, scheduler, more)


def check_configs(unet: Json, scheduler: Json, id: str) -> None:
    """Refuse a family or a schedule that is not supported, before any weights are
    read."""
    check_family(family_of_configs({}, unet, scheduler), id)
    schedule = read_schedule(scheduler, id)
    is_plain = scheduler.get("prediction_type", "epsilon") == "epsilon"
    if schedule.reaches_pure_noise and is_plain:
        raise ModelError(
            "model",
            f"{shorten(id)} predicts epsilon, but its last level has no signal. "
            "If it is one for v_prediction, set its prediction_type, or use "
            "--prediction.",
        )


def read_schedule(config: Json, id: str) -> Schedule:
    """Build the schedule of a scheduler_config.json; a ModelError if it is unknown."""
    try:
        return Schedule.from_config(config)
    except ValueError as error:
        raise ModelError(
            "model",
            f"{shorten(id)} has an unsupported schedule ({error}). Use another model.",
        ) from error


def check_folders(folder: Path, parts: Sequence[str], id: str) -> None:
    """Refuse a model without one of these parts."""
    for part in parts:
        if not (folder / part).is_dir():
            raise ModelError(
                "model",
                f"{shorten(id)} has no folder {part}/. Download the model again.",
            )


def check_fit(id: str, fits: Mapping[str, bool]) -> None:
    """Refuse a model by the keys that should agree, of those that do not."""
    for keys, fit in fits.items():
        if not fit:
            raise ModelError(
                "model",
                f"The parts of {shorten(id)} do not fit together: {keys}. "
                "Download it again.",
            )


def clip_tokenizer(pad: str = "<|endoftext|>") -> "PreTrainedTokenizerBase":
    """Return CLIP's own tokenizer, which fills texts up with the token `pad`."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    tokens, merges = clip_vocabulary()
    return CLIPTokenizer(tokens, merges, pad_token=pad, model_max_length=USUAL_LENGTH)


def read_tokenizer(
    folder: Path, id: str, kind: Any = None
) -> "PreTrainedTokenizerBase":
    """Read a tokenizer of a kind, by default CLIP's, from its folder; a ModelError if
    that fails."""
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

    kind = kind or CLIPTokenizer
    title = f"{shorten(id)}: {folder.name}/"
    said = f"{title} cannot be loaded. Download it again."
    with boundary("model", said, ModelError), without_marks(folder) as place:
        tokenizer = kind.from_pretrained(place, local_files_only=True)
        check_vocabulary(tokenizer, title)
        return tokenizer


def _padding(tokenizer: "PreTrainedTokenizerBase", id: str, end: int) -> int:
    """Return the token with which SDXL's second tokenizer pads.

    `end` is the end mark that its text encoder looks for; if texts ended otherwise,
    their pooled text would be that of the start. Files from before transformers 4.31
    say 2, and mean the highest token.
    """
    if end not in (2, tokenizer.eos_token_id):
        raise ModelError(
            "model",
            f"{shorten(id)}: text_encoder_2/config.json has eos_token_id {end}, "
            f"but tokenizer_2/ ends texts with {tokenizer.eos_token_id}. Correct "
            "it.",
        )
    with boundary(
        "model",
        f"{shorten(id)}: tokenizer_2/ has no token to pad with. Download it again.",
        ModelError,
    ):
        return int(tokenizer.pad_token_id)
