"""The result of a run: in plain words, as figures, to take away."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.pipeline.outputs import EDITS, FORMATS, file_in, file_names
from regrain.editing.recipe.events import EditResult
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.verdict.answers import Report, rank, tally, told
from regrain.ui.server.media import Media, data_url, link_or_copy
from regrain.ui.session.clips import OpenedClip
from regrain.ui.values.history import Choices, History, PastRun
from regrain.ui.values.method_choice import uses
from regrain.ui.views.attention_views import areas, attention, words
from regrain.ui.views.metric_summary import facts, figures
from regrain.ui.views.session_views import edits, player
from regrain.ui.views.shown import (
    EditView,
    FileToMake,
    HistoryView,
    PastRunView,
    PlayerView,
    ResultFile,
    ResultView,
    sent,
)
from regrain.ui.work.jobs import LAYERS, Saved
from regrain.ui.work.variants import title_of
from regrain.ui.work.wording import capital, duration

_MASKS = FileToMake(
    name="masks.zip",
    title="Masks",
    hint="The masks as indexed PNG files in a zip file; packed when you press this",
    kind="zip file",
)
# By format, what a person is told: its title, a hint, and what is being made.
_MADE = {
    "png": (
        "PNG frames",
        "The frames without loss, as PNG files in a zip file; packed when you press this",
        "zip file",
    ),
    "prores": (
        "ProRes 4444",
        "The edit alone, with the matte as straight alpha: lay it over your clip; made when you press this",
        "ProRes file",
    ),
    "matte": (
        "Matte",
        "The matte alone, as grey PNG files in a zip file: white is the edit; packed when you press this",
        "zip file",
    ),
}
_THUMBNAIL = 168  # pixels of its longer side
_OF_THINGS = "Click a thing in the picture, change its words, press Enter."
_OF_ALL = "Change the words, and press Run."
_NO_VERDICT = "No verdict: the built-in model does not know what this clip shows."


def result(
    outcome: EditResult | None,
    report: Report,
    request: EditRequest,
    files: Mapping[str, str],
    stem: str = "edited",
    key: str = "",
    layered: bool = False,
    known: bool = True,
) -> ResultView:
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
    makes = []
    if outcome and layered:
        makes += [FileToMake(file_in(name), *_MADE[name]) for name in FORMATS]
    if outcome and request.regions:
        makes.append(_MASKS)
    return ResultView(
        key=key,
        facts=facts(report, request) if known else [],
        figures=figures(metrics, request),
        attention=outcome and attention(outcome, request),
        words=outcome and words(outcome),
        areas=outcome and areas(outcome),
        warnings=[
            *([] if known else [_NO_VERDICT]),
            *map(str, report.get("warnings", [])),
        ],
        whole=_whole(report.get("whole")),
        files=[
            ResultFile(name, path, download_name(stem, name))
            for name, path in files.items()
        ],
        makes=makes,
    )


def made_result(opened: OpenedClip) -> ResultView | None:
    """Show the figures and files of the result that ships with an example; None where
    there is none."""
    if opened.made is None:
        return None
    stem = stem_of(opened, opened.request)
    return result(None, opened.made.report, opened.request, opened.made.files, stem)


def made_player(opened: OpenedClip) -> PlayerView | None:
    """Show the clip beside the edits that ship with it, if there are any; None for
    one's own clip."""
    if opened.own:
        return None
    if opened.made is None:
        return player(opened)
    pairs = zip(opened.request.targets, opened.made.edits, strict=True)
    return replace(
        player(opened, [EditView(*pair) for pair in pairs]),
        caption="Edited earlier",
        note=_OF_THINGS if opened.request.regions else _OF_ALL,
    )


def stem_of(opened: OpenedClip, request: EditRequest) -> str:
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


