"""The one endpoint that programs see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio import FileData
from gradio.events import api

from editing.errors import EditingError, RequestError, shorten, suggest
from editing.request import EditRequest
from ui.build_request import check_lengths
from ui.examples import Example
from ui.handlers import address_of
from ui.jobs import Job, Jobs, Saved
from ui.turns import PER_PROGRAM, Turns, Visitor
from ui.worker import in_thread

_PATIENCE = 5.0  # seconds between looks at whose turn it is


def add_api(jobs: Jobs, turns: Turns) -> None:
    """Offer the endpoint; must run inside a layout."""

    def edit_example(
        example: str, prompts: str = "{}", params: str = "{}", request: gr.Request | None = None
    ) -> tuple[FileData, dict]:
        """Edit one of the example clips, each region with its own words.

        Args:
            example: Name of an example project, such as 01_two_animals.
            prompts: JSON object, region name to what to change it to; the others keep the example's prompts.
            params: JSON object of parameters of the method, such as {"steps": 20}.

        Returns:
            The edited video, and the report of the run.
        """
        try:
            chosen = jobs.catalogue.example(example)
            wanted, given = _read_object("prompts", prompts), _read_object("params", params)
            job = Job(
                from_example(chosen, wanted, given), (request.session_hash if request else None) or "api"
            )
            saved = _run(jobs, turns, job, request)
        except EditingError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return FileData(path=saved.files["edited.mp4"]), _without_paths(saved.finished.report)

    api(edit_example, api_name="edit_example", concurrency_limit=None)


def _run(jobs: Jobs, turns: Turns, job: Job, request: gr.Request | None) -> Saved:
    """Wait for a turn, then run to the end."""
    address = address_of(request) if request else ""
    turn = turns.enter(Visitor(f"programs at {address}", address, PER_PROGRAM))
    finished = False
    try:
        while not turn.wait(_PATIENCE):
            pass
        for item in in_thread(lambda: jobs.run(job)):
            turn.follow(item)
            if isinstance(item, Saved):
                finished = True
                return item
        raise RuntimeError("the run ended without a result")
    finally:
        turn.leave(finished)


def _without_paths(report: Any) -> Any:
    """A report for clients of gradio, which take every object with a `path` for a file to download."""
    if isinstance(report, dict):
        return {"file" if key == "path" else key: _without_paths(value) for key, value in report.items()}
    if isinstance(report, list | tuple):
        return [_without_paths(value) for value in report]
    return report


def from_example(
    example: Example, prompts: Mapping[str, object], params: Mapping[str, object]
) -> EditRequest:
    """An example with other words for some of its regions.

    Raises:
        RequestError: A region it does not have, or words that cannot be taken.
    """
    base = example.request
    known = [region.name for region in base.regions]
    for name, text in prompts.items():
        if name not in known:
            raise RequestError("prompts", f"Region {name[:60]!r} was not found. {suggest(name, known)}")
        if not isinstance(text, str):
            raise RequestError(f"regions.{name}.prompt", f"Expected text, got {shorten(text)}.")
    regions = tuple(
        replace(region, prompt=str(prompts.get(region.name, region.prompt)).strip())
        for region in base.regions
    )
    check_lengths(regions)
    # The project's own prompt speaks of the project's own region prompts.
    prompt = base.prompt if regions == base.regions else ""
    return replace(base, regions=regions, prompt=prompt, params={**base.params, **params})


def _read_object(field: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RequestError(field, f"The text is not JSON ({error}). Use an object such as {{}}.") from None
    if not isinstance(value, dict):
        raise RequestError(field, f"Expected an object of names and values, got {shorten(value)}.")
    return value
