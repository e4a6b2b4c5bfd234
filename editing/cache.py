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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from editing.folders import replacing

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
_DEFAULT_CAP = 4 << 30
_SMALL = 1 / 256  # of the limit: 16 MiB


def cache_folder() -> Path:
    """The cache folder: `$REGRAIN_CACHE`, else `regrain` in the user's cache directory."""
    if chosen := os.environ.get("REGRAIN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regrain"


def digest(key: Mapping[str, object]) -> str:
    """Compute the SHA-256 of a JSON-able key; bytes values count by their content."""
    plain = {k: hashlib.sha256(v).hexdigest() if isinstance(v, bytes) else v for k, v in key.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def load(key: Mapping[str, object]) -> dict[str, Tensor] | None:
    """Load the entry stored under `key`, or None. A damaged entry is removed and counts as missing."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = cache_folder() / f"{digest(key)}.safetensors"
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except SafetensorError:
        log.warning("A damaged cache entry is ignored and removed.")
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return None
    except OSError as error:
        log.warning("A cache entry cannot be read: %s.", error.strerror or error)
        return None
    with suppress(OSError):  # its age alone; the store may be read-only
        path.touch()
    return tensors


def shape(key: Mapping[str, object], name: str) -> tuple[int, ...] | None:
    """The shape of a tensor of the entry stored under `key`; None if there is none. Reads no tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(cache_folder() / f"{digest(key)}.safetensors", framework="np") as entry:
            return tuple(entry.get_slice(name).get_shape())
    except (SafetensorError, OSError):
        return None


def store(key: Mapping[str, object], tensors: Mapping[str, Tensor], cap: int = _DEFAULT_CAP) -> None:
    """Store `tensors` under `key` and drop the oldest entries beyond `cap` bytes, small ones last.

    If the disk is full or read-only, this is only logged.
    """
    from safetensors.torch import save_file

    folder = cache_folder()
    try:
        with replacing(folder / f"{digest(key)}.safetensors") as partial:
            save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, partial)
        _trim(folder, cap)
    except OSError as error:
        log.warning("A result was not cached: %s.", error.strerror or error)


def _trim(folder: Path, cap: int) -> None:
    entries = [(path.stat(), path) for path in folder.glob("*.safetensors")]
    entries.sort(key=lambda entry: (entry[0].st_size > _SMALL * cap, -entry[0].st_mtime))
    kept = 0
    for stat, path in entries:
        kept += stat.st_size
        if kept > cap:
            path.unlink(missing_ok=True)
