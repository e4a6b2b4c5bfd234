"""What happens on events about earlier runs: shown again, compared, used again, removed, taken away."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, RequestError, shorten
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.media.reading import VideoClip
from regrain.editing.media.writing import timing_of
from regrain.editing.pipeline.outputs import write_edited_gif
from regrain.ui.handlers.base import Handlers, event_data, explain
from regrain.ui.session.clip_files import MADE_WITH
from regrain.ui.session.history import Choices, PastRun, compare, gone
from regrain.ui.session.session import Session
from regrain.ui.views import views
from regrain.ui.views.result_views import download_name


@dataclass(frozen=True)
class HistoryHandlers(Handlers):
    """The runs of a page."""

    def show(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """An earlier run was picked."""

        def show(session: Session) -> dict[Any, Any]:
            run = session.history.get(_of(event, "key"))
            shown = run.read()
            session.history.shown = (run.key,)
            return {self.parts.player: shown["player"], self.parts.result: shown["result"]}

        return self._act(request, show)

    def compare(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """Two were picked to be compared."""

        def show(session: Session) -> dict[Any, Any]:
            first, second = (session.history.get(_of(event, key)) for key in ("a", "b"))
            player = compare(first, second)
            session.history.shown = (first.key, second.key)
            return {self.parts.player: player, self.parts.result: None}

        return self._act(request, show)

    def remove(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """One is not wanted any more; if it was shown, the clip alone is."""

        def remove(session: Session) -> dict[Any, Any]:
            history = session.history
            was_shown = _of(event, "key") in history.shown
            self.media.drop(history.remove(_of(event, "key")).folder)
            if not was_shown:
                return {}
            return {self.parts.player: views.player(session.opened), self.parts.result: None}

        return self._act(request, remove)

    def use(self, event: gr.EventData, request: gr.Request, model: object) -> dict[Any, Any]:
        """The settings and words of one are wanted in the form."""

        def use(session: Session) -> dict[Any, Any]:
            choices = session.history.used = session.history.get(_of(event, "key")).choices
            with session.lock:
                note = _take(session, choices)
            return self._form(session, choices, model) | {
                self.parts.history: session.history.view(note)
            }

        return self._act(request, use)

    def fill(self, request: gr.Request) -> dict[Any, Any]:
        """Fields of a method that was hidden take a value only once they are shown."""
        try:
            choices = self.session(request).history.used
            return self._fields(choices) if choices else {self.parts.progress: gr.skip()}
        except EditingError as error:
            return self.failed(error)

    def make(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """A file is wanted that is made only now."""
        wanted = _of(event, "name")
        try:
            run = self.session(request).history.get(_of(event, "key"))
            if wanted not in MADE:
                raise RequestError("download", "This file cannot be made. Choose another.")
            path = MADE[wanted](run)
        except Exception as error:
            failed = explain(error, "a file could not be made")
            return {self.parts.download: {"failed": failed, "time": time.time()}}
        return self.download(path, path.name)

    def _act(self, request: gr.Request, act: Callable[[Session], dict[Any, Any]]) -> dict[Any, Any]:
        try:
            session = self.session(request)
            shown = act(session)
            return {self.parts.history: session.history.view()} | shown
        except EditingError as error:
            return self.failed(error)

    def _form(self, session: Session, choices: Choices, model: object) -> dict[Any, Any]:
        """Every field as it was when the run began."""
        # A field that has the value already is left alone: a change of model fills all others anew.
        other = {} if model == choices.model else {self.parts.model: choices.model}
        shown = other | self.cards(session) | self.settings(choices)
        shown[self.parts.cards] |= {"anew": time.time()}
        return shown | self._fields(choices)

    def _fields(self, choices: Choices) -> dict[Any, Any]:
        """The parameters of a run in the fields of its method; an EditingError if the model has gone."""
        controls = self.parts.controls
        values = self.catalogue.values(choices.method, choices.model, choices.params)
        return {**controls.fill(choices.method, values), **controls.fill_shared(values)}


def _take(session: Session, choices: Choices) -> str:
    """Put the words of a run into a session, by label or, on another clip, by region's name; what to say."""
    same = session.id == choices.clip
    asked = {region.label if same else region.name: region for region in choices.regions}
    regions = dict(session.state.regions)
    for label, region in session.state.regions.items():
        if found := asked.get(label if same else region.name):
            own = {
                name: getattr(found, name)
                for name in ("prompt", "source", "picture", "picture_scale")
            }
            regions[label] = replace(region, **own)
    session.state = replace(session.state, regions=regions)
    session.method, session.prompt = choices.method, choices.prompt
    if same or not session.source_prompt:
        session.source_prompt = choices.source_prompt
    names = {region.name for region in session.state.regions.values()}
    lacking = [
        shorten(region.name) for region in choices.regions if region.name not in names and not same
    ]
    if not lacking:
        return "Its words and settings are in the form now."
    return f"Its settings are in the form now, but no region here is called {' or '.join(lacking)}."


def _of(event: gr.EventData, key: str) -> Any:
    return event_data(event).get(key)


def make_gif(run: PastRun) -> Path:
    """An animated picture of a run's first edit, made once; a RequestError if its files are gone."""
    path, video = (
        run.folder / download_name(run.stem, "edited.gif"),
        run.folder / "out" / "edited.mp4",
    )
    if not path.is_file():
        if not video.is_file():
            raise gone()
        clip, part = VideoClip(video), path.with_suffix(".part")
        write_edited_gif(part, frames_of(clip), clip.fps, **timing_of(clip))
        part.replace(path)
    return path


def pack_masks(run: PastRun) -> Path:
    """The masks of a run as indexed PNGs in a zip file, as its project has them; raises likewise."""
    path, project = run.folder / download_name(run.stem, "masks.zip"), run.folder / "project.zip"
    if not path.is_file():
        if not project.is_file():
            raise gone()
        with zipfile.ZipFile(project) as source, zipfile.ZipFile(path, "w") as target:
            names = sorted(
                n for n in source.namelist() if n.startswith("masks/") and n.endswith(".png")
            )
            for name in names:
                target.writestr(name, source.read(name))
            target.comment = MADE_WITH
    return path


MADE = {"edited.gif": make_gif, "masks.zip": pack_masks}
"""By their usual name."""
