"""The result of a run: in plain words, as figures, to take away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.outputs import EDITS, FORMATS, file_in, file_names
from regrain.editing.recipe.events import EditResult
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.method_choice import View, uses
from regrain.ui.views import attention_views
from regrain.ui.views.metric_summary import facts, figures
from regrain.ui.views.session_views import player

_MASKS = "masks.zip"
_NO_VERDICT = "No verdict: the built-in model does not know what this clip shows."


def result(
    outcome: EditResult | None,
    report: Mapping[str, Any],
    request: EditRequest,
    files: Mapping[str, str],
    stem: str = "edited",
    key: str = "",
    layered: bool = False,
    known: bool = True,
) -> View:
    """Show a result: in plain words, as pictures of attention, and to take away.

    Args:
        outcome: None where only the report of a run is left, so that there are no
            pictures.
        files: Paths of the files that were written, by their usual names.
        stem: The beginning of names of downloads, see `stem_of`.
        key: The run's key in the page's history.
        layered: Whether its layers are kept, of which other formats are made when
            somebody wants them.
        known: Whether the model knows what the clip shows; no verdict is given where it
            does not.
    """
    metrics = report.get("metrics", {})
    shown: View = {
        "key": key,
        "facts": facts(metrics, request) if known else [],
        "figures": figures(metrics, request),
        "attention": None,
        "words": None,
        "areas": None,
        "warnings": [
            *([] if known else [_NO_VERDICT]),
            *(str(warning) for warning in report.get("warnings", [])),
        ],
        "whole": _whole(report.get("whole")),
        "files": [
            {"name": name, "path": path, "saves": download_name(stem, name)}
            for name, path in files.items()
        ],
        "makes": [],
    }
    if outcome:
        measured = metrics.get("attention", {})
        shown["attention"] = attention_views.attention(outcome, request, measured)
        shown["words"] = attention_views.words(outcome)
        shown["areas"] = attention_views.areas(outcome)
        made = [file_in(name) for name in FORMATS] if layered else []
        shown["makes"] = made + ([_MASKS] if request.regions else [])
    return shown


def made_result(opened: ClipSession) -> View | None:
    """Show the figures and files of the result that ships with an example; None where
    there is none."""
    made = opened.made
    if made is None:
        return None
    return result(
        None, made.report, opened.request, made.files, stem_of(opened, opened.request)
    )


def made_player(opened: ClipSession) -> View | None:
    """Show the clip beside the edits that ship with it, if there are any; None for
    one's own clip."""
    if opened.own:
        return None
    if opened.made is None:
        return player(opened)
    pairs = zip(opened.request.targets, opened.made.edits, strict=True)
    shown = player(opened, [{"prompt": prompt, "path": path} for prompt, path in pairs])
    settings = _settings(opened.request, opened.made.report)
    note = f"This result was made earlier with this example’s settings: {settings}."
    return shown | {
        "caption": "Edited earlier",
        "note": f"{note} Press Run to make it again.",
    }


def _settings(request: EditRequest, report: Mapping[str, Any]) -> str:
    """Say by which settings a result of an example was made."""
    parts = [METHODS[request.method].title, "the built-in model"]
    steps = report.get("params", {}).get("steps", {}).get("value")
    if steps:
        parts.append(f"{steps} steps")
    parts.append(f"seed {request.seed}")
    return ", ".join(parts)


def stem_of(opened: ClipSession, request: EditRequest) -> str:
    """Name a run's files so that a person tells them apart: clip, method and, where it
    matters, seed."""
    parts = [opened.name or Path(opened.title).stem, request.method]
    if opened.attempt:
        parts.append("try")
    if uses(request.method).seed != "never":
        parts.append(f"seed{request.seed}")
    (stem,) = file_names(["-".join(parts)]).values()
    return stem


def download_name(stem: str, name: str) -> str:
    """Return a file's name among a person's downloads: `edited_2.mp4` is
    `STEM_2.mp4`."""
    made = [file_in(one) for one in FORMATS]
    if name in (*EDITS, *made):
        return stem + name.removeprefix("edited")
    return f"{stem}_{name}"


def _whole(put: Mapping[str, Any] | None) -> str:
    """Say what the video of the whole clip is; empty where there is none."""
    if not put:
        return ""
    rest = "the rest is unchanged"
    if "size" in put:
        size = "x".join(str(side) for side in put["size"])
        rest = f"the whole is scaled to {size}"
    first = put["start"] + 1
    last = put["stop"]
    return f"The whole clip is your file with frames {first} to {last} edited; {rest}."
