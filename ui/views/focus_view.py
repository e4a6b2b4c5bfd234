"""The box that a run would edit, as the page draws it on the picture."""

from __future__ import annotations

from collections.abc import Sequence

from regrain.editing.pipeline.estimate import fit_of
from regrain.editing.pipeline.focus import Place, asked_boxes, is_frame, with_margins
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
    if kind == "off":
        return shown | {"boxes": [], "margins": {}}
    cuts = asked.decided.cuts
    if cuts is None:
        cuts = session.found or ()
    found = asked_boxes(asked, cuts, fit_of(asked) or _as_it_is)
    boxes = [
        _box(asked, region, boxes, cuts)
        for region, boxes in found
        if not is_frame(boxes, asked.clip.size)
    ]
    return shown | {"boxes": boxes, "margins": _margins(asked, found) if boxes else {}}


def _margins(asked: EditRequest, found: Sequence[Place]) -> View:
    """Return by label the margin that a card begins with, and the one that the run
    has; of regions whose margin nobody has changed."""
    run = {one.label: one.margin for one in with_margins(asked, found).regions}
    return {
        str(region.label): [region.effective_margin(asked.clip.size), run[region.label]]
        for region in asked.regions
        if region.margin is None
    }


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
