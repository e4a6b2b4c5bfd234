"""LoRA files and what they say of themselves; nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_defaults
from regrain.editing.models.files.download import download
from regrain.editing.models.files.file_head import stated_prediction
from regrain.editing.models.files.location import (
    BUILT_IN_FAST,
    ModelLocation,
    about,
    find,
    parse_lora,
)
from regrain.editing.models.files.schedulers import Defaults, FewStep, by_name
from regrain.editing.storage.safetensors_files import opened, state_of

FILE = "pytorch_lora_weights.safetensors"
# What peft calls a LoRA, and the file beside it that says its scale.
PEFT_FILE = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
# Keys of metadata: the layer of the text encoder that was read, from its end.
_LAYERS = ("modelspec.encoder_layer", "ss_clip_skip")
# What may be meant to scale layers that have no alpha of their own, or is added to them.
_SIZE = re.compile(
    r"(?:ss_)?network_alphas?|(?:lora_)?(?:scale|scaling|strength|config)|multiplier"
)


@dataclass(frozen=True)
class LoraFacts:
    """Facts of a LoRA that was found.

    Attributes:
        id: As it was named.
        path: Its file.
        metadata: What the file says of itself.
        defaults: The settings that its folder recommends, by method.
        has_alphas: Whether its layers say their scale.
    """

    id: str
    path: Path
    metadata: Mapping[str, str]
    defaults: Defaults
    has_alphas: bool

    @property
    def kind(self) -> FewStep | None:
        """Its kind, if it is or may be one for few steps; by its name or titles."""
        return by_name(self.id, self.metadata)

    def notes(self, prediction: str, reads_last_layer: bool) -> list[str]:
        """Say what it tells of its training that a model does not do.

        Args:
            prediction: What the model predicts.
            reads_last_layer: Whether the model reads the last layer of its text
                encoder.
        """
        notes = []
        trained = stated_prediction(self.metadata)
        if trained not in ("", prediction):
            notes.append(
                f"{shorten(self.id)} was trained on a model that predicts "
                f"{trained}, and this one predicts {prediction}: it may not suit "
                "it."
            )
        rank = self.metadata.get("ss_network_dim")
        for key, said in self.metadata.items():
            if _SIZE.fullmatch(key) and said != rank and not self.has_alphas:
                notes.append(
                    f"{shorten(self.id)} says {key} {shorten(said)}, which is not used, as "
                    "its layers may be scaled already: if it is too strong, give it a "
                    "weight, FILE@WEIGHT."
                )
        skipped = [self.metadata.get(key, "") for key in _LAYERS]
        layer = next((one for one in skipped if one.isdecimal() and int(one) > 1), "")
        if layer and reads_last_layer:
            notes.append(
                f"{shorten(self.id)} was trained with clip skip {layer[:3]}; this "
                "model reads the last layer, so words count a little otherwise."
            )
        return notes


def lora_facts(text: str) -> LoraFacts:
    """Read the facts of a LoRA, see `parse_lora`; those of the same files are returned
    again.

    Raises:
        ModelError: There is none, or it is damaged.
    """
    id = parse_lora(text).model
    path = find_lora(id)
    defaults = path.with_name("defaults.json")
    return _read_facts(id, path, defaults, state_of(path), state_of(defaults))


@lru_cache(maxsize=16)
def _read_facts(id: str, path: Path, defaults: Path, *_states: object) -> LoraFacts:
    """Read facts; `_states` are those of the files, which the cache compares."""
    with opened(path, "loras", id) as file:
        metadata = file.metadata() or {}
        has_alphas = any(key.endswith(".alpha") for key in file.keys())  # noqa: SIM118 (no mapping)
    return LoraFacts(id, path, metadata, read_defaults(defaults, id), has_alphas)


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
        return find(id, FILE, BUILT_IN_FAST)
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
    raise ModelError(
        "loras",
        f"{shorten(id)} has no {FILE}. Name a .safetensors file or another repository.",
    )
