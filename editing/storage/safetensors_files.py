"""Heads of .safetensors files, checked before a library reads them: a length of 8
bytes, then JSON."""

from __future__ import annotations

import glob
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ModelError, shorten

if TYPE_CHECKING:
    import torch
    from torch import nn

DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
_NAME = re.compile(
    rf"({DIFFUSERS}|{TRANSFORMERS})(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.safetensors"
)
_PREFERRED = ("", "fp16", "bf16")  # of variants; others come after these
_MAX_HEAD = 16_000_000  # bytes; checkpoints of Stable Diffusion have less than one
_MAX_TENSORS = 50_000  # they have about 1,100


def check_head(path: Path, field: str) -> None:
    """Refuse a file with ModelError whose head is missing, or too large to be that of a
    model."""
    check_regular(path, field, ModelError)
    damaged = f"{shorten(path.name)} is damaged or not a .safetensors file. Download it again."
    with boundary(field, damaged, ModelError), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        head = file.read(min(length, _MAX_HEAD))
    if not head.lstrip().startswith(b"{") or len(head) < length <= _MAX_HEAD:
        raise ModelError(field, damaged)
    if length > _MAX_HEAD or head.count(b'"dtype"') > _MAX_TENSORS:
        said = (
            f"{shorten(path.name)} has a head too large for a model. Use another file."
        )
        raise ModelError(field, said)


class WeightFiles(NamedTuple):
    """The files of a part that are loaded.

    Attributes:
        stem: How their names begin.
        variant: What stands in their names after it, such as fp16; mostly empty.
        names: Their names.
    """

    stem: str
    variant: str
    names: tuple[str, ...]


def choose_weights(names: Iterable[str], stem: str = DIFFUSERS) -> WeightFiles | None:
    """Choose the files to load among those of a folder, which may have several
    variants; None if there are none.

    `stem` is that of the library that loads them, and comes first.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in sorted(names):
        match = _NAME.fullmatch(name)
        if match:
            start, before, after = match.groups()
            found.setdefault((start, before or after or ""), []).append(name)
    if not found:
        return None

    def place(key: tuple[str, str]) -> tuple[bool, int, str]:
        start, variant = key
        usual = variant in _PREFERRED
        rank = _PREFERRED.index(variant) if usual else len(_PREFERRED)
        return start != stem, rank, variant

    first = min(found, key=place)
    return WeightFiles(*first, tuple(found[first]))


def weight_files(folder: Path, stem: str = DIFFUSERS) -> list[Path]:
    """Return the files to load of a folder; see `choose_weights`. Where none has a
    known name, all .safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    chosen = choose_weights([file.name for file in files], stem)
    return files if chosen is None else [folder / name for name in chosen.names]


def state_of(place: Path) -> tuple[tuple[str, int, int], ...]:
    """Return the names, sizes and dates of a file and the .yaml beside it, or of the
    files of a folder and of its parts: what is replaced has others."""
    if place.is_dir():
        files = [*place.glob("*.*"), *place.glob("*/*.*")]
    else:
        files = [place, *place.parent.glob(f"{glob.escape(place.stem)}.y*ml")]
    found = []
    for file in sorted(files):
        with suppress(OSError):  # loading says what is wrong with it
            stat = file.stat()
            found.append((file.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def read_weights(kind: Any, folder: Path, id: str, dtype: torch.dtype) -> nn.Module:
    """Read one diffusers or transformers model from its folder.

    Raises:
        ModelError: There are no safetensors, or weights are missing.
    """
    stem = _stem_of(kind)
    files = weight_files(folder, stem)
    if not files:
        hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
        lacks = f"{shorten(id)} has no .safetensors weights in {folder.name}/{hint}."
        raise ModelError("model", f"{lacks} Download them.")
    for file in files:
        check_head(file, "model")
    said = f"{shorten(id)}: {folder.name}/ cannot be loaded. Its files are damaged, or of several models."
    chosen = choose_weights([file.name for file in files], stem)
    with (
        boundary("model", f"{said} Download it again.", ModelError),
        _named(folder, files, stem) as place,
    ):
        model, report = kind.from_pretrained(
            place,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=chosen.variant or None if chosen else None,
        )
    missing = report["missing_keys"]
    if missing:
        lacks = (
            f"lacks {len(missing)} weights, such as {min(missing)}. Download it again."
        )
        raise ModelError("model", f"{shorten(id)}: {folder.name}/ {lacks}")
    return model


def _stem_of(kind: Any) -> str:
    """Return how the library of a class of models names its files of weights."""
    library, *_ = kind.__module__.split(".")
    return TRANSFORMERS if library == "transformers" else DIFFUSERS


@contextmanager
def _named(folder: Path, files: list[Path], stem: str) -> Iterator[Path]:
    """Give a folder in which the only file of weights has the name that its library
    expects; the folder itself if it has, or if there are several files."""
    if len(files) != 1 or files[0].name.startswith(stem):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "config.json").symlink_to((folder / "config.json").absolute())
        _, _, end = files[0].name.partition(".")
        (place / f"{stem}.{end}").symlink_to(files[0].absolute())
        yield place
