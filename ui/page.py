"""Layout and wiring of the page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

import editing.backbones.hub
from editing.registry import METHODS
from ui import made_views, method_choice, settings, tuning_views, views
from ui.adapters import Shelf
from ui.api import add_api
from ui.blocks import Page
from ui.catalogue import BUILT_IN_MODEL, Catalogue
from ui.check_handlers import CheckHandlers
from ui.clip_files import ClipFiles
from ui.components import header, view
from ui.costs import Costs
from ui.document import Document
from ui.examples import Example
from ui.finder_handlers import FinderHandlers, offer
from ui.handlers import MaskHandlers, Parts, page_of, prompt_view, seed_field, told
from ui.history_handlers import HistoryHandlers
from ui.jobs import Edit, Jobs
from ui.mask_edits import Segment
from ui.mask_files import ACCEPTED as MASK_FILES
from ui.mask_files import MaskFileHandlers, MaskFiles
from ui.masking import Masking
from ui.media import MAX_AGE, Media
from ui.model_handlers import ModelHandlers
from ui.model_views import Hub, control_view, hub_view, lora_view
from ui.motion import Motion, Motions
from ui.programs import Programs
from ui.quality import QualityHandlers, choices
from ui.run_handlers import RunHandlers
from ui.session_handlers import SessionHandlers
from ui.tracking import Discover, Propagate, Tracking
from ui.tuning_handlers import Estimator, TuningHandlers
from ui.turns import Turns
from ui.visits import Visits

_NOTICE = (
    "<p class='rg-notice'><strong>The built-in model cannot edit this clip.</strong> It only knows its own "
    "picture-book world, so its edits of real footage are meaningless. Clicks and tracking work, but make "
    "more mistakes than on drawn clips: check the frames marked as uncertain. For a real edit, put a Stable "
    "Diffusion checkpoint into the folder $REGRAIN_MODELS and choose it under Settings, or save the project "
    "and run it elsewhere with --model.</p>"
)

# Seconds between looks for what gradio keeps, uploads and results of programs, and the age at which it goes.
_UNUSED = (600, int(MAX_AGE))


@dataclass(frozen=True)
class Tools:
    """The heavy work behind the page.

    Attributes:
        edit: Runs a request.
        segment: As `masks.segment`; fast when called again for the same frame.
        propagate: See `Tracking`.
        discover: See `Tracking`; None where nothing can be found without masks.
        remark: What a user should know about how clicks are answered; None where SAM answers them.
        estimate: See `TuningHandlers`.
        motion: See `Motions`; None where it cannot be shown.
        hub: Where models come from.
    """

    edit: Edit
    segment: Segment
    propagate: Propagate
    discover: Discover | None = None
    remark: str | None = None
    estimate: Estimator | None = None
    motion: Motion | None = None
    hub: Hub = editing.backbones.hub


def build(tools: Tools, examples: Mapping[str, Example], media: Media, model_folder: Path) -> gr.Blocks:
    """Make the page.

    Args:
        tools: What edits, segments and tracks; called in threads.
        examples: By name, in the order shown; may be empty.
        media: The one folder that may be served.
        model_folder: The built-in model's.
    """
    catalogue = Catalogue(examples, model_folder)
    first = next(iter(examples.values()), None)
    finder = "grabcut" if tools.remark else "sam"
    start = Document(first.opened, finder) if first else None
    with Page(title="Regrain", analytics_enabled=False, fill_width=True, delete_cache=_UNUSED) as page:
        head = header()
        parts = _lay_out(catalogue, start, tools)
        visits = Visits(first.opened if first else None, media, finder)
        tracking = Tracking(visits, tools.propagate, tools.discover)
        costs = Costs()
        jobs = Jobs(costs.watched(tools.edit), catalogue, media)
        masks = MaskHandlers(
            catalogue, Masking(visits, tools.segment), tracking, ClipFiles(visits, media), parts
        )
        turns = Turns()
        programs = Programs(jobs, turns, tracking, tools.segment, finder)
        add_api(programs)  # before events of pages, some of which have the names of endpoints
        runs = RunHandlers(jobs, tracking, parts, turns)
        tuning = TuningHandlers(catalogue, visits, media, parts, tools.estimate)
        history = HistoryHandlers(catalogue, visits, media, parts)
        checking = CheckHandlers(catalogue, visits, parts)
        models = ModelHandlers(catalogue, visits, parts, tools.hub)
        quality = QualityHandlers(catalogue, visits, parts, costs)
        restored = SessionHandlers(head, masks, quality.look).wire(page, _QUIET)
        changes = [*_wire_masks(masks), *_wire_runs(runs, checking, restored), *_wire_tuning(tuning)]
        changes += [*models.wire(_QUIET), _wire_history(history), restored, _wire_quality(quality)]
        _wire_checks(checking, quality, changes)
        _wire_mask_files(MaskFileHandlers(MaskFiles(visits, media), parts))
        _wire_fetch(FinderHandlers(visits, parts))
        _wire_look(tuning, changes)
        _wire_marks(page, parts, changes)
        if tools.motion:
            _wire_motion(parts, Motions(visits, tools.motion))

        _wire_leaving(page, visits, programs)
    return page


def _wire_leaving(page: gr.Blocks, visits: Visits, programs: Programs) -> None:
    """Forget who has left, page or program."""

    def forget(request: gr.Request) -> None:
        session = request.session_hash or ""
        programs.calls.leave(session)
        visits.leave(page_of(request), session)

    page.unload(forget)


def _lay_out(catalogue: Catalogue, start: Document | None, tools: Tools) -> Parts:
    """All components, showing the document a new page begins with."""
    shown: dict[str, Any] = {}
    examples = catalogue.examples
    shown["gallery"] = view(
        "gallery", views.gallery(examples, next(iter(examples), None)), elem_id="examples"
    )
    with gr.Row(elem_classes="rg-columns"):
        with gr.Column(scale=8, min_width=340):
            shown |= _clip_column(start, tools)
        with gr.Column(scale=5, min_width=320):
            shown |= _words_column(catalogue, start, tools.hub)
    return Parts(**shown, download=view("download", elem_id="download"))


def _clip_column(start: Document | None, tools: Tools) -> dict[str, Any]:
    view("tabs", elem_id="tabs")
    canvas = view("canvas", views.canvas(start) if start else None, elem_id="canvas")
    fetch = view("fetch", offer(), elem_id="fetch")
    mask_file = gr.UploadButton(
        "Masks", file_count="multiple", file_types=MASK_FILES, elem_id="mask-file", visible="hidden"
    )
    motion = view("motion", elem_id="motion", visible=tools.motion is not None)
    if tools.remark:
        gr.HTML(f"<p class='rg-remark'>{html.escape(tools.remark)}</p>", apply_default_css=False)
    return {
        "canvas": canvas,
        "fetch": fetch,
        "mask_file": mask_file,
        "motion": motion,
        "player": view("player", made_views.player(start.opened) if start else None, elem_id="player"),
        "history": view("history", elem_id="history"),
        "live": view("live", elem_id="live"),
        "result": view("result", made_views.result(start.opened) if start else None, elem_id="result"),
        "losses": view("losses", elem_id="losses"),
    }


def _words_column(catalogue: Catalogue, start: Document | None, hub: Hub) -> dict[str, Any]:
    chosen = start.method if start else next(iter(METHODS))
    given = {chosen: start.opened.request.params} if start else {}
    usual = {name: catalogue.values(name, BUILT_IN_MODEL, given.get(name, {})) for name in METHODS}
    shown: dict[str, Any] = {
        "cards": view("cards", views.cards(start) if start else None, elem_id="cards"),
        "method": view("method", method_choice.choice(chosen), elem_id="method"),
        "adapters": view("adapters", _shown_models(catalogue, start, chosen), elem_id="adapters"),
        "adapter_file": gr.UploadButton(
            "Add", file_types=[".safetensors"], elem_id="adapter-file", visible="hidden"
        ),
        "quality": view("quality", _first_quality(usual[chosen], chosen), elem_id="quality"),
        "controls": _add_at_hand(usual, chosen),
        "prompt": view("prompt", prompt_view(start) if start else None, elem_id="prompt"),
        "checks": view("checks", elem_id="checks"),
        "notice": gr.HTML(html_template=_NOTICE, apply_default_css=False, visible=False),
    }
    shown["variants"] = view("variants", {"count": 1}, elem_id="variants")
    settled = _add_settings(catalogue, usual, chosen, start, hub)
    shown |= settled | {"controls": shown["controls"] | settled["controls"]}
    _add_words(catalogue.groups)
    # The last of its column, so that it is in sight wherever the page is scrolled to.
    with gr.Column(elem_classes="rg-run", min_width=0):
        with gr.Row():
            shown["run"] = gr.Button("Run", elem_id="run", variant="primary", scale=3)
            shown["stop"] = gr.Button("Stop", elem_id="stop", scale=1, visible=False, min_width=90)
        shown["tries"] = view("tries", elem_id="tries")
        shown["takes"] = view("takes", elem_id="takes")
        shown["progress"] = view("progress", elem_id="progress")
    return shown


def _shown_models(catalogue: Catalogue, start: Document | None, chosen: str) -> views.View:
    shelf = start.shelf if start else Shelf()
    return tuning_views.models(shelf, catalogue.adapters, chosen)


def _first_quality(usual: Mapping[str, Any], method: str) -> views.View:
    return choices(method, usual, usual, lambda steps: None)


def _add_at_hand(usual: Mapping[str, Mapping[str, Any]], chosen: str) -> settings.ParameterFields:
    with gr.Column(elem_id="at-hand", min_width=0):
        return settings.make_fields_at_hand(usual, chosen)


def _add_settings(
    catalogue: Catalogue,
    usual: Mapping[str, Mapping[str, Any]],
    chosen: str,
    start: Document | None,
    hub: Hub,
) -> dict[str, Any]:
    added = start.opened.request.loras if start else ()
    help = {"control": control_view(catalogue.controls)}
    with gr.Accordion("Settings", open=False, elem_id="settings", elem_classes="rg-fold"):
        return {
            "model": gr.Dropdown(catalogue.models, value=BUILT_IN_MODEL, label="Model", elem_id="model"),
            "hub": view("hub_model", hub_view(hub), elem_id="hub"),
            "loras": gr.State([*added]),
            "lora_picker": view("loras", lora_view(catalogue.loras, added), elem_id="loras"),
            "controls": settings.make_fields(usual, chosen, help),
            "seed": gr.Number(
                start.opened.request.seed if start else 0,
                label="Seed",
                precision=0,
                elem_id="seed",
                **seed_field(chosen),
            ),
        }


def _add_words(groups: Mapping[str, Sequence[str]]) -> None:
    count = len({word for phrases in groups.values() for phrase in phrases for word in phrase.split()})
    note = (
        "The built-in model is small and draws a picture-book world. It knows only "
        f"{f'{count} words' if count else 'the words of its own small world'} and rejects all "
        "others. Real footage needs a real checkpoint; see the README. Files of this page are deleted two "
        "minutes after you close it, or after an hour without use. Cached inversions stay on the server."
    )
    value = {"note": note, "groups": [{"title": title, "words": [*words]} for title, words in groups.items()]}
    with gr.Accordion("What the built-in model knows", open=False, elem_id="words", elem_classes="rg-fold"):
        view("vocabulary", value)


_QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}


def _wire_masks(masks: MaskHandlers) -> list[Dependency]:
    """Connect events of clips, masks and words; all private, the endpoint for programs is another.

    Returns:
        Those that may change what a run would tune.
    """
    p = masks.parts
    many: dict[str, Any] = {**_QUIET, "trigger_mode": "multiple", "concurrency_limit": None}
    settled = [p.method, p.prompt, p.seed, *p.controls.show("")]
    new = [p.gallery, p.canvas, p.cards, p.player, p.notice, p.live, p.result, p.progress]
    new += [*settled, *p.controls.all, p.losses, p.loras, p.lora_picker]
    changes = [
        p.gallery.pick(masks.choose, p.model, new, **many),
        p.gallery.open(masks.load, p.model, new, **_QUIET, concurrency_limit=2),
        p.canvas.trim(masks.trim, p.model, new, **_QUIET, concurrency_limit=2),
        p.cards.prompts(masks.describe, p.cards, p.prompt, **many),
        p.method.choose(masks.switch, None, settled, **_QUIET),
        p.model.change(masks.choose_model, p.model, [p.notice, *p.controls.all], **_QUIET),  # type: ignore[attr-defined]
    ]
    p.canvas.act(masks.act, None, [p.canvas, p.cards, p.prompt], **many)
    p.canvas.scan(masks.scan, None, p.canvas, **_QUIET, trigger_mode="multiple", concurrency_limit=1)
    p.canvas.track(masks.track, None, p.canvas, **many)
    p.cards.discover(masks.discover, [p.cards, p.model], [p.canvas, p.cards, p.prompt], **many)
    p.canvas.save(masks.save, _request_inputs(p), [p.download, p.progress], **_QUIET)
    for method in p.controls.fields:
        fields = p.controls.own(method)
        if preset := fields.get("preset"):
            shown = [*fields.values(), p.progress]
            changes.append(preset.input(masks.choose_preset(method), [preset, p.model], shown, **_QUIET))  # type: ignore[attr-defined]
    return changes


def _wire_mask_files(files: MaskFileHandlers) -> None:
    """Connect the import and the export of masks."""
    p = files.parts
    changed = [p.canvas, p.cards, p.prompt]
    p.mask_file.upload(files.load, p.mask_file, changed, **_QUIET, concurrency_limit=2)
    p.canvas.export(files.save, None, [p.download, p.canvas], **_QUIET, concurrency_limit=2)


def _wire_runs(runs: RunHandlers, checking: CheckHandlers, restored: Dependency) -> list[Dependency]:
    """Connect Run and Stop; all private, the endpoint for programs is another. Returns the ends of a run."""
    p = runs.parts
    free: dict[str, Any] = {**_QUIET, "concurrency_limit": None}
    asked = p.run.click(checking.permit, _request_inputs(p), [p.progress, p.checks], **free)
    began = asked.success(
        runs.begin,
        [p.variants, *_request_inputs(p)],
        [p.run, p.stop, p.progress, p.live, p.result, p.losses],
        **free,
    )
    shown = [p.canvas, p.player, p.history, p.live, p.result, p.losses, p.progress, p.adapters]
    ended = []
    for listen, handler in ((began.success, runs.watch), (restored.success, runs.watch_again)):
        # Not skipped while the watching of a run that was stopped comes to its end.
        watched = listen(handler, None, shown, trigger_mode="multiple", **free)
        ended.append(watched.then(runs.ready, p.cards, [p.run, p.stop, p.canvas], **free))
        watched.failure(runs.ready, p.cards, [p.run, p.stop, p.canvas], **free)
    began.failure(runs.ready, p.cards, [p.run, p.stop, p.canvas], **free)
    p.stop.click(runs.stop, None, p.progress, **free)
    return ended


def _wire_history(history: HistoryHandlers) -> Dependency:
    """Connect the list of earlier runs; returns what changes what a run would tune."""
    p = history.parts
    shown = [p.history, p.player, p.result, p.progress]
    p.history.show(history.show, None, shown, **_QUIET)
    p.history.compare(history.compare, None, shown, **_QUIET)
    p.history.remove(history.remove, None, shown, **_QUIET)
    p.result.make(history.make, None, p.download, concurrency_limit=2, trigger_mode="multiple", **_QUIET)
    form = [
        p.model,
        p.cards,
        p.prompt,
        p.method,
        p.seed,
        p.loras,
        p.lora_picker,
        *p.controls.show(""),
        *p.controls.all,
    ]
    used = p.history.use(history.use, p.model, [p.history, p.progress, *form], **_QUIET)
    return used.then(history.fill, None, [p.progress, *p.controls.all], **_QUIET)


def _wire_checks(checking: CheckHandlers, quality: QualityHandlers, changes: Sequence[Dependency]) -> None:
    """After every change and while somebody types, say what is wrong, which quality it is, what it takes."""
    p = checking.parts

    def look(request: gr.Request, cards: object, model: object, loras: object, seed: object, *values: object):
        wrong = checking.look(request, cards, model, loras, seed, *values)
        return wrong | quality.look(request, model, *values)

    counts = {*map(id, _counts(p))}
    heard = (f for f in p.controls.all if id(f) in counts or isinstance(f, gr.Textbox | gr.Number))
    typed = [field.change for field in heard]  # type: ignore[attr-defined]
    # One event for all: each has every field as an input, which takes the browser a tenth of a second.
    shown = [p.checks, p.progress, p.quality, p.tries]
    how: dict[str, Any] = {"inputs": _request_inputs(p), "outputs": shown, "queue": False, **_QUIET}
    gr.on(typed, look, **how, trigger_mode="multiple")
    for listen in (p.cards.prompts, p.checks.look):
        listen(look, **how, trigger_mode="multiple")
    for change in changes:
        change.then(look, **how)


def _wire_quality(quality: QualityHandlers) -> Dependency:
    """Connect the choice of a quality, which sets counts; returns what changes what a run would take."""
    p = quality.parts
    return p.quality.choose(quality.choose, p.model, _counts(p), **_QUIET)


def _counts(p: Parts) -> list[Component]:
    """The fields of the counts that a quality sets, of all methods."""
    names = [(method, name) for method in p.controls.fields for name in ("steps", "tune_steps")]
    found = [p.controls.fields[method][name] for method, name in names if name in p.controls.fields[method]]
    return [*{id(field): field for field in found}.values()]


def _wire_tuning(tuning: TuningHandlers) -> list[Dependency]:
    """Connect the list of tuned models; returns what changes what a run would tune."""
    p = tuning.parts
    p.adapters.export(tuning.export, None, [p.adapters, p.download], **_QUIET)
    return [
        p.adapters.choose(tuning.choose, None, p.adapters, **_QUIET),
        p.adapters.rename(tuning.rename, None, p.adapters, **_QUIET),
        p.adapter_file.upload(tuning.upload, p.adapter_file, p.adapters, **_QUIET),
    ]


def _wire_fetch(fetching: FinderHandlers) -> None:
    """Connect the button that fetches a published SAM."""
    p = fetching.parts
    p.fetch.fetch(fetching.start, None, [p.fetch, p.canvas], **_QUIET, concurrency_limit=None)
    p.fetch.stop(fetching.stop, None, None, **_QUIET, queue=False)


def _wire_look(tuning: TuningHandlers, changes: Sequence[Dependency]) -> None:
    """After every change, say what a run would tune and whether the chosen model fits."""
    p = tuning.parts
    listeners: list[Any] = [change.then for change in changes]
    for method in filter(tuning_views.tunes, METHODS):
        names = ("tune_steps", "start", *METHODS[method].Params.GROUPS["Tuning"])
        listeners += [p.controls.fields[method][name].input for name in names]  # type: ignore[attr-defined]
    for listen in listeners:
        listen(
            tuning.look,
            [p.model, p.loras, *p.controls.all],
            [p.adapters, p.takes],
            concurrency_limit=None,
            **_QUIET,
        )


def _wire_motion(p: Parts, motions: Motions) -> None:
    """Draw motion on demand, one pair of frames at a time; runs and clicks do not wait for it."""

    def look(event: gr.EventData, request: gr.Request) -> Any:
        return motions.look(page_of(request), told(event)) or gr.skip()

    p.motion.look(look, None, p.motion, **_QUIET, trigger_mode="multiple", concurrency_limit=1)


def _wire_marks(page: gr.Blocks, p: Parts, changes: Sequence[Dependency]) -> None:
    """Tie the marks below the film strip to the fields they write, both ways, within the browser."""
    fields = p.controls.shared
    names = json.dumps([*fields])
    tell = f"(...texts) => window.regrain?.tell('written', {names}.map((name, i) => [name, texts[i]]))"
    # A field that is not shown tells nothing of its changes, hence the listeners to what fills it.
    listeners: list[Any] = [page.load, *(change.then for change in changes)]
    listeners += [field.change for field in fields.values()]  # type: ignore[attr-defined]
    for listen in listeners:
        listen(None, [*fields.values()], None, js=tell, **_QUIET)
    read = f"() => {names}.map((name) => window.regrain.written[name])"
    p.canvas.written(None, None, [*fields.values()], js=read, **_QUIET)


def _request_inputs(parts: Parts) -> list[Component]:
    """Whatever a request is built from."""
    return [parts.cards, parts.model, parts.loras, parts.seed, *parts.controls.all]
