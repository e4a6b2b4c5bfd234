"""Heads of .safetensors files, checked before a library reads them: a length of 8
bytes, then JSON."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from regrain.editing.boundary import boundary, check_link, check_regular
from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.beside_weights import read_marks, settle
from regrain.editing.storage.packed import OF_PARTS, is_packed, read_packed
from regrain.editing.storage.ready import check_finite
from regrain.editing.storage.texts import is_plain, read_text

if TYPE_CHECKING:
    import torch
    from safetensors import safe_open
    from torch import nn

LOADING = RLock()
"""Held while a network is built: what loads one changes, for all threads, how torch
makes weights, and another that is built meanwhile would have none."""
DIFFUSERS, TRANSFORMERS = "diffusion_pytorch_model", "model"
_NAME = re.compile(
    rf"(?:{DIFFUSERS}|{TRANSFORMERS})(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.safetensors"
)
_ENDING = ".safetensors"
_TEXTS = (".json", ".txt")
_SHARD = re.compile(r"-(\d+)-of-(\d+)")
_PREFERRED = ("", "fp16", "bf16")  # of variants; others come after these
GGUF = (
    "a GGUF, packed weights: put a Wan's transformer beside text_encoder/ in a "
    "folder of Wan, a UNet into unet/ of its folder. Of others use the .safetensors."
)
"""What to say of one, after its name."""
_PAGE = "a web page, not the file. Download it again."
# Of files that did not arrive, or are of another format: how they begin, in small
# letters, and what to say of them.
_OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, without the weights. Run `git "
    "lfs pull`.",
    b"gguf": GGUF,
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
}
_MAX_HEAD = 16_000_000  # bytes; checkpoints of Stable Diffusion have less than one
_MAX_TENSORS = 50_000  # they have about 1,100


def is_weights(path: Path) -> bool:
    """Tell whether a file is of weights that may be read, by its name."""
    return path.suffix.lower() == _ENDING or is_packed(path)


def check_head(path: Path, field: str) -> None:
    """Refuse a file with ModelError whose head is missing, or too large to be that of a
    model."""
    check_regular(path, field, ModelError)
    title = shorten(path.name)
    damaged = f"{title} is damaged or not a .safetensors file. Download it again."
    with boundary(field, damaged, ModelError), path.open("rb") as file:
        start = file.read(64)
        file.seek(8)
        length = int.from_bytes(start[:8], "little")
        head = file.read(min(length, _MAX_HEAD))
    for beginning, other in _OTHERS.items():
        if start.lstrip().lower().startswith(beginning):
            raise ModelError(field, f"{title} is {other}")
    if not head.lstrip().startswith(b"{") or len(head) < length <= _MAX_HEAD:
        raise ModelError(field, damaged)
    if length > _MAX_HEAD or head.count(b'"dtype"') > _MAX_TENSORS:
        raise ModelError(
            field,
            f"{title} has a head too large for a model. Use another file.",
        )


@contextmanager
def opened(
    path: Path, field: str = "model", title: str = "", framework: str = "np"
) -> Iterator[safe_open]:
    """Open a file for its head, or with the framework "pt" for its tensors; every
    failure is one line, which names the file by its title, by default its name.

    Raises:
        ModelError: It is missing or damaged, or the code inside the `with` fails.
    """
    from safetensors import safe_open

    check_head(path, field)
    with (
        boundary(
            field,
            f"{shorten(title or path.name)} is damaged or not a .safetensors file. Download it "
            "again.",
            ModelError,
        ),
        safe_open(path, framework) as file,
    ):
        yield file


def read_shapes(
    path: Path, part: str = ""
) -> tuple[Mapping[str, Sequence[int]], Mapping[str, str]]:
    """Read the shapes of the tensors of a file, by name, and its texts, by key.

    Args:
        path: The file; it may be one of packed weights if it is of a part that may be.
        part: The folder of the part that it is of.
    Raises:
        ModelError: See `opened` and `read_packed`.
    """
    if is_packed(path) and part in OF_PARTS:
        tensors, texts = read_packed(path, part)
        return {name: tensors[name].shape for name in tensors}, texts
    with opened(path) as file:
        names = [*file.keys()]
        shapes = {name: file.get_slice(name).get_shape() for name in names}
        return shapes, file.metadata() or {}


def choose_weights(names: Iterable[str], stem: str = DIFFUSERS) -> list[str]:
    """Choose the files to load among those of a folder, which may have several
    variants; none if no name is known.

    `stem` is that of the library that loads them, and comes first.
    """
    found: dict[tuple[bool, int, str], list[str]] = {}
    for name in sorted(names):
        if _NAME.fullmatch(name):
            variant = _variant(name)
            rank = (*_PREFERRED, variant).index(variant)
            place = (not name.startswith(stem), rank, variant)
            found.setdefault(place, []).append(name)
    return found[min(found)] if found else []


def _variant(name: str) -> str:
    """Return what stands in the name of a file after its stem, such as fp16; mostly
    empty."""
    match = _NAME.fullmatch(name)
    return (match[1] or match[2] or "") if match else ""


def weight_files(folder: Path, stem: str = DIFFUSERS) -> list[Path]:
    """Return the files to load of a folder; see `choose_weights`. Where none has a
    known name, all .safetensors files; where there are none, all of packed weights."""
    every = sorted(folder.glob("*.*"))
    files = [file for file in every if file.suffix.lower() == _ENDING]
    files = files or [file for file in every if is_packed(file)]
    chosen = choose_weights([file.name for file in files], stem)
    return [folder / name for name in chosen] or files


def packed_file(folder: Path, id: str) -> Path | None:
    """Return the packed file of a part; None if it has others. A ModelError if there
    are several."""
    files = weight_files(folder)
    if not files or not is_packed(files[0]):
        return None
    _check_whole(files, f"{shorten(id)}: {folder.name}/")
    return files[0]


def state_of(place: Path) -> tuple[tuple[str, int, int], ...]:
    """Return the names, sizes and dates of a file, or of the files of a folder and of
    its parts: what is replaced has others."""
    files = [place]
    if place.is_dir():
        files = [*place.glob("*.*"), *place.glob("*/*.*")]
    found = []
    for file in sorted(files):
        with suppress(OSError):  # loading says what is wrong with it
            stat = file.stat()
            found.append((file.name, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def check_links(folder: Path, id: str, field: str = "model") -> None:
    """Refuse a file or folder that is a link to nothing, or in which weights or texts
    are; see `check_link`."""
    check_link(folder, field, shorten(id))
    for file in sorted(folder.rglob("*.*")):
        if file.suffix in (_ENDING, *_TEXTS):
            name = file.relative_to(folder).as_posix()
            check_link(file, field, f"{shorten(id)}: {name}")


def quieten(library: str) -> None:
    """Let diffusers or transformers show no bars and tell nothing: what is wrong is
    raised, and said in a line."""
    its_log = import_module(f"{library}.utils.logging")
    its_log.set_verbosity_error()
    its_log.disable_progress_bar()


def read_weights(kind: Any, folder: Path, id: str, dtype: torch.dtype) -> nn.Module:
    """Read one diffusers or transformers model from its folder.

    Raises:
        ModelError: There are no safetensors, weights are missing, or some are not used,
            have scales that are not known, NaN or Inf.
    """
    library, *_ = kind.__module__.split(".")
    quieten(library)
    stem = TRANSFORMERS if library == "transformers" else DIFFUSERS
    files = weight_files(folder, stem)
    title = f"{shorten(id)}: {folder.name}/"
    if not files:
        raise no_weights(folder, title, "model")
    _check_whole(files, title)
    marks = {}
    for path in files:
        with opened(path, framework="pt") as file:
            marks |= read_marks(file, title)
    said = f"{title} cannot be loaded. config.json and weights do not fit together, or are damaged."
    variant = _variant(files[0].name)
    with (
        LOADING,
        boundary("model", f"{said} Download it again.", ModelError),
        _named(folder, files, stem, variant) as place,
    ):
        model, report = kind.from_pretrained(
            place,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            variant=variant or None,
            ignore_mismatched_sizes=True,  # which are reported
        )
        settle(model, marks, report["unexpected_keys"], title)
    for name, found, expected in sorted(report["mismatched_keys"]):
        said = f"{title} has {name} of {[*found]}, config.json says {[*expected]}"
        raise ModelError("model", f"{said}. Download it again.")
    check_read(report["missing_keys"], title)
    check_finite(model, title)
    return model


def check_read(missing: Collection[str], title: str) -> None:
    """Refuse files of a part without some of its weights, by their names."""
    if missing:
        raise ModelError(
            "model",
            f"{title} lacks {len(missing)} weights, such as "
            f"{min(missing)}. Download it again.",
        )


def no_weights(folder: Path, title: str, field: str) -> ModelError:
    """Return the error of a folder without weights that can be read."""
    hint = ", only pickles, which can run code" if any(folder.glob("*.bin")) else ""
    return ModelError(
        field, f"{title} has no .safetensors weights{hint}. Download them."
    )


def with_shards(path: Path, field: str) -> list[Path]:
    """Return a file or, if it is one of the shards of a file, all of them.

    Raises:
        ModelError: Some are missing.
    """
    shard = _SHARD.search(path.name)
    if shard is None:
        return [path]
    start, end = path.name[: shard.start()], path.name[shard.end() :]
    pattern = f"{start}-*-of-{shard[2]}{end}"
    files = sorted(path.parent.glob(pattern))
    _check_count(files, shard[2], shorten(path.name), field)
    return files


def _check_whole(files: list[Path], title: str) -> None:
    """Refuse a folder with several files of weights that are not the shards of one, or
    with some of them missing."""
    shards = [_SHARD.search(file.name) for file in files]
    if len(files) == 1 and not any(shards):
        return
    if not all(shards):
        names = ", ".join(shorten(file.name) for file in files[:2])
        said = f"{title} has several files of weights ({names})"
        raise ModelError("model", f"{said}. Keep one of them.")
    _check_count(files, shards[0][2], title, "model")  # type: ignore[index]


def _check_count(files: list[Path], count: str, title: str, field: str) -> None:
    """Refuse shards that are not as many as their names say."""
    if len(files) != int(count):
        said = f"{title} has {len(files)} of {int(count)} shards"
        raise ModelError(field, f"{said}. Download the others.")


@contextmanager
def without_marks(folder: Path) -> Iterator[Path]:
    """Give a folder whose texts are UTF-8 without the byte order mark that programs on
    Windows write, as libraries read them: the folder itself if all are."""
    files = {file.name: file for file in folder.iterdir() if file.is_file()}
    if any(_is_marked(file) for file in files.values()):
        with _laid_out(files) as place:
            yield place
    else:
        yield folder


def _is_marked(file: Path) -> bool:
    return file.suffix in _TEXTS and not is_plain(file)


@contextmanager
def _laid_out(files: Mapping[str, Path]) -> Iterator[Path]:
    """Give a folder with files by these names, their texts without a mark."""
    with tempfile.TemporaryDirectory() as made:
        for name, file in files.items():
            there = Path(made) / name
            if _is_marked(file):
                there.write_text(read_text(file), encoding="utf-8")
            else:
                there.symlink_to(file.absolute())
        yield Path(made)


@contextmanager
def _named(folder: Path, files: list[Path], stem: str, variant: str) -> Iterator[Path]:
    """Give a folder whose files are as their library expects: the only file of weights
    by its name, shards with an index, a configuration as `without_marks` gives it. The
    folder itself if they are."""
    config = folder / "config.json"
    name = files[0].name
    is_named = name.startswith(stem) and name.endswith(_ENDING)
    has_index = len(files) == 1 or any(folder.glob("*.index*.json"))
    if is_named and is_plain(config) and has_index:
        yield folder
        return
    if is_named:
        weights = {file.name: file for file in files}
    else:
        _, _, end = name.partition(".")
        weights = {f"{stem}.{end.lower()}": files[0]}
    with _laid_out({"config.json": config, **weights}) as place:
        if len(files) > 1:
            end = f".{variant}" if variant else ""
            _write_index(place / f"{stem}.safetensors.index{end}.json", files)
        yield place


def _write_index(index: Path, files: list[Path]) -> None:
    """Write the index of shards: the file of each weight."""
    places = {}
    for path in files:
        shapes, _ = read_shapes(path)
        places |= dict.fromkeys(shapes, path.name)
    content = {"metadata": {}, "weight_map": places}
    index.write_text(json.dumps(content), encoding="utf-8")
