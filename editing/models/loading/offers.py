"""What a model offers to methods, from its configuration alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrain.editing.errors import ModelError
from regrain.editing.models.loading.configs import read_json
from regrain.editing.storage.safetensors_files import check_head

if TYPE_CHECKING:
    from regrain.editing.models.loading.location import ModelLocation

STABLE_DIFFUSION = frozenset({"inversion", "image_unet", "features", "control"})
"""What `StableDiffusion` offers: keys of `editing.params.registry.OFFERS`."""

_CONFIGS = ("model_index.json", "unet/config.json")


class Family(NamedTuple):
    """A kind of model, as shown to users, and what its backbone offers; nothing if it is not supported."""

    title: str
    offers: frozenset[str]


def family_of(source: ModelLocation) -> Family | None:
    """Find the kind of a model; None if its configuration is not on this machine or cannot be read."""
    if source.kind == "file":
        return _of_file(Path(source.location))
    if source.kind == "folder":
        return family_of_configs(*(_read(Path(source.location, name)) for name in _CONFIGS))
    from huggingface_hub import try_to_load_from_cache

    places = [try_to_load_from_cache(source.location, name) for name in _CONFIGS]
    configs = [_read(Path(place)) if isinstance(place, str) else {} for place in places]
    return family_of_configs(*configs)


def family_of_configs(index: Mapping, unet: Mapping) -> Family | None:
    """The kind of a model by its index and its UNet's configuration; both may be empty."""
    if not unet:
        return Family(str(index["_class_name"]), frozenset()) if "_class_name" in index else None
    if unet.get("addition_embed_type"):
        return Family("SDXL", frozenset())
    if (channels := unet.get("in_channels", 4)) != unet.get("out_channels", 4):
        return Family(f"a model with {channels} input channels", frozenset())
    return Family("Stable Diffusion", STABLE_DIFFUSION)


def _of_file(path: Path) -> Family:
    from safetensors import SafetensorError, safe_open

    try:
        check_head(path, "model")
        with safe_open(path, framework="np") as file:
            is_sdxl = any(key.startswith("conditioner.embedders.") for key in file.keys())  # noqa: SIM118
    except (ModelError, SafetensorError, OSError):
        is_sdxl = False  # loading it says what is wrong
    return Family("SDXL", frozenset()) if is_sdxl else Family("Stable Diffusion", STABLE_DIFFUSION)


def _read(path: Path) -> dict:
    try:
        content = read_json(path, path.name)
    except ModelError:
        return {}
    return content if isinstance(content, dict) else {}
