"""Files of clips: an example or an upload is opened, another part of it chosen, a
project saved."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

from gradio.utils import get_upload_folder

from regrain.editing.boundary import boundary
from regrain.editing.errors import ClipError, RequestError, shorten
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import FILE, load_project, save_project
from regrain.masks.io.files import Masks
from regrain.ui.server.media import Media, link_or_copy
from regrain.ui.session.clips import OpenedClip, is_archive, open_upload, prepare
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

MADE_WITH = b"Made with Regrain"  # comment of zip files
# bytes; projects and tuned models may be as large as the server takes
MAX_VIDEO = 100_000_000
MAX_ARCHIVE = 400_000_000  # bytes


Opening = tuple[Session, str]
"""A page's session, and what was left out or scaled, if anything."""


class ClipFiles:
    """Opens clips for pages and saves their projects; an error leaves a page as it
    was."""

    def __init__(self, visits: SessionStore, media: Media) -> None:
        self.visits = visits
        self.media = media

    def begin(self, page: str, opened: OpenedClip, anew: bool = True) -> Session:
        """Begin anew on a clip, or go on with another part of it; the files of the one
        before go."""
        session = self.visits.get(page, opened)
        self.visits.projects.keep(page, session)  # the clip that is left
        with session.lock:
            old = session.opened
            identity = secrets.token_hex(8)
            if anew:
                session.open(opened, identity)
            else:
                session.open_part(opened, identity)
        self.media.drop(old.folder)
        return session

    def upload(self, page: str, file: Path) -> Opening:
        """Open an uploaded file, which moves into the page's folder; raises as
        `open_upload` does."""
        check_upload(file, self.visits.projects.any_size)
        return self._open(page, file, shutil.move)

    def trim(self, page: str, part: object) -> Opening:
        """Use another part of one's clip: `start` from 0, `stride` and `frames` from 1;
        raises likewise."""
        file = self.visits.get(page).opened.file
        said = part if isinstance(part, dict) else {}
        start, stride, frames = (said.get(key) for key in ("start", "stride", "frames"))
        if file is None or not (
            _is_count(start) and _is_count(stride) and _is_count(frames)
        ):
            raise RequestError(
                "clip", "First frame, step and number of frames must be whole numbers."
            )
        return self._open(
            page, file, link_or_copy, start, max(1, stride), max(1, frames)
        )

    def open_path(self, page: str, path: str) -> Opening:
        """Open a file that is here by its path, of any size; or a project folder.

        Raises:
            EditingError: It is not there, or cannot be read.
        """
        file = Path(path.strip().strip("\"'")).expanduser()
        if file.name == FILE:
            file = file.parent
        projects = self.visits.projects
        if not path.strip() or not file.is_absolute():
            raise RequestError("path", "Give the whole path, like /home/you/clip.mp4.")
        if projects.root and file.parent == projects.root and file.is_dir():
            return self.visits.open_project(page, file.name), ""
        with boundary(
            "path", f"{shorten(file.name)} cannot be read. Check its rights."
        ):
            if not file.exists():
                raise RequestError(
                    "path", f"{shorten(str(file))} is not there. Check the path."
                )
        note = ""
        with self.media.opening(page) as folder:
            if file.is_dir():
                opened = prepare("", file.name, load_project(file), folder)
            else:
                any_size = projects.any_size
                opened, note = open_upload(file, folder, any_size=any_size)
        return self.begin(page, opened), note

    def _open(
        self, page: str, file: Path, take: Callable[[Path, Path], object], *part: int
    ) -> Opening:
        with self.media.opening(page) as folder:
            kept = place_for(file, folder)
            take(file, kept)
            any_size = self.visits.projects.any_size
            opened, note = open_upload(kept, folder, *part, any_size=any_size)
        return self.begin(page, opened, anew=not part), note

    def save(
        self,
        session: Session,
        request: EditRequest,
        whole: Masks | None,
        page: str,
    ) -> Path:
        """Write a project and pack it in place of the one before; `whole` as
        `whole_masks` returns it."""
        folder = self.media.new_clip(page)
        archive = pack_project(request, whole, folder)
        if session.saved:
            self.media.drop(session.saved)
        session.saved = folder
        return archive


def pack_project(request: EditRequest, whole: Masks | None, folder: Path) -> Path:
    """Write a request as `project.zip` into a folder, with whole masks where they
    overlap.

    Returns:
        The path of the archive.
    """
    return packed(
        folder / "project.zip", lambda inner: save_project(request, inner, whole)
    )


def packed(archive: Path, write: Callable[[Path], object]) -> Path:
    """Pack the files that `write` puts into a folder as a zip file, which says where it
    comes from.

    Returns:
        The path of the archive.
    """
    inner = archive.with_suffix("")
    inner.mkdir()
    write(inner)
    shutil.make_archive(str(inner), "zip", inner)
    shutil.rmtree(inner)
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = MADE_WITH  # its content may have been made by models
    return archive


def uploaded(upload: object) -> Path:
    """Return the file that a page says it has uploaded; only such are opened.

    Raises:
        ClipError: It is not there.
    """
    path = upload.get("path") if isinstance(upload, dict) else None
    if isinstance(path, str):
        folder = Path(get_upload_folder()).resolve()
        file = Path(path).resolve()
        if file.is_relative_to(folder) and file.is_file():
            return file
    raise ClipError("clip", "The upload did not arrive. Choose the file again.")


def check_upload(file: Path, any_size: bool = False) -> None:
    """Refuse, by a ClipError, a video that is too large to be opened here."""
    if any_size or is_archive(file):
        return
    size = file.stat().st_size
    if size > MAX_VIDEO:
        raise ClipError(
            "clip",
            f"The video has {size / 1e6:.0f} MB, but at most {MAX_VIDEO / 1e6:.0f} MB are allowed."
            " Shorten it or compress it.",
        )


def place_for(file: Path, folder: Path) -> Path:
    """Return the path an upload moves to: apart from files made here, some of which
    have usual names."""
    kept = folder / "upload" / file.name
    kept.parent.mkdir()
    return kept


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < 10**6
