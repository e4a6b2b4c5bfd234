"""Picture adapters (IP-Adapter, Ye et al. 2023, arXiv:2308.06721): their files, told by their keys."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.download import download
from regrain.editing.models.files.location import MAX_TEXT, PICKLES, about
from regrain.editing.models.files.picture_heads import ENCODER, FACES, FIELD, near, read_head
from regrain.editing.storage.local_models import ASSETS, MODELS_VARIABLE, find_local
from regrain.editing.storage.memory import count_weights
from regrain.editing.storage.safetensors_files import check_head

if TYPE_CHECKING:
    from torch import Tensor

BUILT_IN = "storybook/pictures"
_HUB = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)((?:/[\w.-]+)*)")
# What a repository is asked for by its name alone; the second for SDXL, whose text is so wide.
_USUAL = ("models/ip-adapter_sd15.safetensors", "sdxl_models/ip-adapter_sdxl_vit-h.safetensors")
_WIDE = 2048


class PictureFile:
    """An adapter as it is in a file.

    Attributes:
        head: Facts of its head, as the next three.
        kind: plain, plus, full, or drawn: of the built-in model, with a reader of its own.
        width: Of what the encoder gives.
        cross: Width of the text that the model reads.
        scale: What suits it, where nothing is said.
    """

    def __init__(self, id: str, wide: int = 0, fetch: bool = True) -> None:
        """Read the head of an adapter.

        Args:
            id: A file, a folder, a name in $REGRAIN_MODELS, OWNER/NAME or OWNER/NAME/FILE of the hub.
            wide: Width of the model's text, which chooses a repository's file.
            fetch: Whether files may be downloaded.
        Raises:
            ModelError: It is missing, damaged, a pickle, or of another kind.
        """
        self.id, self._fetch = id, fetch
        self.path, self._repository = _locate(id, wide, fetch)
        check_head(self.path, FIELD)
        self._damaged = f"{shorten(id)} is damaged or not a .safetensors file. Download it again."
        with boundary(FIELD, self._damaged, ModelError), safe_open(self.path, "pt") as file:
            shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118  # no mapping
            facts = file.metadata() or {}
        self.head = read_head(id, shapes)
        self.kind, self.width, self.cross = self.head
        usual = {"plain": 0.8, "drawn": 1.0}.get(self.kind, 0.6)
        with boundary(FIELD, self._damaged, ModelError):
            self.scale = float(facts.get("scale", usual))

    def read(self) -> dict[str, Tensor]:
        """All its weights."""
        with boundary(FIELD, self._damaged, ModelError), safe_open(self.path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping

    @cached_property
    def encoder(self) -> Path | None:
        """The folder of the image encoder that fits, beside the weights or in the folders above; None if the
        adapter reads pictures itself.

        Raises:
            ModelError: There is none, or it is of another width.
        """
        if self.kind == "drawn":
            return None
        if self._repository:
            _download(self._repository, f"*{ENCODER}/config.json", self._fetch)
        above = self.path.parent.parent
        there = [self.path.parent / ENCODER, *above.glob(f"*/{ENCODER}"), above / ENCODER]
        places = near(self.path, {place for place in there if (place / "config.json").is_file()})
        widths = {
            at: read_config(at / "config.json", self.id).get(self.head.encodes) for at in places
        }
        fitting = next((place for place, width in widths.items() if width == self.width), None)
        if fitting is None:
            found = (
                f"the one there gives {next(iter(widths.values()))}" if widths else "there is none"
            )
            said = (
                f"{shorten(self.id)} needs beside it an {ENCODER}/ that gives {self.width} numbers"
            )
            raise ModelError(
                FIELD, f"{said}, but {found}. Put the encoder it was trained with there."
            )
        if self._repository and not (fitting / "model.safetensors").is_file():
            _download(
                self._repository, f"{fitting.parent.name}/{ENCODER}/model.safetensors", self._fetch
            )
        return fitting

    def weights(self) -> tuple[int, int]:
        """Numbers in the adapter, and in its encoder."""
        files = self.encoder.glob("*.safetensors") if self.encoder else ()
        return count_weights(self.path), sum(map(count_weights, files))


def built_in() -> Path:
    """The adapter of the built-in model, which may not be there."""
    return ASSETS / "storybook" / "pictures.safetensors"


def _locate(id: str, wide: int, fetch: bool) -> tuple[Path, str]:
    """The file, and the repository of the hub that it is of."""
    if not id.strip() or len(id) > MAX_TEXT or not id.isprintable():
        raise ModelError(FIELD, f"{shorten(id)} was not found. Name an IP-Adapter.")
    if Path(id).suffix.lower() in PICKLES:
        if "faceid" in id.lower():
            raise ModelError(
                FIELD, f"{shorten(id)} {FACES}. Use a plain, Plus or Full face adapter."
            )
        beside = shorten(str(Path(id).with_suffix(".safetensors")))
        raise ModelError(
            FIELD, f"{shorten(id)} is a pickle and could run code when opened. Use {beside}."
        )
    if id == BUILT_IN and built_in().is_file():
        return built_in(), ""
    if local := find_local(id, ".safetensors") or (Path(id) if os.path.exists(id) else None):
        return (local if local.is_file() else _only(local, id)), ""
    if not (hub := _HUB.fullmatch(id)):
        where = f"a name in ${MODELS_VARIABLE}, a file, a folder, or OWNER/NAME/FILE of the hub"
        raise ModelError(FIELD, f"{shorten(id)} was not found. Use {where}.")
    wanted = hub[2].lstrip("/") or _USUAL[wide == _WIDE]
    file = Path(_download(hub[1], wanted, fetch)) / wanted
    if not file.is_file():
        said = f"{shorten(hub[1])} has no {shorten(wanted)}"
        raise ModelError(FIELD, f"{said}. Name a file of it, as OWNER/NAME/FILE.")
    return file, hub[1]


def _only(folder: Path, id: str) -> Path:
    files = sorted(folder.glob("*.safetensors"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files[:4])
        raise ModelError(
            FIELD, f"{shorten(id)} has several: {shorten(names)}. Name one, as FOLDER/FILE."
        )
    hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
    raise ModelError(FIELD, f"{shorten(id)} has no .safetensors weights{hint}. Download them.")


def _download(id: str, name: str, fetch: bool) -> str:
    with about(FIELD):
        return download(id, (name,), fetch)
