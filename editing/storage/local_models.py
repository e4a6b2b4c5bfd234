"""Shipped models and examples, and local models in $REGRAIN_MODELS. Only this module
reads that."""

from __future__ import annotations

import os
from pathlib import Path

from regrain.editing.storage.folders import visible

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
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else None


def local_entries() -> list[Path]:
    """List files and folders in the folder of local models, by name; none if it is
    missing."""
    folder = models_folder()
    if folder is None or not folder.is_dir():
        return []
    return visible(folder)


def find_local(name: str, *endings: str) -> Path | None:
    """Find a local model by its name, or its name and one of the endings; names cannot
    leave the folder."""
    folder = models_folder()
    if not folder or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    for ending in ("", *endings):
        path = folder / f"{name}{ending}"
        if os.path.exists(path):  # unlike Path.exists, does not raise
            return path
    return None
