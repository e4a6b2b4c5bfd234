"""The folder of a project, which others may touch, too: another process, or a person.

A folder is known by the digest of its `page.json`, which changes with the work, and one
process holds it at a time. In `page.json` are the digests of the files that the command
line reads, so that what a person wrote since is seen before it would be replaced.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from regrain.editing.errors import RequestError
from regrain.editing.request.project import FILE
from regrain.editing.storage.folders import replacing
from regrain.ui.server.media import link_or_copy
from regrain.ui.values.kept import Content, damaged, picture_in

PAGE = "page.json"
VERSION = 1
_LOCK = ".lock"
_MASKS = re.compile(r"masks-(\d+)\.json")


Written = dict[str, list[str]]
"""Digests of what was written under a name; of two, the last may not be there yet."""


@dataclass(eq=False)
class KeptProject:
    """The folder in which a session's work on a clip is kept, and what it holds."""

    folder: Path
    lock: FileLock
    stamp: str = ""  # digest of page.json as it was written last
    written: Written = field(default_factory=dict)
    content: Content = field(default_factory=dict)  # of page.json
    masks: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    adapter: str = ""  # the one that is chosen: its place there, or its name
    said: tuple[object, ...] = ()  # what was written last, and when
    changed: float = 0.0
    # what of it is in project.json, and the layers of its masks
    told: tuple[object, ...] = ()
    masked: object = None

    @classmethod
    def read(cls, folder: Path, lock: FileLock) -> KeptProject:
        """Read what a folder that is held holds; a RequestError as `read_page`."""
        content = read_page(folder)
        written = content.pop("written", {})  # which older folders have not
        return cls(folder, lock, digest_of(folder / PAGE), written, content)

    def is_in(self, folder: Path) -> bool:
        """Tell whether a folder holds what was written here last."""
        return digest_of(folder / PAGE) == self.stamp

    def write_page(self) -> None:
        """Write page.json."""
        text = json.dumps({**self.content, "written": self.written}).encode()
        write_bytes(self.folder / PAGE, text)
        self.stamp = _digest(text)

    def note(self, *names: str) -> None:
        """Remember files as they are now: written here, or taken over."""
        for name in names:
            self.written[name] = [digest_of(self.folder / name)]

    def write_project(self, text: str) -> None:
        """Write project.json, and before it, that it will be so: of a process that is
        killed between them nobody takes it for a person's."""
        before = self.written.get(FILE, [])
        self.written[FILE] = [*before[-1:], _digest(text.encode())]
        self.write_page()
        write_bytes(self.folder / FILE, text.encode())

    def put_aside(self) -> list[str]:
        """Give files that somebody else has changed another name, under which they
        stay; returns those names."""
        aside = []
        for name in changed_by_hand(self.folder, self.written):
            file = self.folder / name
            aside.append(file.rename(_free(file, "by hand")).name)
        return aside


def hold(folder: Path) -> FileLock:
    """Hold a project for this process, until the lock is released or the process ends.

    Raises:
        RequestError: A page or another process holds it, or it cannot be written.
    """
    lock = FileLock(folder / _LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise RequestError(
            "project",
            "It is open, here or elsewhere. Open another clip there, then try again.",
        ) from None
    except OSError:
        raise RequestError(
            "project", "Its folder cannot be written. Check its rights."
        ) from None
    return lock


def read_page(folder: Path) -> Content:
    """Read a page.json; a RequestError if it is damaged, or of a later version."""
    try:
        content = json.loads((folder / PAGE).read_bytes())
        is_newer = content["version"] > VERSION
    except (OSError, ValueError, LookupError, TypeError):
        raise damaged() from None
    if is_newer:
        raise RequestError(
            "project", "It was made by a newer Regrain. Update this one to open it."
        )
    return content


def keep_page_before(folder: Path) -> str:
    """Keep a copy of page.json beside it; returns its name."""
    file = folder / PAGE
    copy = _free(file, "before")
    write_bytes(copy, file.read_bytes())
    return copy.name


def mask_files(folder: Path) -> dict[Path, int]:
    """Return the masks of a project that the command line reads, with their numbers."""
    found = {file: _MASKS.fullmatch(file.name) for file in folder.iterdir()}
    return {file: int(match[1]) for file, match in found.items() if match}


def digest_of(file: Path) -> str:
    """Return what tells a file from another one of its name: of a text its
    fingerprint, of a clip its size; empty if it is not there."""
    if not file.is_file():
        return ""
    if file.suffix == ".json":
        return _digest(file.read_bytes())
    return str(file.stat().st_size)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def changed_by_hand(folder: Path, written: Written) -> list[str]:
    """List the files that are there and not as they were written."""
    now = {name: digest_of(folder / name) for name in written}
    return [name for name, digest in now.items() if digest not in ("", *written[name])]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole."""
    with replacing(path) as part:
        part.write_bytes(content)


def _free(file: Path, word: str) -> Path:
    """Return a name beside a file that nothing has: with a word, and a number if there
    is one already."""
    place = file.with_stem(f"{file.stem} {word}")
    number = 2
    while place.exists():
        place = file.with_stem(f"{file.stem} {word} {number}")
        number += 1
    return place


def link_into(source: Path, target: Path) -> None:
    """Link a file into a folder, in place of another one of its name, unless it is
    there."""
    same = target.is_file() and target.stat().st_size == source.stat().st_size
    if same and target.stat().st_mtime_ns == source.stat().st_mtime_ns:
        return
    with replacing(target) as part:
        link_or_copy(source, part)


def keep_picture(path: str, folder: Path) -> str:
    """Link a picture into a project's folder, and return its path there; empty without
    one."""
    if not path:
        return ""
    place = folder / picture_in(path)
    if Path(path).is_file():
        link_into(Path(path), place)
    return str(place)
