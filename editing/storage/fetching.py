"""Files of the hub, fetched in a thread of their own: how far it is, and a stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

_PULSE = 0.2  # seconds between two looks at how far it is


class Fetched(NamedTuple):
    """Bytes so far, and in all."""

    done: int
    total: int


class Stopped(Exception):
    """Nobody waits for the files any more."""


class Fetching:
    """Files on their way: bytes so far, and in all as far as they are known; `stop` is set to break off."""

    def __init__(self, total: int) -> None:
        self.done, self.total, self.stop = 0, total, False

    def load(self, repository: str, files: Mapping[str, int], **where: Any) -> None:
        """Fetch files of a repository (`owner/name`), given with their bytes or 0, one after the other.

        `where` is as `hf_hub_download` takes it, such as `revision` and `local_dir`. Raises Stopped if `stop`
        is set.
        """
        from huggingface_hub import hf_hub_download

        before = 0
        for name, size in files.items():
            if self.stop:
                raise Stopped
            self.done = before
            hf_hub_download(repository, name, tqdm_class=self._meter(), **where)
            before += size

    def _meter(self) -> Any:
        """What the hub's client takes for its progress bar: it counts here, and breaks off when stopped."""
        from huggingface_hub.utils.tqdm import tqdm

        fetching = self

        class Meter(tqdm):
            def __init__(self, *given: Any, **options: Any) -> None:
                super().__init__(*given, **(options | {"disable": True}))

            def update(self, n: Any = 1) -> None:
                fetching.done += int(n or 0)
                if fetching.stop:
                    raise Stopped

        return Meter


def watched(work: Callable[[Fetching], None], total: int) -> Iterator[Fetched]:
    """Fetch in a thread, by `work`, which calls `Fetching.load`; closing this generator stops it.

    Yields how far it is, a few times a second, and once `work` has ended that all is here; raises what it
    raised. `total` is in bytes, as far as they are known.
    """
    fetching, failed = Fetching(total), []

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
