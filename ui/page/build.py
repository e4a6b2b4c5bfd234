"""Wiring of the page: which event calls what, and which components it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from regrain.editing.params.registry import METHODS
from regrain.ui.api.programs import Programs
from regrain.ui.api.server import add_api
from regrain.ui.forms.catalogue import Catalogue
from regrain.ui.forms.components import header
from regrain.ui.forms.costs import Costs
from regrain.ui.handlers.check_handlers import CheckHandlers
from regrain.ui.handlers.history_handlers import HistoryHandlers
from regrain.ui.handlers.mask_files import MaskFileHandlers, MaskFiles
from regrain.ui.handlers.mask_model_handlers import FinderHandlers
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.model_handlers import ModelHandlers
from regrain.ui.handlers.motion import Motions
from regrain.ui.handlers.quality import QualityHandlers
from regrain.ui.handlers.regions import Components, MaskHandlers, page_of, told
from regrain.ui.handlers.run_handlers import RunHandlers
from regrain.ui.handlers.session_handlers import SessionHandlers
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.handlers.tuning_handlers import TuningHandlers
from regrain.ui.page.blocks import Page
from regrain.ui.page.layout import lay_out
from regrain.ui.page.tools import Tools
from regrain.ui.results import tuning_views
from regrain.ui.results.jobs import Jobs
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.examples import Example
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore

# Seconds between looks for what gradio keeps, uploads and results of programs, and the age at which it goes.
_UNUSED = (600, int(MAX_AGE))


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
    finder = "cuts" if tools.remark else "sam"
    start = Session(first.opened, finder) if first else None
    with Page(title="Regrain", analytics_enabled=False, fill_width=True, delete_cache=_UNUSED) as page:
        head = header()
        parts = lay_out(catalogue, start, tools)
        ended = partial(_drop_session, page)
        visits = SessionStore(first.opened if first else None, media, finder, ended=ended)
        tracking = Tracking(visits, tools.propagate, tools.discover)
        costs = Costs()
        jobs = Jobs(costs.watched(tools.edit), catalogue, media)
        masks = MaskHandlers(
            catalogue, Masking(visits, tools.segment), tracking, ClipFiles(visits, media), parts
        )
        turns = RunQueue()
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


def _drop_session(page: gr.Blocks, session: str) -> None:
    """Free gradio's copies of all components for a session; it would keep those of 10,000 sessions."""
    if holder := getattr(page, "state_holder", None):  # once the page is served
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)


def _wire_leaving(page: gr.Blocks, visits: SessionStore, programs: Programs) -> None:
    """Forget who has left, page or program."""

    def forget(request: gr.Request) -> None:
        session = request.session_hash or ""
        programs.calls.leave(session)
        visits.leave(page_of(request), session)

    page.unload(forget)


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
    # All that changes asks for the one event that looks. Of several looks at once, each with what the page
    # said at its time, an older one may answer last; of one event the next waits for the answer.
    ask: dict[str, Any] = {"fn": None, "js": "() => window.regrain.tell('look')", **_QUIET}
    gr.on(typed, **ask, trigger_mode="multiple")
    for listen in (p.cards.prompts, *(change.then for change in changes)):
        listen(**ask, trigger_mode="multiple")
    shown = [p.checks, p.progress, p.quality, p.tries]
    how: dict[str, Any] = {"trigger_mode": "always_last", "queue": False, **_QUIET}
    p.checks.look(look, _request_inputs(p), shown, **how)


def _wire_quality(quality: QualityHandlers) -> Dependency:
    """Connect the choice of a quality, which sets counts; returns what changes what a run would take."""
    p = quality.parts
    return p.quality.choose(quality.choose, p.model, _counts(p), **_QUIET)


def _counts(p: Components) -> list[Component]:
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


def _wire_motion(p: Components, motions: Motions) -> None:
    """Draw motion on demand, one pair of frames at a time; runs and clicks do not wait for it."""

    def look(event: gr.EventData, request: gr.Request) -> Any:
        return motions.look(page_of(request), told(event)) or gr.skip()

    p.motion.look(look, None, p.motion, **_QUIET, trigger_mode="multiple", concurrency_limit=1)


def _wire_marks(page: gr.Blocks, p: Components, changes: Sequence[Dependency]) -> None:
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


def _request_inputs(parts: Components) -> list[Component]:
    """Whatever a request is built from."""
    return [parts.cards, parts.model, parts.loras, parts.seed, *parts.controls.all]
