"""Masks come in from files and go out as files: for the clip that is open, in any form
of `masks.io`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gradio import EventData, Request

from regrain.editing.errors import EditingError, MaskError, RequestError
from regrain.editing.media.images import IMAGE_SUFFIXES
from regrain.masks.io.files import VIDEOS
from regrain.ui.handlers.base import Data, Handlers, event_data, page_of, told_if_full
from regrain.ui.handlers.outputs import outputs
from regrain.ui.server.runs import Changes
from regrain.ui.session.build_request import masks_of
from regrain.ui.session.mask_files import import_masks, write_tracks
from regrain.ui.session.session import StaleEvent
from regrain.ui.views import session_views
from regrain.ui.work.wording import sentence

ACCEPTED = [".zip", ".json", *IMAGE_SUFFIXES, *VIDEOS, ".mov", ".webm", ".gif"]
FORMS = {
    "png": "masks.zip",
    "coco": "masks.json",
    "mkv": "masks.mkv",
    "mp4": "masks.mp4",
}


@dataclass(frozen=True)
class MaskFileHandlers(Handlers):
    """Imports and exports the masks of a page."""

    @outputs("canvas", "cards", "prompt")
    def load(self, request: Request, files: list[str] | None) -> Changes:
        """Import masks that were uploaded: one file, or a picture per frame."""
        folder = self.media.new_clip(page_of(request))
        try:
            with told_if_full():
                session = self.session(request)
                note = import_masks(session, files or [], folder)
        except EditingError as error:
            return self._refused(request, error)
        finally:
            self.media.drop(folder)
        with session.lock:
            return {"canvas": session_views.canvas(session, -1, note)} | self.cards(
                session
            )

    @outputs("download", "canvas")
    def save(self, event: EventData, request: Request) -> Changes:
        """Export masks as a file; `form` is one of `FORMS`."""
        try:
            with told_if_full():
                path = self._save(page_of(request), event_data(event))
        except EditingError as error:
            return self._refused(request, error)
        return self.download(path, path.name)

    def _save(self, page: str, data: Data) -> Path:
        with self.visits.held(page, data) as session:
            masks = masks_of(session)
            regions = session.state.regions
            opened = session.opened
        form = str(data.get("form"))
        if form not in FORMS:
            raise RequestError(
                "form", f"{form[:20]!r} is not offered. Choose {' or '.join(FORMS)}."
            )
        if not masks:
            raise MaskError(
                "masks", "No region has a mask yet. Click an object in the frame first."
            )
        folder = self.media.new_clip(page)
        out = folder / FORMS[form]
        write_tracks(masks, regions, opened.clip.fps, out)
        if session.exported:
            self.media.drop(session.exported)
        session.exported = folder
        return out

    def _refused(self, request: Request, error: EditingError) -> Changes:
        if isinstance(error, StaleEvent):
            return {}
        try:
            session = self.session(request)
        except EditingError as missing:
            return {"canvas": session_views.lost(missing.message)}
        with session.lock:
            shown = session_views.canvas(
                session, session.rev, sentence(error), True, session.shown
            )
        return {"canvas": shown}
