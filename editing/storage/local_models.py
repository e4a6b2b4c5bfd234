"""Shipped models and examples, and local models in $REGRAIN_MODELS. Only this module
reads that."""

from __future__ import annotations

import os
from pathlib import Path

from regrain.editing.storage.folders import named_by, stored, trouble, visible
from regrain.editing.storage.packed import is_packed
from regrain.editing.storage.safetensors_files import GGUF

MODELS_VARIABLE = "REGRAIN_MODELS"
# Shipped files: a folder of the repository, a part of the package once installed.
ASSETS = Path(__file__).parents[2] / "assets"


def find_project(path: str | Path) -> Path:
    """Return a project folder as given or, for the bare name of an example where no
    such file is, its own."""
    path = Path(path)
    is_bare = path.name == str(path) and not os.path.lexists(path)
    example = ASSETS / "examples" / path
    if is_bare and os.path.isdir(example):
        return example
    return path


def models_folder() -> Path | None:
    """Return the folder of local models; None if the variable is not set."""
    return named_by(MODELS_VARIABLE)


def absent() -> str:
    """Say, after a name that was not found, that the folder of local models is not
    there; empty if it is, or none is set."""
    folder = models_folder()
    if folder is None or os.access(folder / ".", os.R_OK | os.X_OK):
        return ""
    return f" ${MODELS_VARIABLE} names no folder that can be read."


def local_entries() -> list[Path]:
    """List files and folders in the folder of local models that can be read, by name;
    none if it is missing."""
    return [entry for entry, said in _troubles().items() if not said]


def unreadable_entries() -> dict[str, str]:
    """List what else is in the folder of local models: why it cannot be read, by
    name."""
    return {entry.name: said for entry, said in _troubles().items() if said}


def _troubles() -> dict[Path, str]:
    folder = models_folder()
    return {
        entry: GGUF.rstrip(".") if is_packed(entry) else trouble(entry)
        for entry in (visible(folder) if folder and not absent() else ())
    }


def find_local(name: str, *endings: str) -> Path | None:
    """Find a local model by its name, or its name and one of the endings, though it may
    be a link to nothing; names cannot leave the folder."""
    folder = models_folder()
    if not folder or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    for ending in ("", *endings):
        path = stored(folder, f"{name}{ending}")
        if os.path.lexists(path):
            return path
    return None
