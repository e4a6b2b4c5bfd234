"""Wiring of the page: which event calls what, and which components it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from regrain.editing.params.registry import METHODS
from regrain.ui.api.programs import Programs, add_api
from regrain.ui.handlers.base import Components, page_of
from regrain.ui.handlers.check_handlers import CheckHandlers
from regrain.ui.handlers.history_handlers import HistoryHandlers
from regrain.ui.handlers.mask_files import MaskFileHandlers
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.model_handlers import MaskModelHandlers, ModelHandlers
from regrain.ui.handlers.regions import MaskHandlers
from regrain.ui.handlers.run_handlers import RunHandlers
from regrain.ui.handlers.session_handlers import SessionHandlers
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.handlers.tuning_handlers import TuningHandlers
from regrain.ui.page.blocks import Page
from regrain.ui.page.layout import Tools, lay_out
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.examples import Example
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore
from regrain.ui.views import model_views
from regrain.ui.views.catalogue import Catalogue
from regrain.ui.views.components import HEADER, view
from regrain.ui.views.costs import Costs
from regrain.ui.views.jobs import Jobs

# Seconds between looks for what gradio keeps, uploads and results of programs, and the age at which it goes.
_UNUSED = (600, int(MAX_AGE))
# How events are listened to: all are private, since the endpoints for programs are others. FREE ones never
# wait for each other; of MANY none is dropped while the one before is answered.
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "show_progress_on": [],
    "api_visibility": "private",
}
FREE: dict[str, Any] = {**QUIET, "concurrency_limit": None}
MANY: dict[str, Any] = {**FREE, "trigger_mode": "multiple"}
# What the browser does by itself.
_RESTORED = "() => { window.regrain.restored = true; }"
_ASK_TO_LOOK = "() => window.regrain.tell('look')"


def build(
    tools: Tools, examples: Mapping[str, Example], media: Media, model_folder: Path
) -> gr.Blocks:
    """Make the page; `media` is the one folder that may be served."""
    catalogue = Catalogue(examples, model_folder)
    first = next(iter(examples.values()), None)
    finder = "cuts" if tools.remark else "sam"
    start = Session(first.opened, finder) if first else None
    made = ((e.request, e.opened.made.report) for e in examples.values() if e.opened.made)
    with Page(
        title="Regrain", analytics_enabled=False, fill_width=True, delete_cache=_UNUSED
    ) as page:
        head = view("header", template=HEADER)
        parts = lay_out(catalogue, start, tools)
        visits = SessionStore(
            first.opened if first else None, media, finder, ended=page.drop_session
        )
        tracking, turns, costs = (
            Tracking(visits, tools.propagate, tools.discover),
            RunQueue(),
            Costs(made),
        )
        jobs = Jobs(costs.watched(tools.edit), catalogue, media)
        programs = Programs(jobs, turns, tracking, tools.segment, finder)
        add_api(programs)  # before events of pages, some of which have the names of endpoints
        shared = (catalogue, visits, media, parts)
        masks = MaskHandlers(
            *shared, Masking(visits, tools.segment), tracking, ClipFiles(visits, media)
        )
        checking = CheckHandlers(*shared, costs)
        restored = _wire_session(page, head, SessionHandlers(head, masks, checking.weigh))
        changes = [restored, *_wire_masks(masks), *_wire_models(ModelHandlers(*shared, tools.hub))]
        changes += _wire_runs(RunHandlers(*shared, jobs, tracking, turns), checking, restored)
        changes.append(_wire_history(HistoryHandlers(*shared)))
        changes.append(parts.quality.choose(checking.choose, parts.model, _counts(parts), **QUIET))
        _wire_tuning(TuningHandlers(*shared, tools.estimate), changes)
        _wire_checks(checking, changes)
        _wire_mask_files(MaskFileHandlers(*shared), MaskModelHandlers(*shared))
        _wire_marks(page, parts, changes)
        _wire_leaving(page, visits, programs)
    return page


def _wire_session(page: gr.Blocks, head: Any, sessions: SessionHandlers) -> Dependency:
    """Connect what brings back what a page had; returns the event that does.

    Most pages are new. What brings one back writes to all its components, which takes a browser half a
    second, so it waits until the server has said that there is something.
    """
    p = sessions.masks.parts
    page.load(sessions.arrive, None, [head, p.quality, p.tries], **FREE)
    head.here(sessions.here, None, None, **MANY)
    head.offer(sessions.offer, None, head, **QUIET)
    head.keep(sessions.keep, p.fields, None, **MANY)
    restored = head.back(
        sessions.restore, None, [*p.session, *p.fields, p.history, p.run, p.stop], **FREE
    )
    filled = restored.then(sessions.refill, None, [p.progress, *p.fields], **FREE)
    # Until then the fields hold what a new page has, or what the browser filled in on its way back.
    filled.then(None, None, None, js=_RESTORED, **QUIET)
    return restored


def _wire_masks(masks: MaskHandlers) -> list[Dependency]:
    """Connect events of clips, masks and words; returns those that may change what a run would tune."""
    p = masks.parts
    switched = [*p.method_shown, p.prompt, p.seed]
    opened = [*p.session, p.added, p.seed, *p.controls.all]
    of_model = [*p.model_shown, p.cards, p.prompt, p.added, p.addons, *p.controls.all]
    changes = [
        p.gallery.pick(masks.choose, p.model, opened, **MANY),
        p.gallery.open(masks.load, p.model, opened, **QUIET, concurrency_limit=2),
        p.canvas.trim(masks.trim, p.cards, opened, **QUIET, concurrency_limit=2),
        p.cards.prompts(masks.describe, p.cards, p.prompt, **MANY),
        p.method.choose(masks.switch, None, switched, **QUIET),
        p.model.change(masks.choose_model, [p.model, p.added], of_model, **QUIET),  # type: ignore[attr-defined]
    ]
    p.canvas.act(masks.act, None, [p.canvas, p.cards, p.prompt], **MANY)
    p.canvas.scan(masks.scan, None, p.canvas, **MANY | {"concurrency_limit": 1})
    p.canvas.track(masks.track, None, p.canvas, **MANY)
    p.cards.discover(masks.discover, [p.cards, p.model], [p.canvas, p.cards, p.prompt], **MANY)
    p.canvas.save(masks.save, [p.cards, *p.fields], [p.download, p.progress], **QUIET)
    for method in p.controls.fields:
        fields = p.controls.own(method)
        if preset := fields.get("preset"):
            shown = [*fields.values(), p.progress]
            changes.append(
                preset.input(masks.choose_preset(method), [preset, p.model], shown, **QUIET)
            )  # type: ignore[attr-defined]
    return changes


def _wire_models(models: ModelHandlers) -> list[Dependency]:
    """Connect the hub, LoRA files and control networks; returns what changes what a run would be given."""
    p = models.parts
    p.hub.ask(models.ask, None, p.hub, concurrency_limit=4, **QUIET)
    fetched = [p.hub, p.model, p.added, p.addons, p.cards, p.prompt]
    p.hub.stop(models.stop, None, None, **QUIET, queue=False)
    for name, helper in p.controls.helpers:
        if name == "control":
            helper.look(models.see_control, None, helper, concurrency_limit=2, **QUIET)  # type: ignore[attr-defined]
    return [
        p.hub.fetch(models.fetch, [p.added, p.model], fetched, concurrency_limit=1, **QUIET),
        p.hub.use(models.use, None, [p.hub, p.model], **QUIET),
        p.addons.choose(models.add, None, p.added, **QUIET),
    ]


def _wire_mask_files(files: MaskFileHandlers, fetching: MaskModelHandlers) -> None:
    """Connect the import and the export of masks, and the button that fetches a published SAM."""
    p = files.parts
    changed = [p.canvas, p.cards, p.prompt]
    p.mask_file.upload(files.load, p.mask_file, changed, **QUIET, concurrency_limit=2)
    p.canvas.export(files.save, None, [p.download, p.canvas], **QUIET, concurrency_limit=2)
    p.fetch.fetch(fetching.start, None, [p.fetch, p.canvas], **FREE)
    p.fetch.stop(fetching.stop, None, None, **QUIET, queue=False)


def _wire_runs(
    runs: RunHandlers, checking: CheckHandlers, restored: Dependency
) -> list[Dependency]:
    """Connect Run and Stop; returns the ends of a run."""
    p = runs.parts
    given = [p.cards, *p.fields]
    permitted = p.run.click(checking.permit, given, [p.progress, p.checks], **FREE)
    waiting = [p.run, p.stop, p.queue, p.progress, p.live, p.result, p.losses]
    began = permitted.success(runs.begin, [p.variants, *given], waiting, **FREE)
    shown = [
        p.canvas,
        p.player,
        p.history,
        p.live,
        p.result,
        p.losses,
        p.progress,
        p.queue,
        p.adapters,
    ]
    ready = (runs.ready, p.cards, [p.run, p.stop, p.queue, p.canvas])
    began.failure(*ready, **FREE)
    ended = []
    for listen, handler in ((began.success, runs.watch), (restored.success, runs.watch_again)):
        # Not skipped while the watching of a run that was stopped comes to its end.
        watched = listen(handler, None, shown, **MANY)
        ended.append(watched.then(*ready, **FREE))
        watched.failure(*ready, **FREE)
    p.stop.click(runs.stop, None, p.progress, **FREE)
    p.queue.arrange(runs.arrange, None, p.queue, **MANY)
    return ended


def _wire_history(history: HistoryHandlers) -> Dependency:
    """Connect the list of earlier runs; returns what changes what a run would tune."""
    p = history.parts
    shown = [p.history, p.player, p.result, p.progress]
    p.history.show(history.show, None, shown, **QUIET)
    p.history.compare(history.compare, None, shown, **QUIET)
    p.history.remove(history.remove, None, shown, **QUIET)
    p.result.make(history.make, None, p.download, **MANY | {"concurrency_limit": 2})
    form = [p.history, p.progress, p.cards, p.prompt, p.addons, *p.method_shown, *p.fields]
    used = p.history.use(history.use, p.model, form, **QUIET)
    return used.then(history.fill, None, [p.progress, *p.controls.all], **QUIET)


def _counts(p: Components) -> list[Component]:
    """The fields of the counts that a quality sets, of all methods."""
    fields = p.controls.fields.values()
    return [own[name] for own in fields for name in ("steps", "tune_steps") if name in own]


def _wire_checks(checking: CheckHandlers, changes: Sequence[Dependency]) -> None:
    """After every change and while somebody types, say what is wrong, which quality it is, what it takes."""
    p = checking.parts
    counts = {*map(id, _counts(p))}
    heard = (f for f in p.controls.all if id(f) in counts or isinstance(f, gr.Textbox | gr.Number))
    typed = [field.change for field in heard]  # type: ignore[attr-defined]
    # All that changes asks for the one event that looks. Of several looks at once, each with what the page
    # said at its time, an older one may answer last; of one event the next waits for the answer.
    ask: dict[str, Any] = {"fn": None, "js": _ASK_TO_LOOK, **QUIET, "trigger_mode": "multiple"}
    gr.on(typed, **ask)
    for listen in (p.cards.prompts, *(change.then for change in changes)):
        listen(**ask)
    said, shown = [p.cards, *p.fields], [p.checks, p.progress, p.quality, p.tries]
    p.checks.look(checking.look, said, shown, trigger_mode="always_last", queue=False, **QUIET)


def _wire_tuning(tuning: TuningHandlers, changes: list[Dependency]) -> None:
    """Connect the list of tuned models, whose events join the changes; after every change, look at it."""
    p = tuning.parts
    p.adapters.export(tuning.export, None, [p.adapters, p.download], **QUIET)
    changes += [
        p.adapters.choose(tuning.choose, None, p.adapters, **QUIET),
        p.adapters.rename(tuning.rename, None, p.adapters, **QUIET),
        p.adapter_file.upload(tuning.upload, p.adapter_file, p.adapters, **QUIET),
    ]
    listeners: list[Any] = [change.then for change in changes]
    for method in filter(model_views.tunes, METHODS):
        names = ("tune_steps", "start", *METHODS[method].Params.GROUPS["Tuning"])
        listeners += [p.controls.fields[method][name].input for name in names]  # type: ignore[attr-defined]
    for listen in listeners:
        listen(tuning.look, p.fields, [p.adapters, p.takes], **FREE)


def _wire_marks(page: gr.Blocks, p: Components, changes: Sequence[Dependency]) -> None:
    """Tie the marks below the film strip to the fields they write, both ways, within the browser."""
    fields = p.controls.shared
    names = json.dumps([*fields])
    tell = (
        f"(...texts) => window.regrain?.tell('written', {names}.map((name, i) => [name, texts[i]]))"
    )
    read = f"() => {names}.map((name) => window.regrain.written[name])"
    # A field that is not shown tells nothing of its changes, hence the listeners to what fills it.
    listeners: list[Any] = [page.load, *(change.then for change in changes)]
    listeners += [field.change for field in fields.values()]  # type: ignore[attr-defined]
    for listen in listeners:
        listen(None, [*fields.values()], None, js=tell, **QUIET)
    p.canvas.written(None, None, [*fields.values()], js=read, **QUIET)


def _wire_leaving(page: gr.Blocks, visits: SessionStore, programs: Programs) -> None:
    """Forget who has left, page or program."""

    def forget(request: gr.Request) -> None:
        session = request.session_hash or ""
        programs.leave(session)
        visits.leave(page_of(request), session)

    page.unload(forget)
