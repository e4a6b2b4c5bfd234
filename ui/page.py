"""Layout and wiring of the page."""

from __future__ import annotations

import html
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData
from gradio.components import Component
from gradio.events import api

from editing.errors import EditingError, RequestError, suggest
from editing.events import Event, Finished, Preview, Progress, Stage
from editing.outputs import write_outputs
from editing.project import save_project
from editing.request import EditRequest
from ui import settings, views
from ui.components import header, view
from ui.examples import Example
from ui.media import Media
from ui.worker import in_thread

log = logging.getLogger(__name__)
METHOD = "videograin"
MAX_PROMPT = 200
Edit = Callable[[EditRequest], Iterator[Event]]


@dataclass(frozen=True)
class Saved:
    """The last item of a run: its files, by the name a person sees."""

    finished: Finished
    files: Mapping[str, str]


class Runs:
    """What the page's events do: values in, request out; event in, views out.

    Args:
        edit: Runs a request.
        examples: What can be chosen.
        media: Where files go.
        model_folder: The built-in model's; its recommendations and words.
    """

    def __init__(self, edit: Edit, examples: Mapping[str, Example], media: Media, model_folder: Path) -> None:
        self.edit, self.examples, self.media = edit, examples, media
        self.usual = settings.defaults(METHOD, model_folder)
        self.words: list[str] = settings.read_json(model_folder / "words.json", [])

    def request(self, cards: object, params: Mapping[str, Any]) -> EditRequest:
        """Build a request from what a browser sent.

        Raises:
            RequestError: Unknown example or region, a text too long, a parameter out of range.
        """
        example, prompts = self._read_cards(cards)
        base = example.request
        for region in base.regions:
            if len(prompts[region.label]) > MAX_PROMPT:
                raise RequestError(
                    f"regions.{region.name}.prompt",
                    f"{len(prompts[region.label])} characters given; allowed are {MAX_PROMPT}; shorten it",
                )
        regions = tuple(replace(region, prompt=prompts[region.label].strip()) for region in base.regions)
        # The project's own prompt speaks of the project's own region prompts.
        prompt = base.prompt if regions == base.regions else ""
        kept = {name: value for name, value in base.params.items() if name not in self.usual}
        return replace(base, regions=regions, prompt=prompt, method=METHOD, params={**kept, **params})

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

    def run(self, request: EditRequest, page: str) -> Iterator[Event | Saved]:
        """Edit, then write the files of a result."""
        request.check_runnable()
        folder = self.media.new_run(page)
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
        yield Saved(
            finished,
            {
                "edited.mp4": str(out / "edited.mp4"),
                "report.json": str(out / "report.json"),
                "project.zip": archive,
            },
        )

    def _read_cards(self, cards: object) -> tuple[Example, dict[int, str]]:
        given = cards if isinstance(cards, dict) else {}
        example = self.example(given.get("example"))
        entries = given.get("regions")
        prompts = {
            entry["label"]: entry["prompt"]
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
            and isinstance(entry.get("label"), int)
            and isinstance(entry.get("prompt"), str)
        }
        for region in example.request.regions:
            if region.label not in prompts:
                raise RequestError(f"regions.{region.name}.prompt", "no text was given; reload the page")
        return example, prompts


def build(edit: Edit, examples: Mapping[str, Example], media: Media, model_folder: Path) -> gr.Blocks:
    """Make the page.

    Args:
        edit: Runs a request; called in a thread of its own.
        examples: By name, in the order shown; may be empty.
        media: The one folder that may be served.
        model_folder: The built-in model's.
    """
    runs = Runs(edit, examples, media, model_folder)
    first = next(iter(examples.values()), None)
    with gr.Blocks(title="Regrain", analytics_enabled=False, fill_width=True) as page:
        header()
        if first is None:
            gr.HTML("<p class='rg-note'>No example project was found in assets/examples.</p>")
        gallery = view(
            "mountGallery", views.gallery(examples, first.name if first else None), elem_id="examples"
        )
        with gr.Row(elem_classes="rg-columns"):
            with gr.Column(scale=7, min_width=340):
                player = view("mountPlayer", views.player(first) if first else None, elem_id="player")
                live = view("mountLive", elem_id="live")
                result = view("mountResult", elem_id="result")
            with gr.Column(scale=5, min_width=320):
                cards = view("mountCards", views.cards(first) if first else None, elem_id="cards")
                prompt = view("mountPrompt", views.prompt(first.request) if first else None, elem_id="prompt")
                with gr.Row(elem_classes="rg-run"):
                    run = gr.Button(
                        "Run", elem_id="run", variant="primary", scale=3, interactive=first is not None
                    )
                    stop = gr.Button("Stop", elem_id="stop", scale=1, visible=False, min_width=90)
                progress = view("mountProgress", elem_id="progress")
                with gr.Accordion("Settings", open=False, elem_id="settings", elem_classes="rg-fold"):
                    controls = settings.make_controls(METHOD, runs.usual)
                _add_words(runs.words)
        _wire(runs, page, gallery, player, live, result, cards, prompt, run, stop, progress, controls)
        _add_api(runs)
    return page


