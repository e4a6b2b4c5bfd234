"""The heavy work behind the page, as functions that the app hands in."""

from __future__ import annotations

from dataclasses import dataclass

from regrain.editing.models.loading import hub as hugging_face
from regrain.ui.handlers.motion import Motion
from regrain.ui.handlers.tracking import Discover, Propagate
from regrain.ui.handlers.tuning_handlers import Estimator
from regrain.ui.results.jobs import Edit
from regrain.ui.results.model_views import Hub
from regrain.ui.session.mask_edits import Segment


@dataclass(frozen=True)
class Tools:
    """The heavy work behind the page.

    Attributes:
        edit: Runs a request.
        segment: As `masks.segment`; fast when called again for the same frame.
        propagate: See `Tracking`.
        discover: See `Tracking`; None where nothing can be found without masks.
        remark: What a user should know about how clicks are answered; None where SAM answers them.
        estimate: See `TuningHandlers`.
        motion: See `Motions`; None where it cannot be shown.
        hub: Where models come from.
    """

    edit: Edit
    segment: Segment
    propagate: Propagate
    discover: Discover | None = None
    remark: str | None = None
    estimate: Estimator | None = None
    motion: Motion | None = None
    hub: Hub = hugging_face
