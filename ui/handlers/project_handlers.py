"""Projects on this machine: listed, opened, deleted; and files that are here already."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

from gradio import EventData, Request

from regrain.editing.errors import RequestError
from regrain.ui.handlers.base import (
    FIELDS,
    SESSION,
    address_of,
    event_data,
    explain,
    headers_of,
    key_of,
    page_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.handlers.session_handlers import SessionHandlers
from regrain.ui.server.own_machine import is_own_machine
from regrain.ui.server.runs import Changes
from regrain.ui.views import session_views

_NOTE = "This project is as you left it."


@dataclass(frozen=True)
class ProjectHandlers(SessionHandlers):
    """The list of projects."""

    @outputs("recent")
    def list(self, request: Request) -> Changes:
        """List the projects."""
        return self._listed(request)

    @outputs(*SESSION, *FIELDS, "recent")
    def open(self, event: EventData, request: Request) -> Changes:
        """Open a project that was picked."""
        try:
            folder = self._folder(event, request)
            session = self.visits.open_project(page_of(request), folder.name)
            return self.whole(session, _NOTE) | self._listed(request)
        except Exception as error:
            return self._listed(
                request,
                explain(error, "a project could not be opened"),
            )

    @outputs("recent")
    def delete(self, event: EventData, request: Request) -> Changes:
        """Remove a project; the page has asked before."""
        said = ""
        try:
            self.visits.projects.delete(self._folder(event, request).name)
        except Exception as error:
            said = explain(error, "a project could not be deleted")
        return self._listed(request, said)

    @outputs(*SESSION, *FIELDS, "recent")
    def path(self, event: EventData, request: Request) -> Changes:
        """Open a file of this machine by its path, of any size."""
        shown: Changes = {}
        said = ""
        try:
            if not may_open_paths(request):
                raise RequestError(
                    "path", "Files can be opened by path on your own machine only."
                )
            # gradio takes a "path" for a file that was uploaded
            path = str(event_data(event).get("place") or "")
            session, note = self.files.open_path(page_of(request), path)
            shown = (
                self.whole(session, _NOTE)
                if session.returned
                else self.opened(session, note)
            )
        except Exception as error:
            said = explain(error, "a file could not be opened")
        return shown | self._listed(request, said)

    def _folder(self, event: EventData, request: Request) -> Path:
        """Return the folder of a project that was picked; a RequestError if it is not
        there, or another visitor's."""
        key = key_of(event)
        return self.visits.projects.folder_of(key, _visitor(request))

    def _listed(self, request: Request, failed: str = "") -> Changes:
        shown = session_views.recent(
            self.visits.projects,
            may_open_paths(request),
            failed,
            _visitor(request),
        )
        return {"recent": replace(shown, time=time.time())}


def _visitor(request: Request) -> str | None:
    """Return the page whose projects alone may be seen; None for all of them, on one's
    own machine."""
    return None if may_open_paths(request) else page_of(request)


def may_open_paths(request: Request) -> bool:
    """Tell whether who asks sits at this machine, and no other machine passes on what
    they say."""
    headers = headers_of(request)
    if "x-forwarded-for" in headers or "forwarded" in headers:
        return False
    try:
        return is_own_machine() and ip_address(address_of(request)).is_loopback
    except ValueError:
        return False
