"""A cache for expensive results that depend only on their key, such as inversions.

Entries are safetensors files named by the SHA-256 of their key. They are written under
another name and renamed, so a stopped run leaves no half entry; the least recently used
are dropped above a size limit, small ones last: they hold the finished windows of long
clips.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrain import __version__
from regrain.editing.errors import shorten
from regrain.editing.storage.folders import named_by, remove_stale_in, replacing
from regrain.editing.storage.packages import installed
from regrain.editing.storage.safetensors_files import check_head
from regrain.editing.storage.texts import Values

if TYPE_CHECKING:
    from regrain.editing.storage.by_name import Tensors, Weights

log = logging.getLogger(__name__)
_DEFAULT_CAP = 4 << 30
_CHECKSUM, _KIND = "crc32", "kind"
_SMALL = 1 / 256  # of the limit: 16 MiB


def cache_folder() -> Path:
    """Return the cache folder: `$REGRAIN_CACHE`, else `regrain` in the user's cache
    directory."""
    caches = named_by("XDG_CACHE_HOME") or Path.home() / ".cache"
    return named_by("REGRAIN_CACHE") or caches / "regrain"


@cache
def _versions() -> dict[str, str | None]:
    """Versions that can change results."""
    return {
        "regrain": __version__,
        "torch": installed("torch"),
        "diffusers": installed("diffusers"),
    }


def digest(key: Values) -> str:
    """Return the SHA-256 of a JSON-able key and of the versions in use; bytes count by
    their content."""
    plain = dict(key)
    for name, value in key.items():
        if isinstance(value, bytes):
            plain[name] = hashlib.sha256(value).hexdigest()
    plain["versions"] = _versions()
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load(key: Values) -> Tensors | None:
    """Load the entry stored under `key`, or None. A damaged entry is removed and counts
    as missing."""
    path = _entry(key)
    if path is None:
        return None
    try:
        tensors = _read(path)
    except OSError as error:
        log.warning("A cache entry cannot be read: %s.", error.strerror or error)
        return None
    except Exception:
        # safetensors raises many kinds; whatever it is, the entry can be made anew
        log.warning("A damaged cache entry is ignored and removed.")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # marks it as used; the store may be read-only
        path.touch()
    return tensors


def _entry(key: Values) -> Path | None:
    """Return the file stored under `key`, or None."""
    path = cache_folder() / f"{digest(key)}.safetensors"
    return path if os.path.isfile(path) else None  # unlike Path.is_file, does not raise


def _read(path: Path) -> Tensors:
    from safetensors import safe_open

    check_head(path, "cache")
    with safe_open(path, framework="pt") as entry:
        tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (no mapping)
        kept = (entry.metadata() or {}).get(_CHECKSUM)
    if kept != _checksum(tensors):
        raise ValueError("other bytes than were stored")
    return tensors


def _checksum(tensors: Weights) -> str:
    """CRC-32 of all bytes: it detects accidental damage, and costs less than reading
    them."""
    import torch

    crc = 0
    for name, tensor in sorted(tensors.items()):
        head = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        crc = zlib.crc32(head.encode(), crc)
        if tensor.numel():
            numbers = tensor.contiguous().view(-1)
            crc = zlib.crc32(numbers.view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def shape(key: Values, name: str) -> tuple[int, ...] | None:
    """Return the shape of a tensor of the entry stored under `key`, or None. Reads no
    tensor."""
    from safetensors import safe_open

    path = _entry(key)
    if path is None:
        return None
    try:
        with safe_open(path, framework="np") as entry:
            return tuple(entry.get_slice(name).get_shape())
    except Exception:
        # the tensor is missing, or the file damaged, which `load` reports
        return None


def store(key: Values, tensors: Weights, cap: int = _DEFAULT_CAP) -> None:
    """Store `tensors` under `key` and drop the oldest entries beyond `cap` bytes, small
    ones last.

    If the disk is full or read-only, this is only logged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder = cache_folder()
    kept = {
        name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()
    }
    metadata = {_CHECKSUM: _checksum(kept), _KIND: str(key.get("kind", ""))}
    try:
        with replacing(folder / f"{digest(key)}.safetensors") as partial:
            save_file(kept, partial, metadata)
        _trim(folder, cap)
    except OSError as error:
        log.warning("A result was not cached: %s.", error.strerror or error)
    except SafetensorError as error:  # as safetensors reports a full disk
        log.warning("A result was not cached: %s.", shorten(str(error)))


class CacheEntry(NamedTuple):
    """A result in the cache: its file, its kind, such as "inversion", its bytes and
    when it was last used."""

    path: Path
    kind: str
    bytes: int
    used: float


def entries() -> Iterator[CacheEntry]:
    """Yield the entries of the cache; an unreadable file is of the kind "damaged"."""
    from safetensors import safe_open

    for path in sorted(cache_folder().glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
            kind = metadata.get(_KIND) or "older"
        except Exception:  # safetensors raises many kinds
            kind = "damaged"
        with suppress(OSError):  # another process may have removed it
            stat = path.stat()
            yield CacheEntry(path, kind, stat.st_size, stat.st_mtime)


def _trim(folder: Path, cap: int) -> None:
    remove_stale_in(folder)
    files = [
        (path, path.stat())
        for path in folder.glob("*.safetensors")
        if os.path.isfile(path)
    ]
    files.sort(key=lambda file: (file[1].st_size > _SMALL * cap, -file[1].st_mtime))
    kept = 0
    for path, stat in files:
        kept += stat.st_size
        if kept > cap:
            path.unlink(missing_ok=True)
