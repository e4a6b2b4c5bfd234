"""LoRA files and what they say of themselves; nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_defaults, read_json
from regrain.editing.models.files.download import download
from regrain.editing.models.files.file_head import stated_prediction, stated_side
from regrain.editing.models.files.location import (
    BUILT_IN_FAST,
    ModelLocation,
    about,
    find,
    parse_lora,
)
from regrain.editing.models.files.schedulers import Defaults, FewStep, by_name
from regrain.editing.storage.safetensors_files import opened, state_of, with_shards

FILE = "pytorch_lora_weights.safetensors"
# Of one in several files, as Hugging Face's libraries name shards.
SHARDS = "pytorch_lora_weights-00001-of-*.safetensors"
SHARDS_INDEX = f"{FILE}.index.json"
# What peft calls a LoRA, and the file beside it that says its scale.
PEFT_FILE = "adapter_model.safetensors"
PEFT_CONFIG = "adapter_config.json"
# Keys of metadata: the layer of the text encoder that was read, from its end.
_LAYERS = ("modelspec.encoder_layer", "ss_clip_skip")
# The change of a UNet's first layer, of which the second side is that of its input.
_FIRST_LAYER = re.compile(
    r".*(?:conv_in|input_blocks[._]0[._]0)[._](?:lora_A|lora[._]down|diff)(?:\.weight)?"
)
# The change of what reads the text in a UNet, of which the second side is its width.
_TEXT_LAYER = re.compile(
    r".*attn2[._](?:processor[._])?to_[kv](?:_lora)?[._](?:lora_A|lora[._]down|down)(?:[._]default)?(?:\.weight)?"
)
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
        channels: Channels that a UNet's first layer reads by it; 0 if it leaves that
            layer as it is.
        text_width: Width of the text of the UNets that it fits; 0 if it leaves what
            reads that as it is.
    """

    id: str
    path: Path
    metadata: Mapping[str, str]
    defaults: Defaults
    has_alphas: bool
    channels: int
    text_width: int

    @property
    def kind(self) -> FewStep | None:
        """Its kind, if it is or may be one for few steps; by its name or titles."""
        return by_name(self.id, self.metadata)

    @property
    def side(self) -> int | None:
        """The short side in pixels at which a network works that it makes read more, if
        it says so."""
        return stated_side(self.metadata, self.path.name) if self.channels else None

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
    index = path.with_name(SHARDS_INDEX)
    metadata: dict[str, str] = {}
    if len(parts := with_shards(path, "loras")) > 1 and index.is_file():
        told = read_json(index, f"{shorten(id)}: {index.name}").get("metadata", {})
        metadata = {key: str(told[key]) for key in told}
    has_alphas = False
    channels = 0
    text_width = 0
    for part in parts:
        with opened(part, "loras", id) as file:
            metadata |= file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 (no mapping)
                has_alphas |= key.endswith(".alpha")
                if _FIRST_LAYER.fullmatch(key):
                    channels = file.get_slice(key).get_shape()[1]
                if _TEXT_LAYER.fullmatch(key):
                    text_width = file.get_slice(key).get_shape()[1]
    recommended = read_defaults(defaults, id)
    return LoraFacts(id, path, metadata, recommended, has_alphas, channels, text_width)


def fast_lora(model: str) -> str | None:
    """Return the id of the LoRA for few steps that comes with a model, in its folder
    `fast`; None if there is none. A ModelError if the model is unknown."""
    place = find(model)
    if place.kind != "folder":
        return None
    return f"{model}/fast" if _file_in(Path(place.location) / "fast") else None


def locate_lora(id: str) -> ModelLocation:
    """Find a LoRA by its id, name or path without fetching it; a folder has a file as
    diffusers or as peft names it.

    Raises:
        ModelError: There is none.
    """
    try:
        return find(id, FILE, BUILT_IN_FAST)
    except ModelError:
        for other in (SHARDS_INDEX, PEFT_FILE):
            with suppress(ModelError):
                return find(id, other)
        raise


def _file_in(folder: Path) -> Path | None:
    """Return the file of a LoRA in a folder, the first of its shards if it has such;
    None if there is none."""
    for name in (FILE, SHARDS, PEFT_FILE):
        for path in sorted(folder.glob(name)):
            return path
    return None


def find_lora(id: str) -> Path:
    """Find the file of a LoRA, or the first of its shards, by its id, name or path,
    after fetching it if need be; ModelError if there is none."""
    with about("loras"):
        source = locate_lora(id)
        place = Path(source.location)
        if source.kind == "hub":
            place = Path(download(id, (FILE, PEFT_FILE, PEFT_CONFIG)))
    if place.is_file():
        return place
    if file := _file_in(place):
        return file
    raise ModelError(
        "loras",
        f"{shorten(id)} has no {FILE}. Name a .safetensors file or another repository.",
    )