def remember(
    history: History,
    saved: Saved,
    request: EditRequest,
    choices: Choices,
    opened: OpenedClip,
    media: Media,
    press: str = "",
) -> tuple[PlayerView, ResultView]:
    """Add a result to the history, whose oldest files may go; return how it is
    shown. `press` is the same for variants."""
    outcome = saved.finished.result
    report: dict[str, Any] = {**saved.finished.report}
    stem = stem_of(opened, request)
    key = secrets.token_hex(8)
    reconstruction = saved.files.get("reconstruction.mp4")
    played = player(
        opened, edits(request, {**saved.files, **saved.copies}), reconstruction
    )
    if saved.source:
        played = replace(played, source=str(saved.source))
    known = opened.drawn or request.model != BUILT_IN_MODEL
    verdict = report if known else {}
    if opened.tried is not None:
        still = data_url(outcome.frames[0], max(opened.size), 92)
        seen = [f"{capital(line)}." for line in told(verdict)]
        note = " ".join([opened.attempt, *seen])
        played = replace(played, still=still, at=opened.tried, note=note)
    files = {}
    for name, path in saved.files.items():
        # The server tells browsers the name that a file has on disk.
        called = saved.folder / download_name(stem, name)
        files[name] = str(link_or_copy(Path(path), called))
    layered = (saved.folder / LAYERS).is_dir()
    shown = result(
        outcome,
        report,
        request,
        files,
        stem,
        key,
        layered,
        known,
    )
    frames = len(request.clip)
    facts = ["try"] if opened.attempt else []
    facts.append(f"{frames} frame{'s' if frames > 1 else ''}")
    steps = report.get("params", {}).get("steps", {}).get("value")
    if steps:
        facts.append(f"{steps} steps")
    facts.append(duration(sum(report.get("seconds", {}).values())))
    if there := tally(verdict):
        facts.insert(0, there)  # the rest may be cut off
    title = title_of(request.method, request.seed)
    if opened.attempt:
        title += ", try"
    run = PastRun(
        key=key,
        folder=saved.folder,
        stem=stem,
        clip=opened.title,
        title=title,
        facts=", ".join(facts),
        text=str(report.get("prompt_used", "")),
        picture=data_url(outcome.frames[len(outcome.frames) // 2], _THUMBNAIL, 80),
        choices=choices,
        still=opened.tried is not None,
        press=press,
        rank=rank(verdict),
    )
    run.write({"player": sent(played), "result": sent(shown)})
    for old in history.add(run):
        media.drop(old.folder)
    return played, shown


def history_view(history: History, open_clip: str, note: str = "") -> HistoryView:
    """Show the runs of a page, with a note; those of other clips than the open one, by
    its identity, have their titles."""
    runs = []
    for run in history.runs:
        clip = "" if run.choices.clip == open_clip else run.clip
        runs.append(
            PastRunView(
                run.key,
                run.title,
                _facts_of(run, history),
                run.text,
                run.picture,
                clip,
                run.still,
            )
        )
    return HistoryView([*history.shown], runs, note)


def _facts_of(run: PastRun, history: History) -> str:
    """Say steps and time of a run; of a variant first what tells it from the others:
    its seed, and whether it is the best of them."""
    best = history.best(run.press)
    if best is None:
        return run.facts
    _, _, seed = run.title.rpartition(", ")
    mark = "best, " if best is run else ""
    return f"{mark}{seed}, {run.facts}"


def compared(first: PastRun, second: PastRun) -> PlayerView:
    """Show two edits in place of source and edit; raises as `PastRun.read` does."""
    one = first.read()["player"]
    other = second.read()["player"]
    names = [f"A: {first.title}", f"B: {second.title}"]
    if first.clip != second.clip:
        names = [f"{names[0]}, {first.clip}", f"{names[1]}, {second.clip}"]
    frames = min(one["frames"], other["frames"])
    note = ""
    if one["frames"] != other["frames"]:
        note = f"They play to frame {frames}: one of the two has no more."
    two = {
        "source": one["edits"][0]["path"],
        "edits": [EditView("", other["edits"][0]["path"])],
        "reconstruction": None,
        "frames": frames,
        "names": names,
        "note": note,
    }
    return PlayerView(**one | two)
