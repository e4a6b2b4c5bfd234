"""Command line: `python -m ui.add_example FOLDER` adds a real edit to the examples.

FOLDER is a project folder with the edit that was run from it, `result/`, and a file
`credit.json`: `{"credit": "Clip by A, edit by B", "licence": "CC BY 4.0"}`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from regrain.editing.cli.commands import call
from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.reading import open_clip
from regrain.editing.pipeline.outputs import EDITS
from regrain.editing.pipeline.shipped_results import (
    CREDIT,
    REPORT,
    RESULT,
    digest,
    read_credit,
    trimmed,
)
from regrain.editing.request.project import load_project
from regrain.editing.storage.folders import named_by, staged
from regrain.editing.storage.local_models import ASSETS

VARIABLE = "REGRAIN_EXAMPLES"
app = typer.Typer(add_completion=False)


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="Project, result and credit.json.")],
) -> None:
    """Check a project with its result, and copy it to the examples of the page."""
    request = load_project(folder)
    if read_credit(folder) is None:
        form = '{"credit": "Clip by A, edit by B", "licence": "CC BY 4.0"}'
        raise RequestError(CREDIT, f"It is missing. Write it beside the clip: {form}.")
    edits = EDITS[: len(request.targets)]
    for name in edits:
        path = folder / RESULT / name
        count = len(open_clip(path)) if path.is_file() else 0
        if count != len(request.clip):
            said = f"It has {count} of {len(request.clip)} frames."
            raise RequestError(f"{RESULT}/{name}", f"{said} Run the project again.")
    try:
        report = trimmed(json.loads((folder / RESULT / REPORT).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        said = "It is missing or damaged. Run the project again."
        raise RequestError(f"{RESULT}/{REPORT}", said) from None
    examples = named_by(VARIABLE) or ASSETS / "examples"
    target = examples / folder.resolve().name
    if target.exists():
        said = f"{shorten(target.name)} is an example already. Rename the folder."
        raise RequestError("folder", said)
    with staged(target) as made:
        results = shutil.ignore_patterns(RESULT)
        shutil.copytree(folder, made, ignore=results, dirs_exist_ok=True)
        (made / RESULT).mkdir()
        for name in edits:
            shutil.copy(folder / RESULT / name, made / RESULT)
        report["project"] = digest(made)
        (made / RESULT / REPORT).write_text(json.dumps(report) + "\n", "utf-8")
    typer.echo(f"added: {target}")


if __name__ == "__main__":
    sys.exit(call(app, "python -m ui.add_example"))
