"""A cache for expensive results that depend only on their key, such as inversions.

Entries are safetensors files named by the SHA-256 of their key. They are written under another name and
renamed, so a stopped run leaves no half entry; the least recently used are dropped above a size limit, small
ones last: they hold the finished windows of long clips.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrain import __version__
from regrain.editing.errors import shorten
from regrain.editing.storage.folders import remove_stale_in, replacing
from regrain.editing.storage.packages import installed
from regrain.editing.storage.safetensors_files import check_head

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
_DEFAULT_CAP = 4 << 30
_CHECKSUM, _KIND = "crc32", "kind"
_SMALL = 1 / 256  # of the limit: 16 MiB


def cache_folder() -> Path:
    """The cache folder: `$REGRAIN_CACHE`, else `regrain` in the user's cache directory."""
    if chosen := os.environ.get("REGRAIN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regrain"


@cache
def _versions() -> dict[str, str | None]:
    """What may compute the same thing otherwise."""
    return {"regrain": __version__} | {name: installed(name) for name in ("torch", "diffusers")}


def digest(key: Mapping[str, object]) -> str:
    """The SHA-256 of a JSON-able key and of the versions in use; bytes values count by their content."""
    plain = {
        k: hashlib.sha256(v).hexdigest() if isinstance(v, bytes) else v for k, v in key.items()
    }
    return hashlib.sha256(
        json.dumps(plain | {"versions": _versions()}, sort_keys=True).encode()
    ).hexdigest()


def load(key: Mapping[str, object]) -> dict[str, Tensor] | None:
    """Load the entry stored under `key`, or None. A damaged entry is removed and counts as missing."""
    if not (path := _entry(key)):
        return None
    try:
        tensors = _read(path)
    except OSError as error:
        log.warning("A cache entry cannot be read: %s.", error.strerror or error)
        return None
    except Exception:  # whatever is wrong with it, it can be made anew
        log.warning("A damaged cache entry is ignored and removed.")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    with suppress(OSError):  # its age alone; the store may be read-only
        path.touch()
    return tensors


def _entry(key: Mapping[str, object]) -> Path | None:
    """The file stored under `key`, if there is one."""
    path = cache_folder() / f"{digest(key)}.safetensors"
    return path if os.path.isfile(path) else None  # unlike Path.is_file, does not raise


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    check_head(path, "cache")
    with safe_open(path, framework="pt") as entry:
        tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (no mapping)
        kept = (entry.metadata() or {}).get(_CHECKSUM)
    if kept != _checksum(tensors):
        raise ValueError("other bytes than were stored")
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of all bytes: it finds every accident, and costs less than reading them."""
    import torch

    sum = 0
    for name, tensor in sorted(tensors.items()):
        sum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), sum)
        if tensor.numel():
            sum = zlib.crc32(tensor.contiguous().view(-1).view(torch.uint8).numpy().data, sum)
    return f"{sum:08x}"


def shape(key: Mapping[str, object], name: str) -> tuple[int, ...] | None:
    """The shape of a tensor of the entry stored under `key`; None if there is none. Reads no tensor."""
    from safetensors import safe_open

    if not (path := _entry(key)):
        return None
    try:
        with safe_open(path, framework="np") as entry:
            return tuple(entry.get_slice(name).get_shape())
    except Exception:  # missing, or damaged, which `load` says
        return None


def store(
    key: Mapping[str, object], tensors: Mapping[str, Tensor], cap: int = _DEFAULT_CAP
) -> None:
    """Store `tensors` under `key` and drop the oldest entries beyond `cap` bytes, small ones last.

    If the disk is full or read-only, this is only logged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder, kept = cache_folder(), {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
    try:
        with replacing(folder / f"{digest(key)}.safetensors") as partial:
            save_file(kept, partial, {_CHECKSUM: _checksum(kept), _KIND: str(key.get("kind", ""))})
        _trim(folder, cap)
    except OSError as error:
        log.warning("A result was not cached: %s.", error.strerror or error)
    except SafetensorError as error:  # how a full disk shows there
        log.warning("A result was not cached: %s.", shorten(str(error)))


class CacheEntry(NamedTuple):
    """A result in the cache: its file, its kind, such as "inversion", its bytes and when it was last used."""

    path: Path
    kind: str
    bytes: int
    used: float


def entries() -> Iterator[CacheEntry]:
    """What is in the cache; what cannot be read is of the kind "damaged"."""
    from safetensors import safe_open

    for path in sorted(cache_folder().glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                kind = (file.metadata() or {}).get(_KIND) or "older"
        except Exception:  # whatever is wrong with it
            kind = "damaged"
        with suppress(OSError):  # another process may have removed it
            yield CacheEntry(path, kind, (stat := path.stat()).st_size, stat.st_mtime)


def _trim(folder: Path, cap: int) -> None:
    remove_stale_in(folder)
    entries = [(path.stat(), path) for path in folder.glob("*.safetensors") if os.path.isfile(path)]
    entries.sort(key=lambda entry: (entry[0].st_size > _SMALL * cap, -entry[0].st_mtime))
    kept = 0
    for stat, path in entries:
        kept += stat.st_size
        if kept > cap:
            path.unlink(missing_ok=True)
