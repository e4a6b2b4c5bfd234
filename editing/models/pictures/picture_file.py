"""Picture adapters (IP-Adapter, Ye et al. 2023, arXiv:2308.06721): their files."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.download import download
from regrain.editing.models.files.location import (
    MAX_TEXT,
    PICKLES,
    about,
    check_packed,
)
from regrain.editing.models.pictures.picture_heads import (
    ENCODER,
    FACES,
    FIELD,
    read_head,
)
from regrain.editing.models.weights.tensors import read_tensors
from regrain.editing.storage.local_models import (
    ASSETS,
    MODELS_VARIABLE,
    absent,
    find_local,
)
from regrain.editing.storage.safetensors_files import (
    TRANSFORMERS,
    check_links,
    no_weights,
    opened,
    weight_files,
)

if TYPE_CHECKING:
    from regrain.editing.storage.by_name import Tensors

BUILT_IN = "storybook/pictures"
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)((?:/[\w.-]+)*)")
# The file that a repository is asked for by its name alone; for SDXL another, whose
# text is so wide.
_USUAL_FILE = "models/ip-adapter_sd15.safetensors"
_USUAL_XL_FILE = "sdxl_models/ip-adapter_sdxl_vit-h.safetensors"
_WIDE = 2048
DRAWN = 64  # pixels a side that the reader of the built-in model's adapter sees
_USUAL_SCALES = {"plain": 0.8, "drawn": 1.0}  # of other kinds 0.6


class PictureFile:
    """An adapter as it is in a file.

    Attributes:
        head: Facts of its head, as the next three.
        kind: plain, plus, full, or drawn: of the built-in model, with a reader of its
            own.
        width: Of what the encoder gives.
        cross: Width of the text that the model reads.
        scale: The scale that suits it, where none is given.
        side: Height and width in pixels of the pictures that it reads, once `encoder`
            was found.
    """

    def __init__(self, id: str, wide: int = 0, fetch: bool = True) -> None:
        """Read the head of an adapter.

        Args:
            id: A file, a folder, a name in $REGRAIN_MODELS, OWNER/NAME or
                OWNER/NAME/FILE of the hub.
            wide: Width of the model's text, which chooses a repository's file.
            fetch: Whether files may be downloaded.
        Raises:
            ModelError: It is missing, damaged, a pickle, or of another kind.
        """
        self.id = id
        self._fetch = fetch
        self.path, self._repository = _locate(id, wide, fetch)
        with opened(self.path, FIELD, id) as file:
            names = [*file.keys()]
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
            facts = file.metadata() or {}
            self.head = read_head(id, shapes)
            usual = _USUAL_SCALES.get(self.head.kind, 0.6)
            self.scale = float(facts.get("scale", usual))
        self.kind, self.width, self.cross = self.head
        self.side = DRAWN

    def read(self) -> Tensors:
        """Read all its weights."""
        return read_tensors(self.path, FIELD, self.id)

    @cached_property
    def encoder(self) -> Path | None:
        """The folder of the image encoder that fits, beside the weights or in the
        folders above.

        None if the adapter reads pictures itself.

        Raises:
            ModelError: There is none, or it is of another width.
        """
        if self.kind == "drawn":
            return None
        if self._repository:
            _download(self._repository, f"*{ENCODER}/config.json", self._fetch)
        beside = self.path.parent
        above = beside.parent
        others = sorted(above.glob(f"*/{ENCODER}"))
        configs = {
            folder: read_config(folder / "config.json", self.id)
            for folder in (beside / ENCODER, *others, above / ENCODER)
            if (folder / "config.json").is_file()
        }
        widths = [config.get(self.head.encodes) for config in configs.values()]
        if self.width not in widths:
            found = f"the one there gives {widths[0]}" if widths else "there is none"
            raise ModelError(
                FIELD,
                f"{shorten(self.id)} needs beside it an {ENCODER}/ that gives "
                f"{self.width} numbers, but {found}. Put the encoder it was trained "
                "with there.",
            )
        folder = [*configs][widths.index(self.width)]
        self.side = int(configs[folder].get("image_size", DRAWN))
        for name in ("model.safetensors", "model.fp16.safetensors"):
            if self._repository and not weight_files(folder, TRANSFORMERS):
                _download(
                    self._repository,
                    f"{folder.parent.name}/{ENCODER}/{name}",
                    self._fetch,
                )
        return folder


def built_in() -> Path:
    """Return the path of the built-in model's adapter, which may not be there."""
    return ASSETS / "storybook" / "pictures.safetensors"


def _locate(id: str, wide: int, fetch: bool) -> tuple[Path, str]:
    """Find the file of an adapter, and the repository of the hub that it is of, or an
    empty text."""
    if not id.strip() or len(id) > MAX_TEXT or not id.isprintable():
        raise ModelError(FIELD, f"{shorten(id)} was not found. Name an IP-Adapter.")
    check_packed(id, FIELD)
    if Path(id).suffix.lower() in PICKLES:
        if "faceid" in id.lower():
            raise ModelError(
                FIELD, f"{shorten(id)} {FACES}. Use a plain, Plus or Full face adapter."
            )
        raise ModelError(
            FIELD,
            f"{shorten(id)} is a pickle and could run code when opened. Use "
            f"{shorten(str(Path(id).with_suffix('.safetensors')))}.",
        )
    if id == BUILT_IN and built_in().is_file():
        return built_in(), ""

    local = find_local(id, ".safetensors")
    if local is None and os.path.exists(id):  # unlike Path.exists, does not raise
        local = Path(id)
    check_links(local or Path(id), id, FIELD)
    if local:
        return (local if local.is_file() else _only_file(local, id)), ""

    hub = _HUB.fullmatch(id)
    if not hub:
        raise ModelError(
            FIELD,
            f"{shorten(id)} was not found. Use a name in ${MODELS_VARIABLE}, a "
            f"file, a folder, or OWNER/NAME/FILE of the hub.{absent()}",
        )
    repository, file = hub.groups()
    usual = _USUAL_XL_FILE if wide == _WIDE else _USUAL_FILE
    name = file.lstrip("/") or usual
    found = Path(_download(repository, name, fetch), name)
    if not found.is_file():
        raise ModelError(
            FIELD,
            f"{shorten(repository)} has no {shorten(name)}. Name a file of it, as "
            "OWNER/NAME/FILE.",
        )
    return found, repository


def _only_file(folder: Path, id: str) -> Path:
    """Return the only .safetensors file of a folder."""
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        names = shorten(", ".join(file.name for file in files[:4]))
        raise ModelError(
            FIELD, f"{shorten(id)} has several: {names}. Name one, as FOLDER/FILE."
        )
    raise no_weights(folder, shorten(id), FIELD)


def _download(id: str, name: str, fetch: bool) -> str:
    with about(FIELD):
        return download(id, (name,), fetch)
