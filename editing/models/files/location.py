"""Locations of models by id, name or path, found without loading anything."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from regrain.editing.boundary import check_link
from regrain.editing.errors import ModelError, shorten
from regrain.editing.params.written import split_weight
from regrain.editing.storage.local_models import (
    ASSETS,
    MODELS_VARIABLE,
    absent,
    find_local,
)
from regrain.editing.storage.packed import ENDING, is_packed
from regrain.editing.storage.safetensors_files import GGUF, check_links, is_weights

# The model, its control network, motion adapter, LoRA for few steps, and what looks at
# its edits, shipped with the code.
BUILT_IN_MODEL = "storybook"
BUILT_IN_CONTROL = "storybook/canny"
BUILT_IN_MOTION = "storybook/motion"
BUILT_IN_FAST = "storybook/fast"
BUILT_IN_READER = "storybook/reader"
BUILT_IN_IDS = (
    BUILT_IN_MODEL,
    BUILT_IN_CONTROL,
    BUILT_IN_MOTION,
    BUILT_IN_FAST,
    BUILT_IN_READER,
)
_MAX_LORA = 4.0
MAX_TEXT = 1000  # characters of a model's id
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_UNET = "unet/config.json"
PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}


@dataclass(frozen=True)
class ModelLocation:
    """The location of a model: a diffusers folder, a .safetensors file, or a repository
    on the hub.

    Attributes:
        file: Of a folder, the file in it whose weights take the place of those of its
            transformer, or are added to them; mostly empty.
    """

    kind: Literal["folder", "file", "hub"]
    location: str
    file: str = ""


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA or a motion adapter (hub id, name in $REGRAIN_MODELS, folder or file) and
    its weight."""

    model: str
    weight: float


class PictureSpec(NamedTuple):
    """A picture that a request names: for the region of a label, or for the whole frame
    (0)."""

    name: str
    label: int
    path: Path
    scale: float | None
    field: str  # what errors are about


def parse_lora(text: str, field: str = "loras", least: float = -_MAX_LORA) -> LoraSpec:
    """Read `FILE@WEIGHT`; the weight, from `least` to 4, may be left out. Errors are
    about `field`.

    Raises:
        ModelError: The text has another form, or the weight is out of range.
    """
    file, given = split_weight(text)
    weight = 1.0 if given is None else given
    if not least <= weight <= _MAX_LORA or not file or len(text) > MAX_TEXT:
        raise ModelError(
            field,
            f"Expected FILE@WEIGHT with a weight from {least:g} to {_MAX_LORA:g}, "
            f"got {shorten(text)}.",
        )
    return LoraSpec(file, weight)


def moving(model: object, asked: str) -> str:
    """Return the motion adapter that was asked for; not the built-in one with another
    model."""
    return asked if suits(model, asked) else ""


def suits(model: object, asked: str) -> bool:
    """Tell whether what is added to a model may be of it: what is built in is of the
    built-in model."""
    return split_weight(asked)[0] not in BUILT_IN_IDS or model == BUILT_IN_MODEL


def check_packed(id: str, field: str = "model") -> None:
    """Refuse, by a ModelError, what is named as a file of packed weights where none is
    read."""
    if is_packed(Path(id)):
        raise ModelError(field, f"{shorten(id)} is {GGUF}")


@contextmanager
def about(field: str) -> Iterator[None]:
    """Let errors about a model be about the field that names it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(field, error.message) from error


def find(id: str, config: str = _UNET, built_in: str = BUILT_IN_MODEL) -> ModelLocation:
    """Find a model by id without loading it; takes at most a tenth of a second.

    Tries, in this order: built-in models; a name in the folder $REGRAIN_MODELS
    (".safetensors" or ".gguf" may be left out); a path; a hub id "owner/name". A folder must
    contain `config`, or be the hub's own folder of such. A file in a folder that
    `takes_transformers` is found as that folder with the file. An error proposes what
    is `built_in`.

    Raises:
        ModelError: The id is unknown, or the file could run code when opened.
    """
    refused = partial(_refused, id, built_in)
    if not id or len(id) > MAX_TEXT or not id.isprintable():
        raise refused("was not found")
    path = ASSETS / id
    if id not in BUILT_IN_IDS:
        if Path(id).suffix.lower() in PICKLES:
            raise refused("is a pickle and could run code when opened")
        path = find_local(id, ".safetensors", ENDING) or Path(id)
        check_link(path, "model", shorten(id))
        if not os.path.exists(path):  # unlike Path.exists, does not raise
            check_packed(id)
            if _HUB_ID.fullmatch(id):
                return ModelLocation("hub", id)
            raise refused("was not found")
    if not path.is_file():
        folder = _folder(path, config)
        if not folder:
            raise refused(f"has no {config}")
        check_links(folder, id)
        return ModelLocation("folder", str(folder.resolve()))
    if not is_weights(path):
        raise refused("is not a .safetensors file")
    place = Path(os.path.abspath(path))  # of a link, not of what it leads to
    if config == _UNET and takes_transformers(place.parent):
        return ModelLocation("folder", str(place.parent), str(place))
    check_packed(id)
    return ModelLocation("file", str(path.resolve()))


def _refused(id: str, built_in: str, why: str) -> ModelError:
    return ModelError(
        "model",
        f"{shorten(id)} {why}. Use {built_in}, a hub id like owner/name, or a path or a "
        f"name in ${MODELS_VARIABLE} with .safetensors weights.{absent()}",
    )


def _folder(path: Path, config: str) -> Path | None:
    """Return a folder with a model, or that with the newest one in a folder of the
    hub's client; None if it has none."""
    newest = path / "refs" / "main"
    if newest.is_file():
        path = path / "snapshots" / newest.read_text()
    # Other families of models have no UNet; `family_of` tells what they are.
    others = ("model_index.json", "transformer/config.json")
    names = (config, *others) if config == _UNET else (config,)
    # what is there may be a link to nothing
    return path if any(os.path.lexists(path / name) for name in names) else None


def takes_transformers(folder: Path) -> bool:
    """Tell whether a folder has what a transformer of a video model needs beside it,
    so that one in a file of its own may be put there."""
    return (folder / "text_encoder").is_dir() and not (folder / "unet").is_dir()
