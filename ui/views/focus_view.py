"""The box that a run would edit, as the page draws it on the picture."""

from __future__ import annotations

from dataclasses import replace

from regrain.editing.pipeline.beforehand import working_size_of
from regrain.editing.pipeline.focus import asked_boxes, is_frame, with_margins
from regrain.editing.request.boxes import read_focus, write_boxes
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.session.session import Session
from regrain.ui.values.plates import boxes_in, region_in
from regrain.ui.views.shown import FocusBox, FocusView


def focus_view(session: Session, asked: EditRequest) -> FocusView:
    """Show where a run works: what was chosen, and the boxes that this gives.

    There are none where the whole frame is edited.

    Raises:
        EditingError: The model's files or a parameter are wrong.
    """
    shown = FocusView(
        session.id,
        read_focus(asked.focus).kind,
        bool(asked.edited),
        boxes=[],
        margins={},
    )
    if shown.how == "off":
        return shown
    cuts = asked.decided.cuts
    if cuts is None:
        cuts = session.found or ()
    working = working_size_of(asked)
    as_it_is = lambda width, height: (width, height)  # noqa: E731
    found = asked_boxes(asked, cuts, working.fit if working else as_it_is)
    shown_boxes = []
    size = session.opened.size
    for region, boxes in found:
        if not is_frame(boxes, asked.clip.size):
            path = write_boxes(boxes_in(boxes, asked.clip.size, size), cuts)
            gain = min(asked.clip.size) / boxes[:, 2:].min(1).max()
            label = region.label if region else 0
            shown_boxes.append(FocusBox(path, label, round(float(gain), 1)))
    if not shown_boxes:
        return shown
    margins = {}
    run = with_margins(asked, found).regions
    for one, in_run in zip(asked.regions, run, strict=True):
        if one.margin is None:  # nobody has changed it
            margin = region_in(in_run, asked.clip.size, size).margin
            margins[str(one.label)] = one.effective_margin(size), margin
    return replace(shown, boxes=shown_boxes, margins=margins)
