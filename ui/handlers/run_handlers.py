"""What happens when a page runs an edit: it waits for its turn, shows what the run tells, can be stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, RequestError
from regrain.editing.recipe.events import Event, Losses, Preview, Progress, Stage, Tuned, WindowStarted
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.forms import run_views, views
from regrain.ui.forms.attempts import attempt
from regrain.ui.forms.shots import with_found
from regrain.ui.handlers.masking import BROKEN
from regrain.ui.handlers.regions import Components, address_of, described, page_of, requested
from regrain.ui.handlers.tracking import Followed, Tracking, look
from regrain.ui.results import attention_views, tuning_views
from regrain.ui.results.jobs import Begun, Jobs, RunJob, Saved
from regrain.ui.results.variants import Variant, plan, remember
from regrain.ui.server.run_queue import RunQueue, Visitor
from regrain.ui.server.runs import Changes, RunThread, watch
from regrain.ui.server.worker import in_thread
from regrain.ui.session import method_choice
from regrain.ui.session.build_request import whole_masks
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import Choices
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.session.session_store import SessionStore

log = logging.getLogger(__name__)
_WAIT = 0.2  # seconds between looks at whether a turn has come, or a tracking is over


@dataclass(frozen=True)
class RunForm:
    """What the page said when Run was pressed.

    Attributes:
        wanted: How many variants.
        trying: What to try, in place of the whole run.
        since: The revision of masks that the page has.
        fields: Model, LoRA files, seed, parameters.
    """

    wanted: object
    trying: object
    since: int
    fields: tuple[Any, ...]


@dataclass(frozen=True)
class RunHandlers:
    """What runs, shows and stops an edit."""

    jobs: Jobs
    tracking: Tracking
    parts: Components
    turns: RunQueue = field(default_factory=RunQueue)

    @property
    def visits(self) -> SessionStore:
        """The documents of all open pages."""
        return self.tracking.visits

    def begin(self, request: gr.Request, wanted: object, value: object, *fields: object) -> dict[Any, Any]:
        """Take a place in the queue and begin; the page while it waits.

        Args:
            request: Of the page.
            wanted: How many variants.
            value: What the cards say.
            fields: Model, LoRA files, seed, parameters.
        """
        page = page_of(request)
        try:
            document = described(self.visits, page, value)
            self.jobs.catalogue.model(fields[0])
            turn = self.turns.enter(Visitor(page, address_of(request)))
        except StaleEvent:
            return {self.parts.progress: gr.skip()}
        except EditingError as error:
            return {self.parts.progress: run_views.failed(error.field, error.message)}
        run = RunThread(turn)
        with document.lock:
            document.run, document.fields = run, fields
        words: dict[str, Any] = value  # type: ignore[assignment]  # or it would not have been described
        pressed = RunForm(wanted, words.get("attempt"), words["have"], fields)
        run.begin(self.work(document, page, pressed, run))
        return {
            self.parts.run: gr.Button(interactive=False),
            self.parts.stop: gr.Button(visible=True),
            self.parts.progress: run_views.waiting(document.method, document.shelf.path),
            **dict.fromkeys((self.parts.live, self.parts.result, self.parts.losses)),
        }

    async def watch(self, request: gr.Request) -> AsyncIterator[Changes]:
        """What the run shows that has just begun; nothing if it was refused."""
        run = self.visits.run_of(page_of(request))
        if run is None or run.watched:
            yield {self.parts.progress: gr.skip()}
            return
        async for changes in self.watch_again(request):
            yield changes

    async def watch_again(self, request: gr.Request) -> AsyncIterator[Changes]:
        """What the page's last run shows, from its beginning, if there was one."""
        page = page_of(request)
        yield {self.parts.progress: gr.skip()}  # without a word, gradio would empty all that it may change
        if run := self.visits.run_of(page):
            run.watched = True
            async for changes in watch(run, lambda: self.visits.keep(page)):
                yield changes

    def stop(self, request: gr.Request) -> dict[Any, Any]:
        """End the page's run, or take it out of the queue."""
        run, progress = self.visits.run_of(page_of(request)), self.parts.progress
        if run is None or run.over:
            return {progress: gr.skip()}
        said = run_views.stopped(run.shows(progress))
        run.stop({progress: said})
        return {progress: said}

    def work(
        self, document: Session, page: str, pressed: RunForm, run: RunThread
    ) -> Generator[Changes, None, None]:
        """A run from first to last; what is not yet tracked is tracked before."""
        model, loras, seed, *values = pressed.fields
        try:
            identity, catalogue = document.id, self.jobs.catalogue
            yield from self._wait(document, run)
            if method_choice.uses(document.method).regions != "ignored":
                yield from self._complete(document, pressed.since)
            with document.lock:
                if document.id != identity:
                    raise RequestError("clip", "Another clip was opened before the run began. Run again.")
                asked = requested(catalogue, self.parts.controls, document, model, loras, seed, values)
                keep = partial(document.shelf.keep, media=self.jobs.media, page=page)
                found = with_found(asked, document)
                asked, opened = attempt(pressed.trying, found, document.opened)
                whole = None if opened.attempt else whole_masks(document, asked)
                job = RunJob(asked, page, opened, whole, keep)
                usual = catalogue.values(asked.method, asked.model, asked.params)
                wanted = None if opened.attempt else pressed.wanted
                order = plan(job, wanted, usual, Choices.of(asked, identity, document.prompt))
            for one in order:
                if document.id == identity:
                    yield from self._run(document, identity, one, run)
        except EditingError as error:
            yield {self.parts.progress: run_views.failed(error.field, error.message), self.parts.live: None}
        except Exception:
            log.exception("a run failed")
            yield {self.parts.progress: run_views.failed("run", BROKEN), self.parts.live: None}

    def _wait(self, document: Session, run: RunThread) -> Iterator[Changes]:
        """Say how many runs come before this one, until its turn."""
        told = None
        while not run.turn.wait(_WAIT):
            before, seconds = run.turn.before()
            said = run_views.waiting(document.method, document.shelf.path, before, seconds)
            yield {self.parts.progress: gr.skip() if said == told else said}
            told = said

    def ready(self, request: gr.Request, value: object) -> dict[Any, Any]:
        """The page after a run, however it ended: its own tracking may have been stopped with it."""
        run, buttons = self.visits.run_of(page_of(request)), {}
        if run is None or run.over:  # else the next has begun meanwhile
            buttons = {self.parts.run: gr.Button(interactive=True), self.parts.stop: gr.Button(visible=False)}
        try:
            document = described(self.visits, page_of(request), value)
        except EditingError:
            return buttons | {self.parts.canvas: gr.skip()}
        with document.lock:
            return buttons | {self.parts.canvas: views.canvas(document, value["have"])}  # type: ignore[index]

    def _complete(self, document: Session, since: int) -> Iterator[Any]:
        """Track the regions that were drawn and never followed to the end.

        Raises:
            RequestError: The tracking was stopped.
        """
        while document.tracking:  # begun by hand; the run waits for it
            yield {self.parts.progress: gr.skip()}
            time.sleep(_WAIT)
        with document.lock:
            labels, identity = document.to_track(only_untracked=True), document.id
        if not labels:
            return
        # Nothing is handed out while the lock is held: what comes back may come in another thread, or never.
        with closing(self.tracking.follow(document, labels)) as steps:
            for step in steps:
                yield self._followed(step, look(document, identity, since) if step else None)
        with document.lock:
            partial = document.id == identity and document.to_track(only_untracked=True)
        if partial:
            raise RequestError("regions", "Tracking was stopped before the end. Track them, then run.")
        if shown := look(document, identity, since):
            yield {self.parts.canvas: shown}

    def _followed(self, step: Followed | None, shown: views.View | None) -> dict[Any, Any]:
        if step is None or shown is None:
            return {self.parts.progress: gr.skip()}
        return {self.parts.canvas: shown, self.parts.progress: run_views.tracking(*step)}

    def _run(self, document: Session, identity: str, variant: Variant, run: RunThread) -> Iterator[Any]:
        """Run a job and show what it tells, unless the page opens another clip meanwhile."""
        job = replace(variant.job, kept=document.history.folders)
        started, opened = variant.number > 1, job.opened or document.opened
        losses = tuning_views.LossCurve()
        part = f"variant {variant.number} of {variant.total}" if variant.total > 1 else ""
        progress = run_views.RunProgress(job.request.method, job.request.adapter, part)
        with closing(in_thread(lambda: self.jobs.run(job))) as items:
            for item in items:
                if document.id != identity:  # nobody waits for this one
                    return
                run.turn.follow(item)
                if item is not None and not started:
                    started = True
                    yield {self.parts.player: views.player(opened)}
                if isinstance(item, Progress | Losses | Tuned) and (shown := losses.take(item)):
                    yield {self.parts.losses: shown} | self._listed(item, document)
                elif isinstance(item, Stage | Progress | WindowStarted):
                    yield {self.parts.progress: progress.take(item)}
                elif isinstance(item, Saved):
                    yield self._keep(item, document, variant, opened)
                else:
                    yield self._show(item, job.request, opened)

    def _listed(self, item: Event, document: Session) -> dict[Any, Any]:
        """The list of tuned models, if there is a new one."""
        if not isinstance(item, Tuned):
            return {}
        listed = tuning_views.models(document.shelf, self.jobs.catalogue.adapters, document.method)
        return {self.parts.adapters: listed}

    def _keep(self, saved: Saved, document: Session, variant: Variant, opened: ClipSession) -> dict[Any, Any]:
        """A result, shown and kept in the history."""
        shown = remember(document.history, saved, variant, opened, self.jobs.media)
        return {
            self.parts.history: document.history.view(),
            self.parts.player: shown["player"],
            self.parts.result: shown["result"],
            self.parts.progress: run_views.done(saved.finished.report),
            self.parts.live: None,
        }

    def _show(self, item: Event | Begun | None, asked: EditRequest, opened: ClipSession) -> Any:
        match item:
            case Preview():
                return {self.parts.live: attention_views.live(item, asked)}
            case Begun(path, frames):
                return {self.parts.player: views.begun_player(opened, path, frames)}
        return {self.parts.progress: gr.skip()}
