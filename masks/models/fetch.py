"""Fetch a published SAM from the hub into $REGRAIN_MODELS: JSON and safetensors
alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from regrain.editing.errors import ModelError
from regrain.editing.storage.fetching import (
    Fetched,
    Fetching,
    first_line,
    list_files,
    uncertified,
    unreachable,
    watched,
)
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import read

PATTERNS = ("*.json", "model.safetensors")


class HubFiles(NamedTuple):
    """A repository of the hub: its id, the folder's name here, and about how many bytes
    are fetched."""

    repository: str
    name: str
    size: int


SUGGESTED = HubFiles("facebook/sam2.1-hiera-tiny", "sam2.1-hiera-tiny", 156_000_000)


def why_not() -> str:
    """Say in a sentence why nothing can be fetched here; empty if it may be tried."""
    if os.environ.get("SPACE_ID"):
        return "Visitors of a Space cannot fetch models."
    if models_folder() is None:
        return (
            f"Set {MODELS_VARIABLE} to a folder for models, then start the page again."
        )
    from huggingface_hub import constants

    return (
        "The hub is switched off here (HF_HUB_OFFLINE)."
        if constants.HF_HUB_OFFLINE
        else ""
    )


def fetch(source: HubFiles = SUGGESTED) -> Iterator[Fetched]:
    """Fetch a checkpoint; closing this generator stops it, and what has come until then
    is removed.

    All files are of one revision, the newest when it begins.

    Yields:
        How far it is, a few times a second; at the end, once the folder is complete,
        that all is here.

    Raises:
        ModelError: Nothing can be fetched here, the hub cannot be reached or refuses,
            the folder cannot be written, or what came is not what was asked for.
    """
    if reason := why_not():
        raise ModelError("models", reason)
    shelf = models_folder() or Path()
    try:
        yield from watched(lambda fetching: _load(source, shelf, fetching), source.size)
    except Exception as error:
        raise _explained(source, error) from error


def _load(source: HubFiles, shelf: Path, fetching: Fetching) -> None:
    """Fetch into a folder that gets its name at the end."""
    from huggingface_hub import HfApi

    shelf.mkdir(parents=True, exist_ok=True)
    # Of its own: one that was stopped may still wait for the network.
    partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=shelf))
    try:
        info = HfApi().model_info(source.repository, files_metadata=True)
        sizes = list_files(info)
        wanted = {
            name: size
            for name, size in sizes.items()
            if "/" not in name and any(fnmatch(name, pattern) for pattern in PATTERNS)
        }
        fetching.total = sum(wanted.values()) or fetching.total
        free = shutil.disk_usage(partial).free
        if free < fetching.total:
            raise OSError(
                f"{fetching.total / 1e6:.0f} MB are needed and "
                f"{free / 1e6:.0f} MB are free"
            )
        fetching.load(
            source.repository,
            wanted,
            revision=info.sha,
            local_dir=partial,
        )
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's own notes
        read(partial)
        is_there = (shelf / source.name).exists()  # another may have been quicker
        if not fetching.stop and not is_there:
            partial.chmod(0o755)  # temporary folders are closed to others
            partial.rename(shelf / source.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _explained(source: HubFiles, error: Exception) -> ModelError:
    """Say in a line what failed."""
    from huggingface_hub.errors import HfHubHTTPError

    reason = uncertified() or first_line(error)[:160]
    match error:
        case ModelError():
            said = f"The files of {source.repository} cannot be used ({reason}). Try again."
        case HfHubHTTPError():
            status = error.response.status_code
            said = f"The hub refused {source.repository} (status {status}). Try again later."
        case _ if isinstance(error, unreachable()):
            said = "The hub cannot be reached. Check the connection, then try again."
        case OSError() if not uncertified():
            said = (
                f"{MODELS_VARIABLE} cannot be written ({reason}). Choose another "
                "folder, or make space."
            )
        case _:
            said = f"{source.repository} cannot be fetched ({reason}). Try again later."
    return ModelError("models", said)
