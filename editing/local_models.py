"""The folder of models on this machine, named by $REGRAIN_MODELS. The variable is read here only."""

from __future__ import annotations

import os
from pathlib import Path

MODELS_VARIABLE = "REGRAIN_MODELS"


def models_folder() -> Path | None:
    """The folder; None where the variable is not set."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else None


def local_entries() -> list[Path]:
    """Files and folders in it, by name; none where it is not there."""
    folder = models_folder()
    return sorted(folder.iterdir()) if folder and folder.is_dir() else []


def find_local(name: str, *endings: str) -> Path | None:
    """Its entry of this name, or of the name and one of the endings. Names cannot lead out of the folder."""
    folder = models_folder()
    if not folder or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    paths = (folder / f"{name}{ending}" for ending in ("", *endings))
    return next((path for path in paths if os.path.exists(path)), None)  # quiet about impossible names
