"""Rules of one's own machine, where nobody else sees the page."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryFile

from regrain.editing.storage.folders import named_by
from regrain.editing.storage.local_models import MODELS_VARIABLE

VARIABLE = "REGRAIN_PROJECTS"
OPEN = ".open"  # folder of the files of open pages, on the disk of the projects
LOCAL = ("", "127.0.0.1", "localhost", "::1")


def is_own_machine() -> bool:
    """Tell whether the page is served to this machine alone."""
    if os.environ.get("SPACE_ID"):
        return False
    if os.environ.get("GRADIO_SHARE", "").lower() in ("1", "true"):
        return False
    # where gradio shares the page by itself
    if "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return False
    return os.environ.get("GRADIO_SERVER_NAME", "") in LOCAL


def projects_folder() -> Path | None:
    """Return $REGRAIN_PROJECTS, by default `~/Regrain` on one's own machine; None where
    nothing is kept."""
    if VARIABLE in os.environ:
        given = named_by(VARIABLE)
        return given and given.absolute()
    return Path.home() / "Regrain" if is_own_machine() else None


def keeping() -> tuple[Path | None, str]:
    """Return the folder in which work is kept, made if missing; None where there is
    none, and why, if there should be one."""
    try:
        folder = projects_folder()
        if folder is None:
            return None, ""
        (folder / OPEN).mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder / OPEN):
            return folder, ""
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody's home is known
        why = getattr(error, "strerror", None) or error
        return None, (
            f"Nothing stays here ({why}): save the project, or download your results. "
            f"To change that, set {VARIABLE} to a folder that can be written."
        )


def duplicate() -> str:
    """Return the address that copies the Space that serves the page, where the hardware
    that the README suggests is proposed; empty elsewhere."""
    space = os.environ.get("SPACE_ID")
    return f"https://huggingface.co/spaces/{space}?duplicate=true" if space else ""


def place_models(projects: Path | None) -> None:
    """Keep models beside the projects on one's own machine, unless `$REGRAIN_MODELS`
    names a folder: they can be fetched and dropped there at once."""
    if projects and is_own_machine():
        os.environ.setdefault(MODELS_VARIABLE, str(projects / "models"))
