"""Tuned models that a page can choose: its own, which no other page sees, a project's,
the server's."""

from __future__ import annotations

import re
import secrets
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from regrain.editing.errors import EditingError, ModelError, RequestError, ResourceError
from regrain.editing.models.adapters import (
    Adapter,
    AdapterFacts,
    find_adapter,
    load_adapter,
    local_adapters,
    read_facts,
    save_adapter,
)
from regrain.editing.models.files.location import check_packed
from regrain.ui.server.media import Media

MAX_OWN = 12  # of a page
MAX_NAME = 60  # characters
_PROJECT = "project"


@dataclass(frozen=True)
class Entry:
    """A tuned model in the list."""

    key: str  # known to the browser, which never names a path
    name: str  # as shown
    path: str  # as in a request: a path, or a name in $REGRAIN_MODELS
    # read from its file; None where it cannot be read
    facts: Annotated[AdapterFacts | None, Field(exclude=True)]
    group: str  # the heading it is listed under

    @property
    def own(self) -> bool:
        """True if it belongs to the page, which may rename and download it."""
        return self.group != "On this server" and self.facts is not None

    @property
    def file_name(self) -> str:
        """The name of its file when it is downloaded."""
        return f"{_stem(self.name)}.safetensors"


Entries = Mapping[str, Entry]
"""Tuned models by key, in the order shown."""


class AdapterList:
    """The tuned models of one page. A run adds to them while the page reads them.

    Attributes:
        entries: By key, in the order shown.
        chosen: The one that a run uses; None for the model as it is.
        note: Says what could not be done, until the next act.
    """

    def __init__(self) -> None:
        self.entries: Entries = {}
        self.chosen: Entry | None = None
        self.note = ""
        self._changing = threading.Lock()

    @property
    def path(self) -> str:
        """The adapter of a request."""
        return self.chosen.path if self.chosen else ""

    def choose(self, key: object, server: Entries) -> None:
        """Choose by key; an empty one stands for none. A RequestError if it is gone."""
        self.chosen = _find(key, {**server, **self.entries}) if key else None

    def take_project(self, adapter: str) -> None:
        """List and choose the adapter of a project that was opened; the one of the
        project before goes."""
        self.entries = {
            key: entry for key, entry in self.entries.items() if key != _PROJECT
        }
        self.chosen = None
        self.note = ""
        if not adapter:
            return
        name = Path(adapter).stem
        facts = None
        try:
            facts = read_facts(find_adapter(adapter))
            name = facts.name or name
        except ModelError as error:
            self.note = error.message
        self.chosen = Entry(_PROJECT, name, adapter, facts, "Of this project")
        self.entries[_PROJECT] = self.chosen

    def restore(
        self, kept: Iterable[dict[str, str]], chosen: str, folder: Path
    ) -> None:
        """List the tuned models of a project folder, and choose one by its place there
        or, of the server's, by its name."""
        self.entries = {}
        self.chosen = None
        for one in kept:
            path = folder / one["path"]
            try:
                facts = read_facts(path)
            except ModelError as error:
                self.note = error.message
                continue
            entry = Entry(**one | {"path": str(path)}, facts=facts)
            self.entries[entry.key] = entry
            if one["path"] == chosen:
                self.chosen = entry
        if chosen and self.chosen is None:
            self.chosen = on_server().get(f"server-{chosen}")

    def keep(self, adapter: Adapter, media: Media, page: str) -> None:
        """Keep a version of a tuning; one that is here already is not kept twice.

        A full disk is noted; the run goes on.
        """
        facts = adapter.facts
        unnamed = facts.model_copy(update={"name": ""})
        for entry in list(self.entries.values()):
            known = entry.facts
            if known and known.model_copy(update={"name": ""}) == unnamed:
                return
        steps = "1 step" if facts.steps == 1 else f"{facts.steps} steps"
        name = self._free(facts.name or steps)
        try:
            path = _write(adapter, name, media, page)
        except (ResourceError, OSError):
            note = f"“{name}” was not kept here, since the disk is full."
            self.note = f"{note} Free some space, then run again."
        else:
            self._add(name, path, facts, "Made on this page", media)

    def add_file(self, file: Path, media: Media, page: str) -> None:
        """List and choose an uploaded file; it moves into the page's folder. A
        ModelError if it is none."""
        check_packed(file.name, "adapter")
        facts = read_facts(file)
        path = media.new_clip(page) / f"{_stem(file.stem)}.safetensors"
        shutil.move(file, path)
        self.chosen = self._add(
            self._free(facts.name or file.stem),
            path,
            facts,
            "Files",
            media,
        )

    def rename(self, key: object, name: object, media: Media, page: str) -> None:
        """Give one of the page's own another name, in its file too.

        Raises:
            EditingError: It is not the page's own, there is no name, or the disk is
                full.
        """
        entry = self.own(key)
        wanted = " ".join(str(name).split())[:MAX_NAME]
        if not wanted:
            raise RequestError("adapter", "The name is empty. Type one.")
        if wanted == entry.name:
            return
        wanted = self._free(wanted)
        path = _write(load_adapter(find_adapter(entry.path)), wanted, media, page)
        renamed = replace(entry, name=wanted, path=str(path), facts=read_facts(path))
        with self._changing:
            entries = dict(self.entries)
            if entry.key in entries:
                entries[entry.key] = renamed
            self.entries = entries
            if self.chosen is entry:
                self.chosen = renamed
        media.drop(Path(entry.path).parent)

    def own(self, key: object) -> Entry:
        """Return one of the page's own; a RequestError if there is none of this key."""
        own = {name: entry for name, entry in self.entries.items() if entry.own}
        return _find(key, own)

    def _add(
        self, name: str, path: Path, facts: AdapterFacts, group: str, media: Media
    ) -> Entry:
        with self._changing:
            key = f"own-{secrets.token_hex(8)}"
            entry = Entry(key, name, str(path), facts, group)
            # another one: pages may be reading the present one
            entries = dict(self.entries)
            removable = [
                one
                for one in entries.values()
                if one.key != _PROJECT and one is not self.chosen
            ]
            oldest = removable[: max(0, len(removable) - MAX_OWN + 1)]
            for old in oldest:
                del entries[old.key]
            entries[entry.key] = entry
            self.entries = entries
        for old in oldest:
            media.drop(Path(old.path).parent)
        return entry

    def _free(self, name: str) -> str:
        """Return a name that no other has: this one, or with a number."""
        used = {entry.name for entry in self.entries.values()}
        free = name
        number = 2
        while free in used:
            free = f"{name} ({number})"
            number += 1
        return free


def on_server() -> Entries:
    """Return the adapters in $REGRAIN_MODELS, by key."""
    found = {}
    for name in local_adapters():
        try:
            facts = read_facts(find_adapter(name))
        except EditingError:
            continue
        key = f"server-{name}"
        found[key] = Entry(key, facts.name or name, name, facts, "On this server")
    return found


def _find(key: object, entries: Entries) -> Entry:
    if str(key) not in entries:
        raise RequestError("adapter", "It was removed from the list. Choose another.")
    return entries[str(key)]


def _write(adapter: Adapter, name: str, media: Media, page: str) -> Path:
    """Write an adapter with a name in its file into a new folder of a page; returns its
    path."""
    facts = adapter.facts.model_copy(update={"name": name})
    with media.opening(page) as folder:
        path = folder / f"{_stem(name)}.safetensors"
        save_adapter(Adapter(facts, adapter.weights), path)
    return path


def _stem(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "tuned_model"
