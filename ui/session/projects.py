"""Projects: the folders on this machine in which the work of pages stays.

A folder holds what the command line reads (`project.json`, the clip, `masks-N.json`),
and beside it what the page alone knows: `page.json`, packed masks (`masks/`), pictures
of regions, and results. Masks and results are written once, under names of their own;
the two JSON files are replaced as a whole, after all that they name. So a process that
is killed at any time leaves the last whole state.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from pydantic import TypeAdapter

from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.media.coco import write_rle
from regrain.editing.media.reading import VideoClip
from regrain.editing.request.edit import Edit
from regrain.editing.request.project import (
    put_clip,
    put_files,
)
from regrain.editing.storage.folders import (
    replacing,
    trouble,
    visible,
)
from regrain.ui.server.media import Media, data_url
from regrain.ui.server.own_machine import is_own_machine
from regrain.ui.session.build_request import draft
from regrain.ui.session.clips import OpenedClip
from regrain.ui.session.examples import Examples
from regrain.ui.session.kept_project import (
    PAGE,
    VERSION,
    KeptProject,
    hold,
    keep_picture,
    link_into,
    mask_files,
    read_page,
    write_bytes,
)
from regrain.ui.session.kept_results import RESULTS, keep_result
from regrain.ui.session.project_file import describe_work
from regrain.ui.session.returned import Returned
from regrain.ui.session.session import Session, first_words
from regrain.ui.values.adapters import AdapterList, Entry
from regrain.ui.values.fields import Fields
from regrain.ui.values.kept import MASKS, Content, MaskFiles

log = logging.getLogger(__name__)
_ADAPTERS = "adapters"
_PICTURE = "picture.txt"  # a data URL
_QUIET = 1.0  # seconds without a change, after which project.json is written
_PAUSE = 0.2  # seconds between looks for what has changed
_SIDE = 168  # pixels of the longer side of a project's picture
_MAX_NAME = 60  # characters of a folder's name
_ENTRY = TypeAdapter(Entry)
Ask = Callable[[Session, Fields], Edit]
Sessions = Callable[[], Iterable[tuple[str, Session]]]


@dataclass(frozen=True)
class Listed:
    """A project in the list.

    Attributes:
        key: Name of its folder.
        title: As shown to people.
        used: When it was changed last, in seconds since 1970.
        size: Bytes of its files.
        picture: Data URL; empty where there is none.
        problem: Why it cannot be opened; empty if it can.
    """

    key: str
    title: str
    used: float
    size: int
    picture: str = ""
    problem: str = ""


class Projects:
    """The projects of this machine.

    Args:
        root: Their folder; None where nothing is kept on disk.
        examples: The clips that need no copy.
        unkept: Why nothing is kept, where something should be.

    Attributes:
        ask: Tells what a session with some values of the page's fields asks for.
        sessions: Those whose work is kept as it goes on, by page.
    """

    def __init__(
        self,
        root: Path | None,
        examples: Examples | None = None,
        unkept: str = "",
    ) -> None:
        self.root = root
        self.unkept = unkept
        self._examples = examples or {}
        self.ask: Ask | None = None
        self._saving = threading.Lock()
        self._awake = threading.Event()
        self.sessions: Sessions = lambda: ()
        self._watching = False

    @property
    def any_size(self) -> bool:
        """True if clips may have any size, in bytes and pixels: on one's own
        machine."""
        return self.root is not None and is_own_machine()

    # The list

    def listed(self, page: str | None = None) -> list[Listed]:
        """List the projects, or those that a page had open, the one that was used last
        first."""
        found = [self._listed(folder) for folder in self._folders(page)]
        return sorted(found, key=lambda one: one.used, reverse=True)

    def _folders(self, page: str | None = None) -> Iterator[Path]:
        if self.root is None or trouble(self.root):
            return
        for folder in visible(self.root):
            if trouble(folder) or not (folder / PAGE).is_file():
                continue
            if page is None or _page_of(folder) == page:
                yield folder

    def _listed(self, folder: Path) -> Listed:
        size = 0
        for file in folder.rglob("*"):
            with suppress(FileNotFoundError):  # another was written in its place
                size += file.stat().st_size if file.is_file() else 0
        used = _used(folder)
        try:
            content = read_page(folder)
        except EditingError as error:
            return Listed(folder.name, folder.name, used, size, "", error.message)
        picture = folder / _PICTURE
        shown = "" if trouble(picture) else picture.read_text(errors="ignore")
        title = str(content.get("title") or folder.name)
        return Listed(folder.name, title, used, size, shown)

    def of_page(self, page: str) -> Path | None:
        """Return the folder of the project that a page had open last; None if it had
        none."""
        return max(self._folders(page), key=_used, default=None)

    def folder_of(self, key: object, page: str | None = None) -> Path:
        """Return a project's folder; a RequestError if there is none of this key, or
        another page had it than the one that is given."""
        for folder in self._folders(page):
            if folder.name == key:
                return folder
        raise RequestError(
            "project", f"{shorten(str(key))} is not there any more. Choose another."
        )

    def delete(self, key: object) -> None:
        """Remove a project and all that is in it; a RequestError if it is open."""
        folder = self.folder_of(key)
        hold(folder).release()
        gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    # Opened

    def open(self, folder: Path, media: Media, page: str) -> Returned:
        """Open the clip of a project, which this process holds from now on.

        Raises:
            EditingError: It cannot be read, or another process holds it.
        """
        lock = hold(folder)
        try:
            kept = KeptProject.read(folder, lock)
            return Returned(kept, media, page, self._examples, self.any_size)
        except BaseException:
            lock.release()
            raise

    # Kept

    def wake(self) -> None:
        """Look for changes from now on, as long as there is a session."""
        if self.root is None:
            return
        self._awake.set()
        with self._saving:
            if self._watching:
                return
            self._watching = True
        threading.Thread(target=self._keep_all, name="projects", daemon=True).start()

    def _keep_all(self) -> None:
        while self._awake.wait():
            # before it looks: who comes meanwhile wakes it again
            self._awake.clear()
            open_now = list(self.sessions())
            if open_now:
                self._awake.set()
            for page, session in open_now:
                self.keep(page, session, whole=False)
            time.sleep(_PAUSE)

    def keep(self, page: str, session: Session, whole: bool = True) -> None:
        """Write what has changed in a session; what goes wrong is logged, and tried
        again with the next change.

        Unless it shall be `whole`, what the command line reads follows once nothing
        changes any more.
        """
        if self.root is None:
            return
        try:
            with self._saving:
                kept = self._keep(page, session)
                if kept and kept.told is not kept.said:
                    quiet = time.monotonic() - kept.changed > _QUIET
                    if whole or (quiet and not session.tracking):
                        self._keep_project(session, kept)
                session.unkept = False
        except Exception as error:  # of the disk, above all; the page goes on
            log.exception("a project could not be kept")
            if not session.unkept:
                why = error.strerror if isinstance(error, OSError) else "see the log"
                session.notice = (
                    f"Your work cannot be kept ({why}). Save the project now."
                )
            session.unkept = True

    def _keep(self, page: str, session: Session) -> KeptProject | None:
        """Write what the page needs to come back; returns where, if there is anything
        to keep."""
        with session.lock:
            said = session.kept_values
            kept = session.kept
            if kept and kept.said == said:
                return kept
            if kept is None and not is_worth(session):
                return None
            if kept is None:
                kept = self._begin(session)
            elif not kept.is_in(kept.folder):
                kept = self._follow(session, kept)
            masks = MaskFiles(kept.folder)
            content = describe_work(session, masks)
            content["fields"] = session.fields.content() if session.fields else None
            runs = session.history.of_clip(session.id)
            steps = session.steps
            states = [session.state, *steps.past, *steps.future]
            pictures = {
                region.picture for state in states for region in state.regions.values()
            }
            opened = session.opened
        folder = kept.folder
        _put_aside(session, kept)
        content |= _keep_clip(opened, kept)
        content |= _keep_adapters(session.adapters, folder)
        content |= {"version": VERSION, "title": opened.title, "page": page}
        content["results"] = [run.key for run in runs]
        for name in masks.named.keys() - kept.masks:
            write_bytes(folder / MASKS / name, masks.named[name])
        for picture in pictures:
            keep_picture(picture, folder)
        new = [run for run in runs if run.key not in kept.results]
        for run in new:
            keep_result(run, folder)
        if new or not (folder / _PICTURE).is_file():
            middle = opened.frames[len(opened.frames) // 2]
            picture = runs[0].picture if runs else data_url(middle, _SIDE, 80)
            write_bytes(folder / _PICTURE, picture.encode())
        kept.content = content
        kept.write_page()
        keys = {*content["results"]}
        for gone in kept.results - keys:
            shutil.rmtree(folder / RESULTS / gone, ignore_errors=True)
        kept.masks |= masks.named.keys()
        kept.results = keys
        kept.adapter = content["adapter"]
        kept.said = said
        kept.changed = time.monotonic()
        return kept

    def _begin(self, session: Session) -> KeptProject:
        """Begin a new folder for a session."""
        folder = self._new_folder(session.opened)
        session.kept = KeptProject(folder, hold(folder))
        return session.kept

    def _follow(self, session: Session, kept: KeptProject) -> KeptProject:
        """Return where a project goes on that is not where it was, or not as it was
        written last: under its new name, or else in a new folder."""
        for folder in self._folders():
            if kept.is_in(folder):
                kept.folder = folder
                return kept
        why = "is not there any more"
        if kept.folder.exists():
            why = "was changed by another program"
        kept.lock.release()
        begun = self._begin(session)
        session.notice = (
            f"The project {shorten(kept.folder.name)} {why}. It was begun anew as "
            f"{shorten(begun.folder.name)}, with all that is here."
        )
        return begun

    def _keep_project(self, session: Session, kept: KeptProject) -> None:
        """Write what the command line reads; masks under a new name, so that
        project.json always names whole ones."""
        folder = kept.folder
        with session.lock:
            if session.kept is not kept:  # another clip was opened meanwhile
                return
            said = kept.said
            state = session.state
            asked = draft(session, self._asked(session), [*state.regions.values()])
        adapter = folder / kept.adapter
        asked = replace(
            asked,
            picture=keep_picture(asked.picture, folder),
            regions=tuple(
                replace(region, picture=keep_picture(region.picture, folder))
                for region in asked.regions
            ),
            adapter=str(adapter) if adapter.is_file() else Path(kept.adapter).name,
        )
        _put_aside(session, kept)
        numbers = mask_files(folder)
        number = max(numbers.values(), default=0)
        if state.layers is not kept.masked:
            number += 1
        masks = f"masks-{number}.json"
        if state.layers and state.layers is not kept.masked:
            with replacing(folder / masks) as part:
                write_rle({label: session.masks(label) for label in state.layers}, part)
            kept.note(masks)
        kept.write_project(put_files(asked, folder, link_into, masks))
        for file in numbers:
            if file.name != masks and kept.written.pop(file.name, None):
                file.unlink()
        kept.masked = state.layers
        kept.told = said

    def _asked(self, session: Session) -> Edit:
        """Return what the session asks for; what its project said where a field is
        wrong just now."""
        asked = session.opened.request.asked
        if self.ask and session.fields:
            with suppress(EditingError):
                asked = self.ask(session, session.fields)
        return replace(asked, method=session.method, focus=session.focus)

    def _new_folder(self, opened: OpenedClip) -> Path:
        assert self.root is not None
        stem = re.sub(r"[^\w.-]+", " ", Path(opened.title).stem).strip(" .")
        name = stem[:_MAX_NAME] or "clip"
        folder = self.root / name
        number = 2
        self.root.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):  # or made by another process just now
                folder.mkdir()
                return folder
            folder = self.root / f"{name} {number}"
            number += 1


def _put_aside(session: Session, kept: KeptProject) -> None:
    """Keep what a person changed while the page was open, and say where it is."""
    aside = kept.put_aside()
    if not aside:
        return
    kept.masked = None  # masks may be among it
    session.notice = (
        f"{shorten(kept.folder.name)} was changed by hand while it is open here. The "
        f"change is kept beside it: {', '.join(aside)}."
    )


def _used(folder: Path) -> float:
    """Return when a project was changed last, in seconds since 1970."""
    return (folder / PAGE).stat().st_mtime


def _page_of(folder: Path) -> object:
    """Return the page that had a project open last; None if it cannot be read."""
    with suppress(EditingError):
        return read_page(folder).get("page")
    return None


def is_worth(session: Session) -> bool:
    """Tell whether there is anything to keep: one's own clip, or a change or a run of an
    example."""
    opened = session.opened
    if opened.own or session.rev or session.runs:
        return True
    if session.history.of_clip(session.id):
        return True
    # a tracker changes nothing by itself
    first = replace(first_words(opened), tracker=session.tracker)
    if session.words != first.words:
        return True
    words = attrgetter("name", "source", "prompt")
    before = list(map(words, opened.request.regions))
    return before != list(map(words, session.state.regions.values()))


def _keep_clip(opened: OpenedClip, kept: KeptProject) -> Content:
    """Link the clip into a project's folder, and say which part of it is used."""
    clip = opened.request.clip
    described = put_clip(opened.request, kept.folder, link_into)
    kept.note(described["path"])
    content: Content = {
        "clip": described,
        "example": opened.name,
        "served": opened.folder.name,
        "file": None,
    }
    if opened.file is not None:
        original = described["path"]
        if not isinstance(clip, VideoClip) or clip.path != opened.file:
            original = f"original{opened.file.suffix.lower()}"
            link_into(opened.file, kept.folder / original)
            kept.note(original)
        content["file"] = {
            "path": original,
            "start": opened.start,
            "stride": opened.stride,
            "frames": len(opened.frames),
        }
    return content


def _keep_adapters(adapters: AdapterList, folder: Path) -> Content:
    """Link the tuned models of a page, and say which is chosen."""
    kept = []
    used = ""
    chosen = adapters.chosen
    for entry in list(adapters.entries.values()):
        file = Path(entry.path)
        if not file.is_file():
            continue
        place = f"{_ADAPTERS}/{entry.key}{file.suffix}"
        link_into(file, folder / place)
        kept.append(_ENTRY.dump_python(replace(entry, path=place)))
        if entry is chosen:
            used = place
    if chosen and not used:
        used = chosen.path  # one of the server's, by its name
    return {"adapters": kept, "adapter": used}
