"""Cuts of the clip that a page has open: found once, in a thread, and used by its runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regrain.editing.errors import EditingError
from regrain.editing.params.written import write_cuts
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.plan import scan
from regrain.ui.forms import views
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)


def find_cuts(visits: SessionStore, page: str, data: Mapping[str, Any]) -> views.View | None:
    """Look for the cuts of the clip that a page shows, which takes 10 to 15 ms a frame.

    Args:
        visits: The documents of all open pages.
        page: The page's name.
        data: Identity of the clip (`id`) and the revision that the page has (`have`).

    Returns:
        The canvas with the cuts; None if the page has left the clip meanwhile.
    """
    try:
        document = visits.get(page)
        with document.lock:
            document.check(data.get("id"), data.get("have"))
            identity, clip = document.id, document.opened.clip
        found = []
        for number, is_cut in scan(clip):
            if document.id != identity or document.left is not None:
                return None
            found += [number] if is_cut else []
    except EditingError:
        return None  # the page has gone, or its clip; a run looks for cuts itself
    except OSError:
        log.info("the frames went while cuts were sought")
        return None
    with document.lock:
        if document.id != identity:
            return None
        document.found = tuple(found)
        return views.canvas(document, data["have"], None)


def with_found(request: EditRequest, document: Session) -> EditRequest:
    """The request with the cuts that were found, unless it has its own or there are none."""
    if not document.found or "cuts" in request.params:
        return request
    return replace(request, params={**request.params, "cuts": write_cuts(document.found)})
