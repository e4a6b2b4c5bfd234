"""Output folders: checked before any work, then written completely or not at all."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    suppress,
)
from functools import partial
from pathlib import Path
from unicodedata import normalize
from uuid import uuid4

from filelock import lock_descriptor

from regrain.editing.boundary import boundary
from regrain.editing.errors import RequestError, ResourceError, shorten

log = logging.getLogger(__name__)
_PARTIAL = ".partial"
# What file managers and other programs leave in folders and archives.
_LEFT_BEHIND = ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")
_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_MAX_STEM = 60  # characters of the name of a working folder that are its target's


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder of this name is none of the user's: hidden, or left
    behind by a program."""
    return name.startswith(".") or name in _LEFT_BEHIND


def named_by(variable: str) -> Path | None:
    """Return the path in an environment variable, without quotes around it and with `~`
    and variables expanded; None if it is not set."""
    given = os.environ.get(variable, "").strip().strip("\"'")
    return Path(os.path.expandvars(given)).expanduser() if given else None


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder and not hidden, sorted."""
    return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))


def stored(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder, in the form of Unicode in which it is
    stored."""
    forms = (name, normalize("NFC", name), normalize("NFD", name))
    places = [folder / form for form in forms]
    return next(filter(os.path.lexists, places), places[0])


def trouble(path: Path) -> str:
    """Say why a file or folder cannot be read; empty if it can."""
    # unlike methods of Path, none of these raises
    if os.path.islink(path) and not os.path.exists(path):
        return "a link to nothing"
    if not os.path.isfile(path) and not os.path.isdir(path):
        return "no file or folder"
    mode = os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK
    return "" if os.access(path, mode) else "cannot be read"


def readable(entries: Iterable[Path]) -> list[Path]:
    """Return the entries that can be read; the others are logged by name."""
    kept = []
    for entry in entries:
        if said := trouble(entry):
            log.warning("%s is left out: %s", entry.name, said)
        else:
            kept.append(entry)
    return kept


def check_writable(folder: Path) -> None:
    """Check, before any work, that a folder can be written or made; else RequestError
    about `--out`."""
    with boundary(
        "--out", f"{shorten(folder.name)} cannot be used. Choose a shorter name."
    ):
        nearest = Path(os.path.realpath(folder))
        while not nearest.exists() and not nearest.is_symlink():  # a broken link counts
            nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise RequestError(
            "--out", f"{str(nearest)!r} cannot be written. Choose another folder."
        )


def check_folder(out: Path) -> None:
    """Refuse, before any work, a folder for results that is a file or cannot be
    written, by a RequestError about `--out`."""
    # unlike Path.is_file, does not raise for a name that is too long
    if os.path.isfile(out):
        raise RequestError("--out", f"{shorten(out.name)} is a file. Choose a folder.")
    check_writable(out)


def check_replaced(out: Path, is_ours: Callable[[Path], bool], kind: str) -> None:
    """Refuse, before any work, a folder for results that is a file, cannot be written,
    or has more than what is ours, of a kind such as "result", and will be replaced."""
    check_folder(out)
    remove_stale(out)
    for entry in visible(out) if out.is_dir() else ():
        if not is_ours(entry):
            raise RequestError(
                "--out",
                f"{shorten(out.name)} contains {shorten(entry.name)}, which is not a "
                f"{kind}. Choose a new or empty folder.",
            )
    check_writable(out.absolute().parent)  # results are put together beside it


def check_apart(out: Path, *sources: Path) -> None:
    """Check that no input is or holds the output or is in it; else RequestError about
    `--out`."""
    there = Path(os.path.realpath(out))  # Path.resolve raises for links in a circle
    for source in sources:
        here = Path(os.path.realpath(source))
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise RequestError(
                "--out",
                f"{shorten(out.name)} overlaps the input. Choose a folder apart from it.",
            )


