"""LoRA files and what they say of themselves; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_defaults
from regrain.editing.models.files.download import download
from regrain.editing.models.files.few_step import FewStep, by_name
from regrain.editing.models.files.location import (
    ModelLocation,
    about,
    find,
    parse_lora,
)
from regrain.editing.storage.safetensors_files import check_head

FILE = "pytorch_lora_weights.safetensors"
# What peft calls a LoRA, and the file beside it that says its scale.
PEFT_FILE = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
# Keys of metadata: the layer of the text encoder that was read, from its end.
_LAYERS = ("modelspec.encoder_layer", "ss_clip_skip")


def lora_kind(text: str) -> FewStep | None:
    """Recognise a LoRA for few steps, by its name or metadata; errors are those of
    `add_loras`."""
    id = parse_lora(text).model
    return by_name(Path(id).name, _metadata(find_lora(id), id))


def _metadata(path: Path, id: str) -> Mapping[str, str]:
    """Read the metadata of a file; a ModelError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    with about("loras"):
        check_head(path, "loras")
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        said = f"{shorten(id)} is damaged. Download it again."
        raise ModelError("loras", said) from error


def lora_defaults(text: str) -> Mapping[str, Mapping[str, object]]:
    """Read the settings that a LoRA's folder recommends; none without the file."""
    id = parse_lora(text).model
    return read_defaults(find_lora(id).parent / "defaults.json", id)


def fast_lora(model: str) -> str | None:
    """Return the id of the LoRA for few steps that comes with a model, in its folder
    `fast`; None if there is none. A ModelError if the model is unknown."""
    place = find(model)
    if place.kind != "folder" or not (Path(place.location) / "fast" / FILE).is_file():
        return None
    return f"{model}/fast"


def locate_lora(id: str) -> ModelLocation:
    """Find a LoRA by its id, name or path without fetching it; a folder has a file as
    diffusers or as peft names it.

    Raises:
        ModelError: There is none.
    """
    try:
        return find(id, FILE)
    except ModelError:
        with suppress(ModelError):
            return find(id, PEFT_FILE)
        raise


def find_lora(id: str) -> Path:
    """Find the file of a LoRA by its id, name or path, after fetching it if need be;
    ModelError if there is none."""
    with about("loras"):
        source = locate_lora(id)
        place = Path(source.location)
        if source.kind == "hub":
            place = Path(download(id, (FILE, PEFT_FILE, PEFT_CONFIG)))
    if place.is_file():
        return place
    for name in (FILE, PEFT_FILE):
        if (place / name).is_file():
            return place / name
    advice = "Name a .safetensors file or another repository."
    raise ModelError("loras", f"{shorten(id)} has no {FILE}. {advice}")


def lora_notes(text: str, prediction: str, reads_last_layer: bool) -> list[str]:
    """Say what the metadata of a LoRA tells of its training that this model does not
    do.

    Args:
        text: See `parse_lora`.
        prediction: What the model predicts.
        reads_last_layer: Whether the model reads the last layer of its text encoder.
    Raises:
        ModelError: See `find_lora`.
    """
    id = parse_lora(text).model
    metadata = _metadata(find_lora(id), id)
    notes = []
    trained = stated_prediction(metadata)
    if trained not in ("", prediction):
        said = f"{shorten(id)} was trained on a model that predicts {trained}"
        notes.append(f"{said}, and this one predicts {prediction}: it may not suit it.")
    skipped = [metadata.get(key, "") for key in _LAYERS]
    layer = next((one for one in skipped if one.isdecimal() and int(one) > 1), "")
    if layer and reads_last_layer:
        said = f"{shorten(id)} was trained with clip skip {layer[:3]}"
        notes.append(
            f"{said}; this model reads the last layer, so words count a little otherwise."
        )
    return notes


def stated_prediction(metadata: Mapping[str, str]) -> str:
    """Return what the metadata of a file say that the network predicts, as diffusers
    names it if it is known; empty if they do not."""
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if metadata.get("ss_v_parameterization") == "True" or stated == "v":
        return "v_prediction"
    return "epsilon" if stated.startswith("eps") else stated
