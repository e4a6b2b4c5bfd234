"""The one folder the page may serve: example media, and a folder of random name per open page."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

MAX_AGE = 3600.0  # seconds without a run after which a page's files go


class Media:
    """Files the page serves, removed with the page, after an hour without a run, or with the process.

    Args:
        root: Folder to use; a new temporary one if None.
        clock: Seconds since the epoch.
    """

    def __init__(self, root: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        if root is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="regrain-")  # removed when this goes
            root = Path(self._temporary.name)
        self.root = root.resolve()
        self.examples = self.root / "examples"
        self._pages = self.root / "pages"
        self._clock = clock
        self._folders: dict[str, Path] = {}
        self._lock = threading.Lock()
        for folder in (self.examples, self._pages):
            folder.mkdir(parents=True, exist_ok=True)

    def new_run(self, page: str) -> Path:
        """Make an empty folder for one run of a page; what the page's earlier runs left is removed.

        Args:
            page: Identity of the open page; never part of a path.
        """
        self.sweep()
        with self._lock:
            folder = self._folders.setdefault(page, self._pages / secrets.token_urlsafe(16))
        if folder.is_dir():
            # The one before is still on the screen until this run has made something.
            for old in sorted(folder.iterdir(), key=lambda entry: entry.stat().st_mtime)[:-1]:
                shutil.rmtree(old, ignore_errors=True)
        run = folder / secrets.token_urlsafe(8)
        run.mkdir(parents=True)
        return run

    def forget(self, page: str) -> None:
        """Remove a page's files."""
        with self._lock:
            folder = self._folders.pop(page, None)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the files of pages that ran nothing for an hour."""
        with self._lock:
            for folder in list(self._pages.iterdir()):
                if self._clock() - folder.stat().st_mtime > MAX_AGE:
                    shutil.rmtree(folder, ignore_errors=True)
                    self._folders = {page: kept for page, kept in self._folders.items() if kept != folder}
