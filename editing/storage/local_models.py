"""Where models are on this machine: those that ship, and $REGRAIN_MODELS. Only this module reads that."""

from __future__ import annotations

import os
from pathlib import Path

MODELS_VARIABLE = "REGRAIN_MODELS"
# What ships: a folder of the repository, a part of the package once installed.
ASSETS = Path(__file__).parents[2] / "assets"


def models_folder() -> Path | None:
    """The folder of local models; None if the variable is not set."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else None


def local_entries() -> list[Path]:
    """Files and folders in the folder of local models, by name; empty if it is missing."""
    folder = models_folder()
    return sorted(folder.iterdir()) if folder and folder.is_dir() else []


def find_local(name: str, *endings: str) -> Path | None:
    """Find a local model by its name, or its name and one of the endings; names cannot leave the folder."""
    folder = models_folder()
    if not folder or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    paths = (folder / f"{name}{ending}" for ending in ("", *endings))
    return next(
        (path for path in paths if os.path.exists(path)), None
    )  # unlike Path.exists, does not raise
