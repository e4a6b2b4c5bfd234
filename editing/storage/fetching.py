"""Files of the hub, fetched in a thread: how far they are, and a stop."""

from __future__ import annotations

import glob
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from regrain.editing.boundary import boundary
from regrain.editing.errors import EditingError, ModelError

_PULSE = 0.2  # seconds between two looks at how far it is


class Fetched(NamedTuple):
    """Bytes so far, and in all."""

    done: int
    total: int


class Stopped(Exception):
    """Raised in the thread that fetches once nobody waits for the files any more."""


@dataclass(eq=False)
class Fetching:
    """Files on their way.

    Attributes:
        done: Bytes that are here.
        total: Bytes in all, as far as they are known.
        stop: Set this to break off, in the middle of a file too.
    """

    done: int
    total: int
    stop: bool = False

    def load(self, repository: str, names: Iterable[str], **where: Any) -> None:
        """Fetch files of a repository (`owner/name`), all of one revision.

        Files that are here are not fetched again, and those that were cut off go on
        from there.

        Args:
            where: Passed on to `snapshot_download`, such as `revision` and `local_dir`.
        Raises:
            Stopped: `stop` is set.
        """
        from huggingface_hub import snapshot_download

        snapshot_download(
            repository,
            allow_patterns=[glob.escape(name) for name in names],
            # after a stop, whole files are left rather than parts of many
            max_workers=1,
            tqdm_class=self._meter(),
            **where,
        )

    def _meter(self) -> Any:
        """Return a class of progress bars for the hub's client, which counts here and
        breaks off."""
        from huggingface_hub.utils.tqdm import tqdm

        fetching = self

        class Meter(tqdm):
            def __init__(self, *given: Any, **options: Any) -> None:
                # Another bar counts files, and a third the same bytes as they pass over
                # the network.
                of_network = str(options.get("name")).endswith(".transfer")
                self.counts = options.get("unit") == "B" and not of_network
                super().__init__(*given, **(options | {"disable": True}))

            def update(self, n: Any = 1) -> None:
                if self.counts:
                    fetching.done += int(n)
                if fetching.stop:
                    raise Stopped

        return Meter


def watched(
    work: Callable[[Fetching], None], total: int, done: int = 0
) -> Iterator[Fetched]:
    """Fetch in a thread; closing this generator stops it, but does not wait for its
    end.

    Args:
        work: Calls `Fetching.load`.
        total: Bytes in all, as far as they are known.
        done: Those that are here before.
    Yields:
        How far it is, a few times a second, and that all is here once `work` has ended.
    Raises:
        Exception: Whatever `work` raised.
    """
    fetching = Fetching(done, total)
    failed: list[Exception] = []

    def run() -> None:
        try:
            with suppress(Stopped):
                work(fetching)
        except Exception as error:  # noqa: BLE001 - raised again below, or nobody waits for it
            failed.append(error)

    thread = threading.Thread(target=run, name="fetch", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            yield Fetched(min(fetching.done, fetching.total), fetching.total)
            thread.join(_PULSE)
    finally:
        fetching.stop = True
    if failed:
        raise failed[0]
    yield Fetched(fetching.total, fetching.total)


def cached(id: str, name: str) -> Path | None:
    """Find a file of a repository that was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    with hub_error(id):
        place = try_to_load_from_cache(id, name)
    return Path(place) if isinstance(place, str) else None


def check_room(id: str, missing: int, folder: Path, field: str = "model") -> None:
    """Refuse, by a ModelError, files of which more bytes are missing than the disk of a
    folder has room for."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise ModelError(
            field,
            f"{id!r} needs {missing / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. "
            "Make room, or set HF_HOME or REGRAIN_MODELS to another disk.",
        )


def list_files(info: Any) -> dict[str, int]:
    """Return the files of a repository with their bytes (0 if unknown), from the hub's
    `ModelInfo`."""
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


@contextmanager
def hub_error(id: str, field: str = "model") -> Iterator[None]:
    """Say in a line what the hub's client failed at, whatever it raises.

    Raises:
        ModelError: The repository is gated, private or missing, or the hub cannot be
            reached.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import httpx

    offline = (LocalEntryNotFoundError, OfflineModeIsEnabled)
    unreachable = (*offline, ConnectionError, httpx.TransportError)
    known = {
        HFValidationError: "was not found, and is no id of the hub. Use one like "
        "owner/name, as the hub shows it.",
        GatedRepoError: "is gated. Accept its terms on the hub, then set HF_TOKEN or "
        "run `hf auth login`.",
        RepositoryNotFoundError: "is missing from the hub, or private. Check the "
        "spelling or set HF_TOKEN.",
        unreachable: "is not downloaded, and the hub cannot be reached. Go online "
        "once, or use one that is here.",
    }
    try:
        yield
    except (EditingError, Stopped):
        raise
    except Exception as error:
        said = [known[kind] for kind in known if isinstance(error, kind)]
        why = uncertified() or first_line(error)
        said.append(
            f"cannot be downloaded ({why}). Try again, or use one that is here."
        )
        with boundary(field, f"{id!r} {said[0]}", ModelError):
            raise


def uncertified() -> str:
    """Say that the client's certificates are not where a variable says; else empty."""
    named = os.environ.get("SSL_CERT_FILE")
    if not named or os.path.isfile(named):
        return ""
    return "$SSL_CERT_FILE names no file: correct it, or unset it"


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without the name of a file or an
    address; its kind if it says nothing."""
    said = isinstance(error, OSError) and error.strerror
    lines = str(said or error).strip().splitlines()
    return lines[0].partition(" for url")[0] if lines else type(error).__name__
