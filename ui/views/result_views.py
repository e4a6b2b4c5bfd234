"""What came out of a run: in plain words, as figures, to take away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.outputs import EDITS, file_names
from regrain.editing.recipe.events import EditResult
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.method_choice import uses
from regrain.ui.views import attention_views
from regrain.ui.views.metric_summary import facts, figures
from regrain.ui.views.views import View, player

MADE = ("edited.gif", "masks.zip")  # only when somebody wants them


def result(
    outcome: EditResult | None,
    report: Mapping[str, Any],
    request: EditRequest,
    files: Mapping[str, str],
    stem: str = "edited",
    key: str = "",
) -> View:
    """What came out: in plain words, as pictures of attention, and to take away.

    Args:
        outcome: None where only the report of a run is left, so that there are no pictures.
        files: What was written, by its usual name.
        stem: How names of downloads begin, see `stem_of`.
        key: Of the run in the page's history.
    """
    metrics = report.get("metrics", {})
    makes = [name for name in MADE if name != "masks.zip" or request.regions]
    return {
        "key": key,
        "facts": facts(metrics, request),
        "figures": figures(metrics, request),
        "attention": outcome
        and attention_views.attention(outcome, request, metrics.get("attention", {})),
        "words": outcome and attention_views.words(outcome),
        "areas": outcome and attention_views.areas(outcome),
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "whole": _whole(report.get("whole")),
        "files": [
            {"name": n, "path": path, "saves": download_name(stem, n)} for n, path in files.items()
        ],
        "makes": makes if outcome else [],
    }


def made_result(opened: ClipSession) -> View | None:
    """What was measured of the result that ships with an example, and its files; None where there is none."""
    if (made := opened.made) is None:
        return None
    return result(None, made.report, opened.request, made.files, stem_of(opened, opened.request))


def made_player(opened: ClipSession) -> View | None:
    """The clip beside the edits that ship with it, if there are any; None for one's own clip."""
    if opened.own:
        return None
    if opened.made is None:
        return player(opened)
    request, params = opened.request, opened.made.report.get("params", {})
    pairs = zip(request.targets, opened.made.edits, strict=True)
    steps = params.get("steps", {}).get("value")
    how = [
        METHODS[request.method].title,
        "the built-in model",
        *([f"{steps} steps"] if steps else []),
    ]
    how = ", ".join([*how, f"seed {request.seed}"])
    note = f"This result was made earlier with this example’s settings: {how}."
    shown = player(opened, [{"prompt": prompt, "path": path} for prompt, path in pairs])
    return shown | {"caption": "Edited earlier", "note": f"{note} Press Run to make it again."}


def stem_of(opened: ClipSession, request: EditRequest) -> str:
    """What a person tells a run's files by: clip, method and, where it matters, seed."""
    clip = opened.name or Path(opened.title).stem
    parts = [clip, request.method, *(["try"] if opened.attempt else [])]
    parts += [f"seed{request.seed}"] if uses(request.method).seed != "never" else []
    (stem,) = file_names(["-".join(parts)]).values()
    return stem


def download_name(stem: str, name: str) -> str:
    """What a file is called among a person's downloads: `edited_2.mp4` is `STEM_2.mp4`."""
    if name in (*EDITS, *MADE) and name.startswith("edited"):
        return stem + name.removeprefix("edited")
    return f"{stem}_{name}"


def _whole(put: Mapping[str, Any] | None) -> str:
    """What the video of the whole clip is, where there is one."""
    if not put:
        return ""
    scaled = "size" in put and f"the whole is scaled to {'x'.join(map(str, put['size']))}"
    rest = scaled or "the rest is unchanged"
    return f"The whole clip is your file with frames {put['start'] + 1} to {put['stop']} edited; {rest}."
