"""What the page shows of a result that was made earlier, see `editing.pipeline.shipped_results`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regrain.editing.params.registry import METHODS
from regrain.ui.forms import views
from regrain.ui.forms.views import View
from regrain.ui.results import result_views
from regrain.ui.session.clips import ClipSession


def player(opened: ClipSession) -> View | None:
    """The clip beside the edits that ship with it, if there are any; None for one's own clip."""
    if opened.own:
        return None
    if opened.made is None:
        return views.player(opened)
    pairs = zip(opened.request.targets, opened.made.edits, strict=True)
    edits = [{"prompt": prompt, "path": path} for prompt, path in pairs]
    return views.player(opened, edits) | {"caption": "Edited earlier", "note": _note(opened)}


def result(opened: ClipSession) -> View | None:
    """What was measured, and the files to take away; None where there is nothing."""
    made = opened.made
    if made is None:
        return None
    return result_views.measured(made.report, opened.request, made.files, opened)


def _note(opened: ClipSession) -> str:
    """How the result was made."""
    request, report = opened.request, opened.made.report if opened.made else {}
    parts = [METHODS[request.method].title, "the built-in model"]
    parts += _steps(report.get("params", {}))
    parts += [f"seed {request.seed}"]
    return (
        f"This result was made earlier with this example’s settings: {', '.join(parts)}. Run makes it anew."
    )


def _steps(params: Mapping[str, Any]) -> list[str]:
    steps = params.get("steps", {}).get("value")
    return [f"{steps} steps"] if steps else []
