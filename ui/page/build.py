"""Wiring of the page: which event calls what, and which components it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from regrain.ui.api.programs import Programs, add_api
from regrain.ui.handlers.base import page_of
from regrain.ui.handlers.check_handlers import CheckHandlers
from regrain.ui.handlers.clip_handlers import ClipHandlers
from regrain.ui.handlers.history_handlers import HistoryHandlers
from regrain.ui.handlers.mask_files import MaskFileHandlers
from regrain.ui.handlers.mask_handlers import MaskHandlers
from regrain.ui.handlers.masking import Masking
from regrain.ui.handlers.model_handlers import MaskModelHandlers, ModelHandlers
from regrain.ui.handlers.outputs import answering
from regrain.ui.handlers.project_handlers import ProjectHandlers
from regrain.ui.handlers.run_handlers import RunHandlers
from regrain.ui.handlers.session_handlers import SessionHandlers
from regrain.ui.handlers.tracking import Tracking
from regrain.ui.handlers.tuning_handlers import TuningHandlers
from regrain.ui.page.gradio_insides import Page
from regrain.ui.page.layout import Tools, lay_out
from regrain.ui.page.scripts import calling
from regrain.ui.server.media import MAX_AGE, Media
from regrain.ui.server.run_queue import RunQueue
from regrain.ui.session.clip_files import ClipFiles
from regrain.ui.session.examples import Examples
from regrain.ui.session.projects import Projects
from regrain.ui.session.session import Session
from regrain.ui.session.session_store import SessionStore
from regrain.ui.work.catalogue import Catalogue
from regrain.ui.work.jobs import Jobs
from regrain.ui.work.last_runs import LastRuns

# Seconds between looks for what gradio keeps, uploads and results of programs, and the
# age at which it goes.
_UNUSED = (600, int(MAX_AGE))
# How events are listened to: all are private, since the endpoints for programs are
# others. FREE: events never wait for each other. MANY: events queue and are never
# dropped. IN_ORDER: nor are these, and each waits for the one before: the last counts.
How = dict[str, Any]  # how an event is listened to, as Gradio takes it
QUIET: How = {
    "show_progress": "hidden",
    "show_progress_on": [],
    "api_visibility": "private",
}
FREE: How = {**QUIET, "concurrency_limit": None}
MANY: How = {**FREE, "trigger_mode": "multiple"}
IN_ORDER: How = {**QUIET, "trigger_mode": "multiple"}
# At most so many at a time, of all pages.
ONE: How = {**QUIET, "concurrency_limit": 1}
TWO: How = {**QUIET, "concurrency_limit": 2}
# Scripts of the browser alone.
_RESTORED = calling("shared/calls.js", "noteRestored")
_ASK_TO_LOOK = calling("shared/calls.js", "askToLook")


def build(
    tools: Tools,
    examples: Examples,
    media: Media,
    model_folder: Path,
    projects_folder: Path | None = None,
    unkept: str = "",
) -> gr.Blocks:
    """Make the page; `media` is the one folder that may be served, `projects_folder`
    that in which work is kept; `unkept` says why it is none."""
    catalogue = Catalogue(examples, model_folder)
    first = next((example.opened for example in examples.values()), None)
    finder = "cuts" if tools.remark else "sam"
    start = Session(first, finder) if first else None
    with Page(
        title="Regrain", analytics_enabled=False, fill_width=True, delete_cache=_UNUSED
    ) as page:
        projects = Projects(projects_folder, examples, unkept)
        parts = lay_out(catalogue, start, tools, projects)
        visits = SessionStore(
            first, media, finder, ended=page.drop_session, projects=projects
        )
        turns = RunQueue()
        tracking = Tracking(visits, tools.propagate)
        last_runs = LastRuns()
        jobs = Jobs(last_runs.watched(tools.edit), catalogue, media)
        programs = Programs(jobs, turns, tracking, tools.segment, finder)
        # before events of pages, some of which have the names of endpoints
        add_api(programs)

        shared = (catalogue, visits, media, parts)
        masking = Masking(visits, tools.segment)
        masks = MaskHandlers(*shared, masking, tracking)
        checking = CheckHandlers(*shared, last_runs, tools.load_ahead)
        runs = RunHandlers(*shared, jobs, tracking, turns)
        tuning = TuningHandlers(*shared, tools.plan_tuning)
        files = ClipFiles(visits, media)
        clips = ProjectHandlers(*shared, files, checking.weigh)
        projects.ask = clips.asked
        opened = _wire_projects(clips)

        restored = _wire_session(page, clips)
        changes = [restored, *opened]
        changes += _wire_clips(clips)
        _wire_canvas(masks, clips)
        changes += _wire_models(ModelHandlers(*shared, tools.fetch))
        changes += _wire_runs(runs, checking, restored)
        changes.append(_wire_history(HistoryHandlers(*shared)))
        changes.append(
            _on(parts.quality.choose, checking.choose, parts.fields, **IN_ORDER)
        )
        _wire_tuning(tuning, changes)
        _wire_checks(checking, changes)
        _wire_mask_files(MaskFileHandlers(*shared), MaskModelHandlers(*shared))
        _wire_leaving(page, visits, programs)
    return page


def _on(
    event: Callable[..., Dependency],
    handler: Callable[..., object],
    given: object = None,
    **how: object,
) -> Dependency:
    """Call a handler on an event, with the values of `given`; it declares which
    components it changes."""
    answer, changed = answering(handler)
    return event(answer, given, changed, **how)


def _wire_session(page: gr.Blocks, sessions: SessionHandlers) -> Dependency:
    """Connect the events that bring back a page's work; returns the one that does.

    Most pages are new. Bringing one back writes to all its components, which takes a
    browser half a second, so it waits until the server has said that there is
    something.
    """
    p = sessions.parts
    head = p.head
    _on(page.load, sessions.arrive, **FREE)
    _on(head.here, sessions.here, **MANY)
    _on(head.offer, sessions.offer, **QUIET)
    restored = _on(head.back, sessions.restore, **FREE)
    # Until then the fields hold the values of a new page, or those the browser filled
    # in on its way back.
    restored.then(None, None, None, js=_RESTORED, **QUIET)
    return restored


def _wire_projects(projects: ProjectHandlers) -> list[Dependency]:
    """Connect the list of projects; returns the events that open something."""
    p = projects.parts
    _on(p.recent.list, projects.list, **FREE)
    _on(p.recent.delete, projects.delete, **QUIET)
    opened = [
        _on(p.recent.open, projects.open, **TWO),
        _on(p.recent.path, projects.path, **TWO),
    ]
    for event in opened:
        event.then(None, None, None, js=_RESTORED, **QUIET)
    return opened


def _wire_clips(clips: ClipHandlers) -> list[Dependency]:
    """Connect events of clips, masks and words; returns those that may change what a
    run would tune."""
    p = clips.parts
    return [
        _on(p.gallery.pick, clips.choose, **MANY),
        _on(p.gallery.open, clips.load, **TWO),
        _on(p.canvas.trim, clips.trim, [p.cards, *p.fields], **TWO),
        _on(p.cards.prompts, clips.describe, p.cards, **MANY),
        _on(p.method.choose, clips.switch, p.fields, **IN_ORDER),
        _on(p.model.change, clips.choose_model, p.fields, **QUIET),
        _on(p.settings.preset, clips.choose_preset, p.fields, **IN_ORDER),
    ]


def _wire_canvas(masks: MaskHandlers, clips: ClipHandlers) -> None:
    """Connect what makes masks, and the button that saves the project."""
    p = masks.parts
    _on(p.canvas.act, masks.act, **MANY)
    # not in the queue, whose next look it would await
    _on(p.canvas.hover, masks.act, **MANY, queue=False)
    _on(p.canvas.scan, masks.scan, **MANY | ONE)
    _on(p.canvas.track, masks.track, **MANY)
    _on(p.canvas.save, clips.save, [p.cards, *p.fields], **QUIET)


def _wire_models(models: ModelHandlers) -> list[Dependency]:
    """Connect the hub, LoRA files and control networks; returns the events that may
    change a request."""
    p = models.parts
    p.hub.stop(models.stop, None, None, **QUIET, queue=False)
    p.control.look(models.see_control, None, p.control, **TWO)
    return [
        _on(p.hub.fetch, models.fetch, None, **ONE),
        _on(p.hub.use, models.use, p.fields, **QUIET),
        _on(p.addons.choose, models.add, p.fields, **IN_ORDER),
    ]


def _wire_mask_files(files: MaskFileHandlers, fetching: MaskModelHandlers) -> None:
    """Connect the import and the export of masks, and the button that fetches a
    published SAM."""
    p = files.parts
    _on(p.mask_file.upload, files.load, p.mask_file, **TWO)
    _on(p.canvas.export, files.save, **TWO)
    _on(p.fetch.fetch, fetching.start, **FREE)
    p.fetch.stop(fetching.stop, None, None, **QUIET, queue=False)


def _wire_runs(
    runs: RunHandlers, checking: CheckHandlers, restored: Dependency
) -> list[Dependency]:
    """Connect Run and Stop; returns the events at the ends of runs."""
    p = runs.parts
    given = [p.cards, *p.fields]
    permitted = _on(p.run.click, checking.permit, given, **FREE)
    began = _on(permitted.success, runs.begin, given, **FREE)
    _on(began.failure, runs.ready, p.cards, **FREE)
    ended = []
    for event, handler in (
        (began.success, runs.watch),
        (restored.success, runs.watch_again),
    ):
        # MANY: not skipped while the watching of a run that was stopped comes to its
        # end.
        watched = _on(event, handler, **MANY)
        ended.append(_on(watched.then, runs.ready, p.cards, **FREE))
        _on(watched.failure, runs.ready, p.cards, **FREE)
    _on(p.stop.click, runs.stop, **FREE)
    _on(p.queue.remove, runs.remove, **MANY)
    return ended


def _wire_history(history: HistoryHandlers) -> Dependency:
    """Connect the list of earlier runs; returns the event that may change what a run
    would tune."""
    p = history.parts
    _on(p.history.show, history.show, **IN_ORDER)
    _on(p.history.compare, history.compare, **IN_ORDER)
    _on(p.history.remove, history.remove, **QUIET)
    _on(p.result.make, history.make, **MANY | TWO)
    return _on(p.history.use, history.use, p.model, **QUIET)


def _wire_checks(checking: CheckHandlers, changes: Sequence[Dependency]) -> None:
    """After every change and while somebody types, say what is wrong, which quality it
    is, what it takes."""
    p = checking.parts
    # Every change asks for the one event that looks. Of several looks at once, each
    # with the page's values at its time, an older one may answer last; of one event the
    # next waits for the answer.
    for listen in (p.cards.prompts, *(change.then for change in changes)):
        listen(None, js=_ASK_TO_LOOK, **IN_ORDER)
    given = [p.cards, *p.fields]
    _on(
        p.checks.look,
        checking.look,
        given,
        **QUIET,
        trigger_mode="always_last",
        queue=False,
    )


def _wire_tuning(tuning: TuningHandlers, changes: list[Dependency]) -> None:
    """Connect the list of tuned models, whose events join the changes; after every
    change, look at it."""
    p = tuning.parts
    _on(p.adapters.export, tuning.export, **QUIET)
    changes += [
        _on(p.adapters.choose, tuning.choose, **IN_ORDER),
        _on(p.adapters.rename, tuning.rename, **QUIET),
        _on(p.adapter_file.upload, tuning.upload, p.adapter_file, **QUIET),
    ]
    for listen in (p.settings.tuned, *(change.then for change in changes)):
        _on(listen, tuning.look, p.fields, **IN_ORDER)


def _wire_leaving(page: gr.Blocks, visits: SessionStore, programs: Programs) -> None:
    """Forget who has left, page or program."""

    def forget(request: gr.Request) -> None:
        session = request.session_hash or ""
        programs.leave(session)
        visits.leave(page_of(request), session)

    page.unload(forget)
