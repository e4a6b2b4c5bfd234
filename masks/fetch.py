"""Fetch a published SAM from the hub into $REGRAIN_MODELS: JSON and safetensors alone."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from editing.errors import ModelError
from editing.local_models import MODELS_VARIABLE, models_folder
from masks.checkpoints import read

PATTERNS = ("*.json", "model.safetensors")
_PULSE = 0.2  # seconds between two looks at how far it is


class Source(NamedTuple):
    """A repository of the hub: its id, the folder's name here, and about how many bytes are fetched."""

    repository: str
    name: str
    size: int


SUGGESTED = Source("facebook/sam2.1-hiera-tiny", "sam2.1-hiera-tiny", 156_000_000)


class Fetched(NamedTuple):
    """Bytes so far, and in all."""

    done: int
    total: int


def why_not() -> str:
    """Why nothing can be fetched here, as a sentence; empty if it may be tried."""
    if os.environ.get("SPACE_ID"):
        return "Visitors of a Space cannot fetch models."
    if models_folder() is None:
        return f"Set {MODELS_VARIABLE} to a folder for models, then start the page again."
    from huggingface_hub import constants

    return "The hub is switched off here (HF_HUB_OFFLINE)." if constants.HF_HUB_OFFLINE else ""


def fetch(source: Source = SUGGESTED) -> Iterator[Fetched]:
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
    download = _Download(source, models_folder() or Path())
    thread = threading.Thread(target=download.run, name="fetch", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            yield Fetched(download.done, download.total)
            thread.join(_PULSE)
    finally:
        download.stop = True
    if download.error:
        raise _explained(source, download.error) from download.error
    yield Fetched(download.total, download.total)


class _Stopped(Exception):
    """Nobody waits for it any more."""


class _Download:
    """The files of a repository, one after the other, into a folder that gets its name at the end."""

    def __init__(self, source: Source, shelf: Path) -> None:
        self.source, self.shelf = source, shelf
        self.done, self.total, self.stop = 0, source.size, False
        self.error: Exception | None = None

    def run(self) -> None:
        partial = None
        try:
            self.shelf.mkdir(parents=True, exist_ok=True)
            # Of its own: one that was stopped may still wait for the network.
            partial = Path(tempfile.mkdtemp(prefix=".fetching-", dir=self.shelf))
            self._load(partial)
            shutil.rmtree(partial / ".cache", ignore_errors=True)  # the hub's own notes
            read(partial)
            if not self.stop:
                partial.chmod(0o755)  # temporary folders are closed to others
                partial.rename(self.shelf / self.source.name)
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - raised again by `fetch`, or nobody waits for it
            self.error = error
        finally:
            if partial:
                shutil.rmtree(partial, ignore_errors=True)

    def _load(self, folder: Path) -> None:
        from huggingface_hub import HfApi, hf_hub_download

        info = HfApi().model_info(self.source.repository, files_metadata=True)
        files = {
            file.rfilename: file.size or 0
            for file in info.siblings or ()
            if any(fnmatch(file.rfilename, pattern) for pattern in PATTERNS) and "/" not in file.rfilename
        }
        self.total = sum(files.values()) or self.total
        if (free := shutil.disk_usage(folder).free) < self.total:
            raise OSError(f"{self.total / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
        meter: Any = self._meter()
        for before, name in zip(_sums(list(files.values())), files, strict=True):
            self.done = before
            hf_hub_download(
                self.source.repository, name, revision=info.sha, local_dir=folder, tqdm_class=meter
            )

    def _meter(self) -> type:
        """What the hub's client takes for its progress bar: it counts here, and breaks off when stopped."""
        from huggingface_hub.utils.tqdm import tqdm

        download = self

        class Meter(tqdm):
            def __init__(self, *given: Any, **options: Any) -> None:
                super().__init__(*given, **(options | {"disable": True}))

            def update(self, n: Any = 1) -> None:
                download.done += int(n or 0)
                if download.stop:
                    raise _Stopped

        return Meter


def _sums(sizes: list[int]) -> list[int]:
    """What comes before each."""
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _explained(source: Source, error: Exception) -> ModelError:
    """What went wrong, in a line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx

    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    if isinstance(error, ModelError):
        said = f"What came of {source.repository} cannot be used ({reason}). Try again."
    elif isinstance(error, HfHubHTTPError) and not isinstance(error, LocalEntryNotFoundError):
        status = error.response.status_code
        said = f"The hub refused {source.repository} (status {status}). Try again later."
    elif isinstance(
        error, (httpx.TransportError, ConnectionError, LocalEntryNotFoundError, OfflineModeIsEnabled)
    ):
        said = "The hub cannot be reached. Check the connection, then try again."
    elif isinstance(error, OSError):
        said = f"{MODELS_VARIABLE} cannot be written ({reason}). Choose another folder, or make space."
    else:
        said = f"{source.repository} cannot be fetched ({reason}). Try again later."
    return ModelError("models", said)
