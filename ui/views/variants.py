"""What one press of Run makes: a try of a few frames, a whole run, or one of several seeds each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regrain.editing.errors import RequestError
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import pick
from regrain.ui.server.media import Media, data_url
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import Choices, History, PastRun
from regrain.ui.session.method_choice import View, uses
from regrain.ui.views import result_views
from regrain.ui.views import session_views as views
from regrain.ui.views.jobs import RunJob, Saved, name_again
from regrain.ui.views.run_views import duration

MAX_VARIANTS = 4
_THUMBNAIL = 168  # pixels of its longer side
ATTEMPTS = ("first", "quick")
STEPS, TUNE_STEPS = 8, 40  # of a quick try, at most
_LEAST, _MOST, _SHARE = 4, 8, 4  # frames of a quick try: a quarter, within these limits


@dataclass(frozen=True)
class Variant:
    """One run of those that a press of Run makes."""

    job: RunJob  # what is to be run
    choices: Choices  # for the history
    number: int  # which of them it is, from 1
    total: int  # how many they are


def attempt(
    kind: object, request: EditRequest, opened: ClipSession
) -> tuple[EditRequest, ClipSession]:
    """What a try runs, and the clip it is shown with; both as given where none of `ATTEMPTS` is wanted."""
    if kind not in ATTEMPTS:
        return request, opened
    if request.adapter:  # tuned on so many frames, and of use for no other number
        kind, count = "quick", len(request.clip)
    else:
        quarter = max(_LEAST, min(_MOST, len(request.clip) // _SHARE))
        count = 1 if kind == "first" else min(len(request.clip), quarter)
    params = dict(request.params) | _params(str(kind), request)
    tried = pick(replace(request, params=params), range(count))
    note = "A try of the first frame. Run edits the whole clip."
    if kind == "quick":
        few = f"{count} frames, at most {STEPS} steps"
        note = f"A quick try: {few}. Run edits the whole clip in full quality."
    # Without its file, no edit is put back into it.
    return tried, replace(opened, request=tried, file=None, attempt=note)


def _params(kind: str, request: EditRequest) -> dict[str, Any]:
    """Fewer steps, and no key frames and cuts, which may lie outside."""
    fields, given = METHODS[request.method].Params.model_fields, request.params
    params: dict[str, Any] = {"keyframes": "all", "cuts": "none"}
    if kind == "quick":
        for name, most in (("steps", STEPS), ("tune_steps", TUNE_STEPS)):
            value = given.get(name)
            params[name] = min(most, value) if isinstance(value, int) and value > 0 else most
    return {name: value for name, value in params.items() if name in fields}


def plan(job: RunJob, wanted: object, values: Mapping[str, Any], choices: Choices) -> list[Variant]:
    """The runs of one press of Run: `job` with its own seed, and with those that follow it.

    `wanted` is what the page sent, {"count": 1 to 4}; anything else is taken for 1. A RequestError if
    several are wanted where the seed would change nothing.
    """
    request, given = job.request, wanted.get("count") if isinstance(wanted, dict) else 1
    count = given if isinstance(given, int) and 1 <= given <= MAX_VARIANTS else 1
    use = uses(request.method).seed
    fresh = any(values.get(name) for name in ("variation", "redraw"))
    if count > 1 and (use == "never" or (use == "variation" and not fresh)):
        title = METHODS[request.method].title
        way = "Choose another method" if use == "never" else "Set Variation above 0"
        message = f"With {title}, every seed gives this result. {way}, or make 1 variant."
        raise RequestError("variants", message)
    seeds = [request.seed + number for number in range(count)]
    return [
        Variant(
            replace(job, request=replace(request, seed=seed)),
            replace(choices, seed=seed),
            number,
            count,
        )
        for number, seed in enumerate(seeds, 1)
    ]


def title_of(method: str, seed: object) -> str:
    """What a run is called in lists: its method and, where it matters, its seed."""
    title = METHODS[method].title
    return title if uses(method).seed == "never" else f"{title}, seed {str(seed)[:20]}"


def remember(
    history: History, saved: Saved, variant: Variant, opened: ClipSession, media: Media
) -> dict[str, View]:
    """Add a result to the history, whose oldest files may go; what the page shows, `player` and `result`."""
    asked, outcome, report = variant.job.request, saved.finished.result, saved.finished.report
    stem, key = result_views.stem_of(opened, asked), secrets.token_hex(8)
    player = views.player(
        opened, views.edits(asked, saved.files), saved.files.get("reconstruction.mp4")
    )
    # The server tells browsers the name that a file has on disk.
    files = {
        name: str(name_again(Path(path), saved.folder / result_views.download_name(stem, name)))
        for name, path in saved.files.items()
    }
    if saved.source:
        player |= {"source": str(saved.source)}
    shown = {
        "player": player,
        "result": result_views.result(outcome, report, asked, files, stem, key),
    }
    title, text = title_of(asked.method, asked.seed), str(report.get("prompt_used", ""))
    picture = data_url(outcome.frames[len(outcome.frames) // 2], _THUMBNAIL, 80)
    title += ", try" if opened.attempt else ""
    frames, steps = len(asked.clip), report.get("params", {}).get("steps", {}).get("value")
    parts = [f"{frames} frame{'s' if frames > 1 else ''}", *([f"{steps} steps"] if steps else [])]
    facts = ", ".join([*parts, duration(sum(report.get("seconds", {}).values()))])
    run = PastRun(
        key, saved.folder, stem, opened.title, title, facts, text, picture, variant.choices
    )
    run.write(shown)
    for old in history.add(run):
        media.drop(old.folder)
    return shown
