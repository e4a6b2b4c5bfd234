"""Fetch a published SAM from the hub into $REGRAIN_MODELS: JSON and safetensors alone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from regrain.editing.errors import ModelError
from regrain.editing.storage.fetching import Fetched, Fetching, watched
from regrain.editing.storage.local_models import MODELS_VARIABLE, models_folder
from regrain.masks.models.checkpoints import read

PATTERNS = ("*.json", "model.safetensors")


class HubFiles(NamedTuple):
    """A repository of the hub: its id, the folder's name here, and about how many bytes are fetched."""

    repository: str
    name: str
    size: int


SUGGESTED = HubFiles("facebook/sam2.1-hiera-tiny", "sam2.1-hiera-tiny", 156_000_000)


def why_not() -> str:
    """Why nothing can be fetched here, as a sentence; empty if it may be tried."""
    if os.environ.get("SPACE_ID"):
        return "Visitors of a Space cannot fetch models."
    if models_folder() is None:
        return f"Set {MODELS_VARIABLE} to a folder for models, then start the page again."
    from huggingface_hub import constants

    return "The hub is switched off here (HF_HUB_OFFLINE)." if constants.HF_HUB_OFFLINE else ""


def fetch(source: HubFiles = SUGGESTED) -> Iterator[Fetched]:
    """Fetch a checkpoint; closing this generator stops it. What came of it until then is removed.

    All files are of one revision, the newest when it begins.

    Yields:
        How far it is, a few times a second; as the last, once the folder is complete, that all is here.

    Raises:
        ModelError: Nothing can be fetched here, the hub cannot be reached or refuses, the folder cannot be
            written, or what came is not what was asked for.
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
        files = {
            file.rfilename: file.size or 0
            for file in info.siblings or ()
            if any(fnmatch(file.rfilename, pattern) for pattern in PATTERNS)
            and "/" not in file.rfilename
        }
        fetching.total = sum(files.values()) or fetching.total
        if (free := shutil.disk_usage(partial).free) < fetching.total:
            raise OSError(
                f"{fetching.total / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
            )
        fetching.load(source.repository, files, revision=info.sha, local_dir=partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's own notes
        read(partial)
        if (
            not fetching.stop and not (shelf / source.name).exists()
        ):  # another may have been quicker
            partial.chmod(0o755)  # temporary folders are closed to others
            partial.rename(shelf / source.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _explained(source: HubFiles, error: Exception) -> ModelError:
    """What went wrong, in a line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx

    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if isinstance(error, ModelError):
        said = f"The files of {source.repository} cannot be used ({reason}). Try again."
    elif isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = f"The hub refused {source.repository} (status {status}). Try again later."
    elif isinstance(
        error, (httpx.TransportError, ConnectionError, LocalEntryNotFoundError)
    ):  # or offline
        said = "The hub cannot be reached. Check the connection, then try again."
    elif isinstance(error, OSError):
        said = (
            f"{MODELS_VARIABLE} cannot be written ({reason}). Choose another folder, or make space."
        )
    else:
        said = f"{source.repository} cannot be fetched ({reason}). Try again later."
    return ModelError("models", said)
