"""Results of runs in the folder of a project: kept, and brought back."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pydantic import TypeAdapter

from regrain.editing.errors import EditingError
from regrain.editing.storage.folders import replacing
from regrain.ui.server.media import Media, link_tree
from regrain.ui.session.kept_project import VERSION, keep_picture
from regrain.ui.values.history import PastRun
from regrain.ui.values.kept import MaskFiles

log = logging.getLogger(__name__)
RESULTS = "results"
_RUN = "run.json"
_HERE = "<folder>"  # stands for the folder of a result in what the page shows of it
_PAST_RUN = TypeAdapter(PastRun)


def keep_result(run: PastRun, folder: Path) -> None:
    """Link the files of a result, all or nothing."""
    target = folder / RESULTS / run.key
    with replacing(target) as part:
        link_tree(run.folder, part)
        shown = json.dumps(run.read()).replace(json.dumps(str(run.folder))[1:-1], _HERE)
        facts = _PAST_RUN.dump_python(run, mode="json")
        for region in run.choices.regions:
            keep_picture(region.picture, folder)
        keep_picture(run.choices.edit.picture, folder)
        facts |= {"shown": shown, "version": VERSION}
        (part / _RUN).write_text(json.dumps(facts), encoding="utf-8")


def take_result(kept: Path, folder: Path, media: Media, page: str) -> PastRun | None:
    """Bring a result back; None if it is not whole."""
    try:
        facts = json.loads((kept / _RUN).read_bytes())
        served = media.new_run(page, everything=True)
        link_tree(kept, served)
        shown = facts["shown"].replace(_HERE, json.dumps(str(served))[1:-1])
        run = _PAST_RUN.validate_python(
            facts | {"folder": served}, context=MaskFiles(folder)
        )
        run.write(json.loads(shown))
    except (OSError, ValueError, KeyError, TypeError, EditingError):
        log.warning("a result of a project cannot be read and is left out")
        return None
    return run
