"""Output folders: checked before any work, then written completely or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editing.errors import RequestError, ResourceError


def check_writable(folder: Path) -> None:
    """Check, before any work, that a folder can be written or made.

    Raises:
        RequestError: It cannot; the field is `--out`.
    """
    whole = folder.absolute()
    nearest = next(parent for parent in (whole, *whole.parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise RequestError("--out", f"{str(nearest)!r} cannot be written. Choose another folder.")


@contextmanager
def staged(target: Path, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield a folder next to `target` and move its entries there at the end; a failure changes nothing.

    Args:
        target: Folder to write into; made if missing. Entries of the same name are replaced.
        replaces: Further names that are removed from `target` at the end.

    Raises:
        ResourceError: The disk is full or cannot be written.
    """
    target = target.absolute()
    staging = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield staging
        target.mkdir(exist_ok=True)
        for name in {*replaces, *(entry.name for entry in staging.iterdir())}:
            _remove(target / name)
        for entry in list(staging.iterdir()):
            os.replace(entry, target / entry.name)
    except OSError as error:
        raise ResourceError(
            "--out",
            f"The folder cannot be written ({error.strerror or error}). Free some space or choose another.",
        ) from error
    finally:
        if staging:
            shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another path in the folder of `path`, which is made if missing, and rename it at the end.

    Raises:
        OSError: The disk is full or cannot be written; `path` is unchanged.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as handle:
        partial = Path(handle.name)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
