"""Counts of what a process holds, and what it still holds when its work has ended."""

from __future__ import annotations

import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

# Libraries keep arenas, and memory that many threads used is returned in part: what is
# left must not grow with the amount of work. 100 MB are a tenth of what the app has
# with the model loaded.
_MEMORY = 100e6


@dataclass(frozen=True)
class Held:
    """Resources of a process: threads, open files, child processes, bytes of memory,
    media of pages."""

    threads: int
    files: int
    children: int
    memory: int
    media_folders: int = 0
    media_files: int = 0


def count(process: int | None = None, media: Path | None = None) -> Held:
    """Count what a process holds now.

    Args:
        process: Its id; None for this process, whose threads are those that Python
            knows.
        media: Folder with a folder of media for each page.
    """
    gc.collect()
    folder = Path("/proc", str(process or "self"))
    tasks = list((folder / "task").iterdir())
    children = 0
    for task in tasks:
        children += len((task / "children").read_text().split())
    _, resident, *_ = (folder / "statm").read_text().split()
    media_folders = list(media.iterdir()) if media else []
    media_files = 0
    for one in media_folders:
        media_files += sum(path.is_file() for path in one.rglob("*"))
    return Held(
        threads=len(tasks) if process else threading.active_count(),
        files=len(os.listdir(folder / "fd")),
        children=children,
        memory=int(resident) * os.sysconf("SC_PAGE_SIZE"),
        media_folders=len(media_folders),
        media_files=media_files,
    )


def kept(before: Held, after: Held, spare: int = 0) -> list[str]:
    """Name what a process still holds; `spare` threads and open files may come and
    go."""
    left = []
    for name, more in (("threads", spare), ("files", spare), ("children", 0)):
        old = getattr(before, name)
        new = getattr(after, name)
        if new > old + more:
            left.append(f"{name} {old} -> {new}")
    if after.memory > before.memory + _MEMORY:
        left.append(f"memory {before.memory / 1e6:.0f} -> {after.memory / 1e6:.0f} MB")
    if after.media_folders or after.media_files:
        left.append(
            f"{after.media_folders} media folders with {after.media_files} files"
        )
    return left