@contextmanager
def staged(target: Path, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield a folder next to `target` and move its entries there at the end; a failure
    changes nothing.

    `target` is made if missing; entries of the same names, and of those in `replaces`,
    are removed.

    Raises:
        ResourceError: The disk is full or cannot be written.
    """
    target = target.absolute()
    with writable():
        # A link may lead to another disk, across which nothing can be moved.
        target = target.resolve()
        with _working_folder(target, _same_disk(target)) as staging:
            yield staging
            target.mkdir(exist_ok=True)
            # A report comes last: where one is, all that it speaks of is there.
            written = sorted(staging.iterdir(), key=lambda path: path.suffix == ".json")
            replaced = staging / ".replaced"
            replaced.mkdir()
            for name in {*replaces, *(entry.name for entry in written)}:
                _move_away(target / name, replaced)
            for entry in written:
                _put(entry, target / entry.name, replaced)


def _put(entry: Path, place: Path, replaced: Path) -> None:
    """Move an entry to its place; what another process puts there meanwhile leaves."""
    while True:
        try:
            os.replace(entry, place)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _move_away(place, replaced)
        else:
            return


def _move_away(old: Path, replaced: Path) -> None:
    """Move what is replaced into a folder that will be removed."""
    with suppress(FileNotFoundError):
        os.replace(old, replaced / uuid4().hex)


def is_of_disk(error: BaseException) -> bool:
    """Tell whether an error says that a disk is full or cannot be written."""
    return isinstance(error, OSError) and error.errno in _OF_DISK


@contextmanager
def writable() -> Iterator[None]:
    """Turn what a disk answers that is full or cannot be written into a ResourceError
    of the field `--out`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or error
        raise ResourceError(
            "--out",
            f"It cannot be written ({why}). Free some space or choose another.",
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another path on the disk of `path`, whose folder is made if missing, and
    rename it at the end.

    Raises:
        OSError: The disk is full or cannot be written; `path` is unchanged.
    """
    path = path.absolute()
    with _working_folder(path, path.parent) as folder:
        partial = folder / path.name
        yield partial
        partial.replace(path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder, made if missing, for this process until the end of the block or of
    the process.

    Where folders cannot be locked, as on some network disks, no process is refused.

    Raises:
        RequestError: Another process holds it; the field is `--out`.
        ResourceError: It cannot be made.
    """
    with writable():
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, wait=False) as held:
        if held is False:
            raise RequestError(
                "--out",
                f"{shorten(folder.resolve().name)} is in use by another run. Wait or "
                "choose another folder.",
            )
        yield


def remove_stale(target: Path) -> None:
    """Remove the working folders of processes that were killed while they wrote to
    `target`."""
    with suppress(OSError):
        target = target.absolute().resolve()
        remove_stale_in(_same_disk(target), target.name)


def remove_stale_in(parent: Path, name: str = "") -> None:
    """Remove working folders of killed processes from a folder: those for `name`, or
    all without a name.

    Raises:
        OSError: The folder cannot be read.
    """
    stem = re.escape(name[:_MAX_STEM]) if name else ".+"
    _remove_unheld(parent, rf"\.{stem}\.[a-z0-9_]{{8}}{re.escape(_PARTIAL)}")


@contextmanager
def private(folder: Path, others: str) -> Iterator[None]:
    """Make a folder that this user alone can read, and remove it at the end of the
    block.

    Folders beside it whose names match `others` and whose processes were killed are
    removed first.

    Raises:
        OSError: The folder is there already, or cannot be made.
    """

    def make() -> Path:
        folder.mkdir(0o700)
        return folder

    with suppress(OSError):  # the parent can perhaps be written, but not read
        _remove_unheld(folder.parent, others)
    with _held(make):
        yield


def _remove_unheld(parent: Path, names: str) -> None:
    """Remove folders in `parent` whose names match the pattern `names` and that no
    process holds."""
    with os.scandir(parent) as entries:
        named = [entry for entry in entries if re.fullmatch(names, entry.name)]
    for entry in named:
        if not entry.is_dir(follow_symlinks=False):
            continue
        with _locked(entry.path, wait=False) as held:
            if held:
                shutil.rmtree(entry.path, ignore_errors=True)


def _working_folder(target: Path, parent: Path) -> AbstractContextManager[Path]:
    """Give a new folder in `parent` that is locked while this process lives, and
    removed at the end."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_stale_in(parent, target.name)
    start = f".{target.name[:_MAX_STEM]}."
    return _held(partial(tempfile.mkdtemp, _PARTIAL, start, parent))


@contextmanager
def _held(make: Callable[[], str | Path]) -> Iterator[Path]:
    """Make a folder, yield it locked, and remove it at the end."""
    while True:
        folder = Path(make())
        with _locked(folder, wait=True):
            # another process removed it as stale before it was locked
            if not folder.exists():
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def _locked(folder: str | Path, wait: bool) -> Iterator[bool | None]:
    """Hold a folder until the end of the block or of the process, however it ends.

    Yields:
        True if it is held, False if another process holds it, None where folders cannot
        be locked, as on some network disks. Only a folder that was locked can be known
        to be stale.
    """
    with ExitStack() as stack:
        held = None
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            held = lock_descriptor(handle, blocking=wait)
        yield held


def _same_disk(target: Path) -> Path:
    """Return a folder on the disk of `target`: its parent, or `target` itself if it is
    a mount point."""
    is_disk = target.is_dir() and target.stat().st_dev != target.parent.stat().st_dev
    return target if is_disk else target.parent
