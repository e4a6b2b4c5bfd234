"""Events about earlier runs: shown again, compared, used again, removed, downloaded."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gradio import EventData, Request

from regrain.editing.errors import RequestError, shorten
from regrain.editing.pipeline.layers import kept_layers
from regrain.editing.pipeline.outputs import EDITS, FORMATS, file_in, write_format
from regrain.ui.handlers.base import (
    FIELDS,
    METHOD,
    Handlers,
    beside_run,
    event_data,
    explain,
    key_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.clip_files import MADE_WITH
from regrain.ui.session.session import Session
from regrain.ui.values.history import Choices, PastRun, gone
from regrain.ui.views import session_views, settings
from regrain.ui.views.result_views import compared, download_name, history_view
from regrain.ui.views.shown import DownloadView
from regrain.ui.work.jobs import LAYERS

# What regions take over from those of an earlier run, and what only on the same clip,
# in whose pixels it is.
_TAKEN = ("prompt", "source", "negative", "strength", "picture", "picture_scale")
_OF_CLIP = ("margin", "feather")


_RUN = ("history", "player", "result", "progress")


@dataclass(frozen=True)
class HistoryHandlers(Handlers):
    """The runs of a page."""

    @outputs(*_RUN)
    @beside_run
    def show(self, event: EventData, request: Request) -> Changes:
        """Show an earlier run that was picked."""
        session = self.session(request)
        history = session.history
        run = history.get(key_of(event))
        shown = run.read()
        history.shown = (run.key,)
        return {
            "history": history_view(history, session.id),
            "player": shown["player"],
            "result": shown["result"],
        }

    @outputs(*_RUN)
    @beside_run
    def compare(self, event: EventData, request: Request) -> Changes:
        """Compare two that were picked."""
        session = self.session(request)
        history = session.history
        first, second = (history.get(event_data(event).get(key)) for key in ("a", "b"))
        player = compared(first, second)
        history.shown = (first.key, second.key)
        shown = history_view(history, session.id)
        return {"history": shown, "player": player, "result": None}

    @outputs(*_RUN)
    @beside_run
    def remove(self, event: EventData, request: Request) -> Changes:
        """Remove one; if it was shown, show the clip alone."""
        session = self.session(request)
        history = session.history
        key = key_of(event)
        was_shown = key in history.shown
        self.media.drop(history.remove(key).folder)
        shown: Changes = {"history": history_view(history, session.id)}
        if was_shown:
            shown["player"] = session_views.player(session.opened)
            shown["result"] = None
        return shown

    @outputs("history", "progress", "cards", "prompt", "addons", *METHOD, *FIELDS)
    @beside_run
    def use(self, event: EventData, request: Request, model: object) -> Changes:
        """Put the settings and words of one into the form, every field as it was when
        the run began."""
        session = self.session(request)
        history = session.history
        choices = history.get(key_of(event)).choices
        with session.lock:
            note = _take(session, choices)
        edit = choices.edit
        model_then = self.catalogue.model(edit.model)
        fields = settings.fields_of(self.catalogue, edit, model_then, edit.added)
        shown = self.cards(session) | self.method(edit.method, fields)
        shown |= self.added(edit.added, edit.model)
        # A field that has the value already is left alone: a change of model fills all
        # others anew.
        if model != edit.model:
            shown["model"] = edit.model
            session.filled = edit.model
        shown["cards"] = replace(shown["cards"], anew=time.time())
        shown["history"] = history_view(history, session.id, note)
        return shown

    @outputs("download")
    def make(self, event: EventData, request: Request) -> Changes:
        """Make a file that is made only when wanted."""
        wanted = event_data(event).get("name")
        try:
            run = self.session(request).history.get(key_of(event))
            if wanted not in MADE:
                raise RequestError(
                    "download", "This file cannot be made. Choose another."
                )
            path = MADE[wanted](run)
        except Exception as error:
            failed = explain(error, "a file could not be made")
            return {"download": DownloadView(failed=failed, time=time.time())}
        return self.download(path, path.name)


def _take(session: Session, choices: Choices) -> str:
    """Put the words of a run into a session, and return what the page says of it.

    They go to the regions of the same labels or, on another clip, of the same names.
    """
    same_clip = session.id == choices.clip
    taken = (*_TAKEN, *_OF_CLIP) if same_clip else _TAKEN
    regions = dict(session.state.regions)
    for label, region in regions.items():
        for asked in choices.regions:
            is_same = asked.label == label if same_clip else asked.name == region.name
            if is_same:
                own = {name: getattr(asked, name) for name in taken}
                regions[label] = replace(region, **own)
    session.state = replace(session.state, regions=regions)
    session.method = choices.edit.method
    if same_clip:
        session.focus = choices.edit.focus
    session.prompt = choices.prompt
    session.negative_prompt = choices.edit.negative_prompt
    if same_clip or not session.source_prompt:
        session.source_prompt = choices.edit.source_prompt
    names = {region.name for region in regions.values()}
    lacking = [
        shorten(asked.name) for asked in choices.regions if asked.name not in names
    ]
    if same_clip or not lacking:
        return "Its words and settings are in the form now."
    return f"Its settings are in the form now, but no region here is called {' or '.join(lacking)}."


def make_format(run: PastRun, name: str) -> Path:
    """Write a run's first edit in a format, once; a RequestError if its files are
    gone."""
    path = run.folder / download_name(run.stem, file_in(name))
    if not path.is_file():
        try:
            layers = kept_layers(run.folder / LAYERS, run.folder / "out" / EDITS[0])
        except FileNotFoundError:
            raise gone() from None
        write_format(name, layers, path)
    return path


def pack_masks(run: PastRun) -> Path:
    """Pack the masks of a run's project into a zip file, once; a RequestError if its
    files are gone."""
    path = run.folder / download_name(run.stem, "masks.zip")
    project = run.folder / "project.zip"
    if not path.is_file():
        if not project.is_file():
            raise gone()
        with zipfile.ZipFile(project) as source, zipfile.ZipFile(path, "w") as target:
            for name in sorted(source.namelist()):
                if name.startswith("masks/") and name.endswith(".png"):
                    target.writestr(name, source.read(name))
            target.comment = MADE_WITH
    return path


MADE: Mapping[str, Callable[[PastRun], Path]] = {
    **{file_in(name): partial(make_format, name=name) for name in FORMATS},
    "masks.zip": pack_masks,
}
"""By their usual name."""
