"""The endpoints that programs see, over HTTP and as tools of MCP."""

from __future__ import annotations

from regrain.ui.api.endpoints import offer
from regrain.ui.api.program_schema import EditExample, EditVideo, Nothing, SegmentImage, TrackVideo
from regrain.ui.api.programs import Programs


def add_api(programs: Programs) -> None:
    """Offer the endpoints; must run inside a layout."""
    offer(EditVideo, programs.edit_video)
    offer(EditExample, programs.edit_example)
    offer(TrackVideo, programs.track)
    offer(SegmentImage, programs.segment, queue=False)  # short, and MCP shows pictures of such calls alone
    offer(Nothing, programs.list_methods, queue=False)
    offer(Nothing, programs.list_models, queue=False)
