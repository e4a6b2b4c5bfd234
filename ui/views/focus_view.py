"""The box that a run would edit, as the page draws it on the picture."""

from __future__ import annotations

from regrain.editing.params.registry import check_params
from regrain.editing.pipeline.estimate import fit_of
from regrain.editing.pipeline.focus import asked_boxes
from regrain.editing.request.boxes import Boxes, Size, read_focus, write_boxes
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.ui.session.method_choice import View
from regrain.ui.session.session import Session


def focus_view(session: Session, asked: EditRequest) -> View:
    """Show where a run works: what was chosen, and the boxes that this gives.

    There are none where the whole frame is edited.

    Raises:
        EditingError: The model's files or a parameter are wrong.
    """
    kind = read_focus(asked.focus).kind
    shown: View = {"id": session.id, "how": kind, "edits": bool(asked.edited)}
    boxes = [] if kind == "off" else _found(session, asked)
    return shown | {"boxes": boxes}


def _found(session: Session, asked: EditRequest) -> list[View]:
    cuts = check_params(asked.method, asked.params).cuts
    if cuts is None:
        cuts = session.found or ()
    fit = fit_of(asked) or _as_it_is
    return [
        _box(asked, region, boxes, cuts)
        for region, boxes in asked_boxes(asked, cuts, fit)
        if boxes is not None
    ]


def _as_it_is(width: int, height: int) -> Size:
    return width, height


def _box(
    asked: EditRequest, region: Region | None, boxes: Boxes, cuts: tuple[int, ...]
) -> View:
    """Show one box: its path as `focus` takes it, and how many times larger the model
    sees what is in it."""
    gain = min(asked.clip.size) / boxes[:, 2:].min(1).max()
    return {
        "path": write_boxes(boxes, cuts),
        "label": region.label if region else 0,
        "gain": round(float(gain), 1),
    }
