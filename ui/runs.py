"""What the page runs: a request in, events and files out; for people and, by name, for programs."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData
from gradio.events import api

from editing.backbones import on_shelf, parse_lora
from editing.control import parse_control
from editing.errors import EditingError, RequestError, suggest
from editing.events import Event, Finished, Stage
from editing.local_models import local_entries, models_folder
from editing.outputs import EDITS, write_outputs
from editing.project import is_name, save_project
from editing.registry import find_method
from editing.request import EditRequest
from ui import settings
from ui.clips import Opened
from ui.examples import Example
from ui.media import Media
from ui.session import check_lengths
from ui.worker import in_thread

log = logging.getLogger(__name__)
BUILT_IN = "storybook"
# Of what a run writes.
_SHOWN = (*EDITS, "report.json", "reconstruction.mp4")
Edit = Callable[[EditRequest], Iterator[Event]]


@dataclass(frozen=True)
class Saved:
    """The last item of a run: its files, by the name a person sees."""

    finished: Finished
    files: Mapping[str, str]


class Runs:
    """Runs requests and keeps what they made.

    Args:
        edit: Runs a request.
        examples: What can be chosen.
        media: Where files go.
        model_folder: The built-in model's; its recommendations and words.
    """

    def __init__(self, edit: Edit, examples: Mapping[str, Example], media: Media, model_folder: Path) -> None:
        self.edit, self.examples, self.media = edit, examples, media
        self._folder = model_folder
        self.words: list[str] = settings.read_json(model_folder / "words.json", [])
        self.models = [BUILT_IN, *_local_models()]
        self.loras = _local_loras()

    def example(self, name: object) -> Example:
        """Look an example up.

        Raises:
            RequestError: There is none of that name.
        """
        if not isinstance(name, str) or name not in self.examples:
            raise RequestError(
                "example", f"{str(name)[:60]!r} was given; {suggest(str(name), self.examples)}"
            )
        return self.examples[name]

    def method(self, name: object) -> str:
        """Check a choice that a browser sent."""
        return find_method(str(name)).name

    def model(self, name: object) -> str:
        """Check a choice that a browser sent; nothing is downloaded for a stranger."""
        if name not in self.models:
            raise RequestError("model", f"{str(name)[:60]!r} was given; {suggest(str(name), self.models)}")
        return str(name)

    def _check_loras(self, request: EditRequest) -> None:
        """As models; a project may name others."""
        for text in request.loras:
            if (name := parse_lora(text).model) not in self.loras:
                advice = suggest(name, self.loras) if self.loras else "none is in $REGRAIN_MODELS/loras"
                raise RequestError("loras", f"{name[:60]!r} was given; {advice}")

    def values(self, method: str, model: str, given: Mapping[str, object]) -> dict[str, Any]:
        """Every parameter as a run of a model would have it where these are given.

        Raises:
            EditingError: A name or value is not allowed.
        """
        folder = self._folder if model == BUILT_IN else (models_folder() or Path()) / model
        return settings.values(method, folder, given)

    def from_example(
        self, example: Example, prompts: Mapping[str, object], params: Mapping[str, object]
    ) -> EditRequest:
        """An example with other words for some of its regions."""
        base = example.request
        known = [region.name for region in base.regions]
        for name, text in prompts.items():
            if name not in known:
                raise RequestError("prompts", f"region {name[:60]!r} was given; {suggest(name, known)}")
            if not isinstance(text, str):
                raise RequestError(f"regions.{name}.prompt", "no text was given; give one")
        regions = tuple(
            replace(region, prompt=str(prompts.get(region.name, region.prompt)).strip())
            for region in base.regions
        )
        check_lengths(regions)
        # The project's own prompt speaks of the project's own region prompts.
        prompt = base.prompt if regions == base.regions else ""
        return replace(base, regions=regions, prompt=prompt, params={**base.params, **params})

    def run(self, request: EditRequest, page: str, opened: Opened | None = None) -> Iterator[Event | Saved]:
        """Edit, then write the files of a result."""
        request.check_runnable()
        _check_control(request)
        self._check_loras(request)
        folder = self.media.new_run(page)
        if opened:
            opened.ensure_source()
        finished = None
        with closing(self.edit(request)) as events:  # type: ignore[type-var]
            for event in events:
                finished = event if isinstance(event, Finished) else None
                yield event
        if finished is None:
            raise RuntimeError("the run ended without a result")
        yield Stage("saving")
        out, project = folder / "out", folder / "project"
        write_outputs(finished.result, request, finished.report, out)
        save_project(request, project)
        archive = shutil.make_archive(str(folder / "project"), "zip", project)
        made = {name: str(out / name) for name in _SHOWN if (out / name).is_file()}
        yield Saved(finished, made | {"project.zip": archive})


def _local_loras() -> list[str]:
    """LoRA files in the folder `loras` of $REGRAIN_MODELS, named from there."""
    folders = [entry for entry in _shelf() if entry.name == "loras"]
    files = (file for folder in folders for file in folder.glob("*.safetensors"))
    return sorted(f"loras/{file.stem}" for file in files if is_name(file.stem))


def _shelf() -> list[Path]:
    """What the folder $REGRAIN_MODELS holds, as far as a project file could name it."""
    entries = local_entries()
    for entry in entries:
        if not is_name(entry.name):
            log.warning("%r is left out: names of models are letters, digits, '.', '_' and '-'", entry.name)
    return [entry for entry in entries if is_name(entry.name)]


def _local_models() -> list[str]:
    return [name for name in on_shelf() if is_name(name)]


def _check_control(request: EditRequest) -> None:
    """Control networks as models: nothing is downloaded for a stranger, and no path of theirs is opened."""
    known = ["storybook/canny", *(entry.name for entry in _shelf() if (entry / "config.json").is_file())]
    for spec in parse_control(str(request.params.get("control", ""))):
        if spec.model not in known:
            raise RequestError(
                "params.control", f"{spec.model[:60]!r} was given; {suggest(spec.model, known)}"
            )


def add_api(runs: Runs) -> None:
    """The one endpoint that programs see."""

    def edit_example(
        example: str, prompts: str = "{}", params: str = "{}", request: gr.Request | None = None
    ) -> tuple[FileData, dict]:
        """Edit one of the example clips, each region with its own words.

        Args:
            example: Name of an example project, such as 01_two_animals.
            prompts: JSON object, region name to what it should become; a region left out keeps the example's.
            params: JSON object of parameters of the method, such as {"steps": 20}.

        Returns:
            The edited video, and the report of the run.
        """
        try:
            chosen = runs.example(example)
            wanted, given = _read_object("prompts", prompts), _read_object("params", params)
            asked = runs.from_example(chosen, wanted, given)
            page = (request.session_hash if request else None) or "api"
            saved = next(item for item in in_thread(lambda: runs.run(asked, page)) if isinstance(item, Saved))
        except EditingError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return FileData(path=saved.files["edited.mp4"]), saved.finished.report

    api(edit_example, api_name="edit_example", concurrency_id="edit", concurrency_limit=1)


def _read_object(field: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RequestError(field, f"is no JSON ({error}); give an object such as {{}}") from None
    if not isinstance(value, dict):
        raise RequestError(field, "is no JSON object; give names and values, such as {}")
    return value
