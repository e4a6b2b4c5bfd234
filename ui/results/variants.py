"""Several seeds in one press of Run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regrain.editing.errors import RequestError
from regrain.editing.params.registry import METHODS
from regrain.ui.forms import views
from regrain.ui.forms.views import View
from regrain.ui.results import result_views
from regrain.ui.results.jobs import RunJob, Saved, name_again
from regrain.ui.server.media import Media
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import Choices, History, PastRun, thumbnail, title_of
from regrain.ui.session.method_choice import uses

MAX_VARIANTS = 4


@dataclass(frozen=True)
class Variant:
    """One run of those that a press of Run makes.

    Attributes:
        job: What is to be run.
        choices: For the history.
        number: Which of them it is, from 1.
        total: How many they are.
    """

    job: RunJob
    choices: Choices
    number: int
    total: int


def plan(job: RunJob, wanted: object, values: Mapping[str, Any], choices: Choices) -> list[Variant]:
    """The runs of one press of Run: its own seed, and those that follow it.

    Args:
        job: The first.
        wanted: What the page sent: {"count": 1 to 4}; anything else is taken for 1.
        values: All parameters of the first.
        choices: Of the first.

    Raises:
        RequestError: Several are wanted where the seed would change nothing.
    """
    request, given = job.request, wanted.get("count") if isinstance(wanted, dict) else 1
    count = given if isinstance(given, int) and 1 <= given <= MAX_VARIANTS else 1
    use = uses(request.method).seed
    fresh = any(values.get(name) for name in ("variation", "redraw"))
    if count > 1 and (use == "never" or (use == "variation" and not fresh)):
        title = METHODS[request.method].title
        way = "Choose another method" if use == "never" else "Set Variation above 0"
        said = f"With {title}, every seed gives this result."
        raise RequestError("variants", f"{said} {way}, or make 1 variant.")
    seeds = [request.seed + number for number in range(count)]
    return [
        Variant(replace(job, request=replace(request, seed=seed)), replace(choices, seed=seed), number, count)
        for number, seed in enumerate(seeds, 1)
    ]


def remember(
    history: History, saved: Saved, variant: Variant, opened: ClipSession, media: Media
) -> dict[str, View]:
    """Add a result to the history and show it; the files of runs that are too many go.

    Returns:
        What the page shows of it: `player` and `result`.
    """
    asked, outcome = variant.job.request, saved.finished.result
    stem, key = result_views.stem_of(opened, asked), secrets.token_hex(8)
    player = views.player(opened, views.edits(asked, saved.files), saved.files.get("reconstruction.mp4"))
    # The server tells browsers the name that a file has on disk.
    files = {
        name: str(name_again(Path(path), saved.folder / result_views.download_name(stem, name)))
        for name, path in saved.files.items()
    }
    if saved.source:
        player |= {"source": str(saved.source)}
    shown = {
        "player": player,
        "result": result_views.result(outcome, saved.finished.report, asked, files, stem, key),
    }
    text = str(saved.finished.report.get("prompt_used", ""))
    run = PastRun(key, saved.folder, stem, title_of(asked), text, thumbnail(outcome), variant.choices)
    run.write(shown)
    for old in history.add(run):
        media.drop(old.folder)
    return shown