def _add_words(words: Sequence[str]) -> None:
    count = f"{len(words)} words" if words else "the words of its own small world"
    note = (
        f"The built-in model is small and draws a picture-book world. It knows only {count}; others are "
        "refused by name. Real footage needs a real checkpoint: see the README. Files of this page are "
        "removed when it is closed, or an hour after the last run."
    )
    chips = "".join(f"<span>{html.escape(word)}</span>" for word in sorted(words))
    with gr.Accordion("What the built-in model knows", open=False, elem_id="words", elem_classes="rg-fold"):
        gr.HTML(
            html_template=f"<p class='rg-note'>{html.escape(note)}</p><div class='rg-wordlist'>{chips}</div>",
            apply_default_css=False,
        )


def _wire(
    runs: Runs,
    page: gr.Blocks,
    gallery: gr.HTML,
    player: gr.HTML,
    live: gr.HTML,
    result: gr.HTML,
    cards: gr.HTML,
    prompt: gr.HTML,
    run: gr.Button,
    stop: gr.Button,
    progress: gr.HTML,
    controls: Mapping[str, Component],
) -> None:
    """Connect components and events; all of them private, the endpoint for programs is another."""
    names = list(controls)

    def choose(event: gr.EventData) -> dict[Any, Any]:
        example = runs.example(getattr(event, "name", None))
        return {
            gallery: views.gallery(runs.examples, example.name),
            player: views.player(example),
            cards: views.cards(example),
            prompt: views.prompt(example.request),
            live: None,
            result: None,
            progress: None,
        }

    def compose(value: object) -> Any:
        try:
            return views.prompt(runs.request(value, {}))
        except EditingError:
            return gr.skip()  # said when it is run; while typing it would only disturb

    def begin() -> dict[Any, Any]:
        return {
            run: gr.Button(interactive=False),
            stop: gr.Button(visible=True),
            progress: views.waiting(),
            live: None,
            result: None,
        }

    def work(request: gr.Request, value: object, *values: object) -> Iterator[Any]:
        try:
            asked = runs.request(value, settings.given(METHOD, names, values, runs.usual))
            example = runs.examples[value["example"]]  # type: ignore[index]
            yield {player: views.player(example)}
            with closing(in_thread(lambda: runs.run(asked, request.session_hash or ""))) as items:
                for item in items:
                    yield show(item, asked, example)
        except EditingError as error:
            yield {progress: views.failed(error.field, error.message), live: None}
        except Exception:
            log.exception("a run failed")
            yield {
                progress: views.failed("This is a fault of Regrain", "the run broke; the log says where"),
                live: None,
            }

    def show(item: Event | Saved | None, asked: EditRequest, example: Example) -> Any:
        match item:
            case Stage() | Progress():
                return {progress: views.progress(item)}
            case Preview():
                return {live: views.live(item, asked.regions)}
            case Saved(finished, files):
                return {
                    player: views.player(example, files["edited.mp4"]),
                    result: views.result(finished.result, finished.report, asked, files),
                    progress: views.done(finished.report),
                    live: None,
                }
        return {progress: gr.skip()}

    def ready() -> dict[Any, Any]:
        return {run: gr.Button(interactive=True), stop: gr.Button(visible=False)}

    def forget(request: gr.Request) -> None:
        runs.media.forget(request.session_hash or "")

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gallery.pick(
        choose,
        None,
        [gallery, player, cards, prompt, live, result, progress],
        trigger_mode="multiple",
        **quiet,
    )
    cards.prompts(compose, cards, prompt, trigger_mode="multiple", **quiet)
    began = run.click(begin, None, [run, stop, progress, live, result], queue=False, **quiet)
    running = began.then(
        work,
        [cards, *controls.values()],
        [player, live, result, progress],
        concurrency_id="edit",
        concurrency_limit=1,
        **quiet,
    )
    running.then(ready, None, [run, stop], queue=False, **quiet)
    stop.click(views.stopped, progress, progress, cancels=[running], queue=False, **quiet)
    page.unload(forget)


def _add_api(runs: Runs) -> None:
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
            cards = views.cards(runs.example(example))
            wanted = _read_object("prompts", prompts)
            known = [region["name"] for region in cards["regions"]]
            for name in wanted:
                if name not in known:
                    raise RequestError("prompts", f"region {name[:60]!r} was given; {suggest(name, known)}")
            for region in cards["regions"]:
                region["prompt"] = wanted.get(region["name"], region["prompt"])
            asked = runs.request(cards, _read_object("params", params))
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
