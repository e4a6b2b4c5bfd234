"""LoRA files and what they say of themselves; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_defaults
from regrain.editing.models.files.download import obtain
from regrain.editing.models.files.few_step import FewStep, by_name
from regrain.editing.models.files.location import about, find, parse_lora
from regrain.editing.storage.safetensors_files import check_head

FILE = "pytorch_lora_weights.safetensors"


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


def find_lora(id: str) -> Path:
    """Find the file of a LoRA by its id, name or path, after fetching it if need be;
    ModelError if there is none."""
    with about("loras"):
        place = obtain(id, FILE, (FILE,))
    path = place if place.is_file() else place / FILE
    if not path.is_file():
        advice = "Name a .safetensors file or another repository."
        raise ModelError("loras", f"{shorten(id)} has no {FILE}. {advice}")
    return path
