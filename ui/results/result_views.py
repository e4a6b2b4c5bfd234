"""What came out of a run: in plain words, as figures, to take away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regrain.editing.media.clip import Clip
from regrain.editing.media.reading import VideoClip
from regrain.editing.pipeline.outputs import EDITS, WHOLE, file_names
from regrain.editing.recipe.events import EditResult
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.forms.views import View
from regrain.ui.results import attention_views
from regrain.ui.results.metric_summary import facts, figures
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.method_choice import uses

MADE = ("edited.gif", "masks.zip")  # only when somebody wants them


def result(
    outcome: EditResult,
    report: Mapping[str, Any],
    request: EditRequest,
    files: Mapping[str, str],
    stem: str = "edited",
    key: str = "",
) -> View:
    """What came out: in plain words, as pictures of attention, and to take away.

    Args:
        outcome: Of the run.
        report: Its report.
        request: Of the run.
        files: What was written, by its usual name.
        stem: How names of downloads begin, see `stem_of`.
        key: Of the run in the page's history.
    """
    metrics = report.get("metrics", {})
    return {
        "key": key,
        "facts": facts(metrics, request),
        "figures": figures(metrics, request),
        "attention": attention_views.attention(outcome, request, metrics.get("attention", {})),
        "words": attention_views.words(outcome),
        "areas": attention_views.areas(outcome),
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "whole": _whole(request.clip, files),
        "files": _files(files, stem),
        "makes": [name for name in MADE if name != "masks.zip" or request.regions],
    }


def measured(
    report: Mapping[str, Any], request: EditRequest, files: Mapping[str, str], opened: ClipSession
) -> View:
    """As `result`, from the report alone: without pictures."""
    metrics, stem = report.get("metrics", {}), stem_of(opened, request)
    return {
        "key": "",
        "facts": facts(metrics, request),
        "figures": figures(metrics, request),
        "attention": None,
        "words": None,
        "areas": None,
        "warnings": [str(warning) for warning in report.get("warnings", [])],
        "whole": "",
        "files": _files(files, stem),
        "makes": [],
    }


def _files(files: Mapping[str, str], stem: str) -> list[View]:
    return [{"name": name, "path": path, "saves": download_name(stem, name)} for name, path in files.items()]


def stem_of(opened: ClipSession, request: EditRequest) -> str:
    """What a person tells a run's files by: clip, method and, where it matters, seed."""
    clip = opened.name or Path(opened.title).stem
    parts = [clip, request.method, *([f"seed{request.seed}"] if uses(request.method).seed != "never" else [])]
    (stem,) = file_names(["-".join(parts)]).values()
    return stem


def download_name(stem: str, name: str) -> str:
    """What a file is called among a person's downloads: `edited_2.mp4` is `STEM_2.mp4`."""
    if name in (*EDITS, *MADE) and name.startswith("edited"):
        return stem + name.removeprefix("edited")
    return f"{stem}_{name}"


def _whole(clip: Clip, files: Mapping[str, str]) -> str:
    """What the video of the whole clip is, where there is one."""
    if WHOLE not in files or not isinstance(clip, VideoClip):
        return ""
    first, last = clip.start + 1, clip.start + len(clip)
    return f"The whole clip is your file with frames {first} to {last} edited; the rest of it is unchanged."
