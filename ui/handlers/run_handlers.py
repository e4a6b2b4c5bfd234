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
from regrain.editing.recipe.events import Losses, Preview, Progress, Stage, Tuned, WindowStarted
from regrain.ui.forms import run_views, views
from regrain.ui.handlers.base import BROKEN, FieldValues, Handlers, address_of, page_of
from regrain.ui.handlers.tracking import Tracking, look
from regrain.ui.results import attention_views, model_views
from regrain.ui.results.jobs import Begun, Jobs, RunJob, Saved
from regrain.ui.results.variants import Variant, attempt, plan, remember
from regrain.ui.server.run_queue import RunQueue, Visitor
from regrain.ui.server.runs import Changes, RunThread, watch
from regrain.ui.server.worker import in_thread
from regrain.ui.session import method_choice
from regrain.ui.session.build_request import whole_masks, with_cuts
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import Choices
from regrain.ui.session.session import Session, StaleEvent

log = logging.getLogger(__name__)
_WAIT = 0.2  # seconds between looks at whether a turn has come, or a tracking is over


@dataclass(frozen=True)
class RunForm:
    """What the page said when Run was pressed."""

    clip: str  # identity of the clip
    variants: object  # how many are wanted
    attempt: object  # what to try, in place of the whole run
    since: int  # the revision of masks that the page has
    fields: FieldValues  # model, LoRA files, seed, parameters


@dataclass(frozen=True)
class RunHandlers(Handlers):
    """What runs, shows and stops an edit."""

    jobs: Jobs
    tracking: Tracking
    turns: RunQueue = field(default_factory=RunQueue)

    def begin(self, request: gr.Request, variants: object, words: Any, *fields: object) -> dict[Any, Any]:
        """Take a place in the queue and begin; the page while it waits."""
        page, given = page_of(request), FieldValues.of(fields)
        try:
            session = self.described(request, words)
            self.catalogue.model(given.model)
            turn = self.turns.enter(Visitor(page, address_of(request), away=lambda: self.visits.away(page)))
        except StaleEvent:
            return {self.parts.progress: gr.skip()}
        except EditingError as error:
            return self.failed(error)
        run = RunThread(turn)
        with session.lock:
            session.run, session.fields = run, fields
        form = RunForm(session.id, variants, words.get("attempt"), words["have"], given)
        run.begin(self.work(session, page, form, run))
        return {
            self.parts.run: gr.Button(interactive=False),
            self.parts.stop: gr.Button(visible=True),
            self.parts.progress: run_views.waiting(session.method, session.shelf.path),
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
        if run.skip:
            run.skipped = True
            run.skip()
            return {progress: gr.skip()}
        stopped = {progress: run_views.stopped(run.shows(progress))}
        run.stop(stopped)
        return stopped

    def work(
        self, session: Session, page: str, form: RunForm, run: RunThread
    ) -> Generator[Changes, None, None]:
        """A run from first to last; what is not yet tracked is tracked before."""
        try:
            yield from self._wait(session, run)
            if method_choice.uses(session.method).regions != "ignored":
                yield from self._complete(session, form.since)
            for variant in self._plan(session, page, form):
                if session.id == form.clip and not run.skipped:
                    yield from self._run(session, form.clip, variant, run)
        except EditingError as error:
            yield self.failed(error) | {self.parts.live: None}
        except Exception:
            log.exception("a run failed")
            yield {self.parts.progress: run_views.failed("run", BROKEN), self.parts.live: None}

    def _plan(self, session: Session, page: str, form: RunForm) -> list[Variant]:
        """The runs that were asked for, of the session as it is now; an EditingError if there can be none."""
        with session.lock:
            if session.id != form.clip:
                raise RequestError("clip", "Another clip was opened before the run began. Run again.")
            request = with_cuts(self.requested(session, form.fields), session)
            request, opened = attempt(form.attempt, request, session.opened)
            whole = None if opened.attempt else whole_masks(session.state, request)
            keep = partial(session.shelf.keep, media=self.media, page=page)
            values = self.catalogue.values(request.method, request.model, request.params)
            choices = Choices.of(request, form.clip, session.prompt)
            wanted = None if opened.attempt else form.variants
            return plan(RunJob(request, page, opened, whole, keep), wanted, values, choices)

    def _wait(self, session: Session, run: RunThread) -> Iterator[Changes]:
        """Say how many runs come before this one, until its turn."""
        last = None
        while not run.turn.wait(_WAIT):
            shown = run_views.waiting(session.method, session.shelf.path, *run.turn.before())
            yield {self.parts.progress: gr.skip() if shown == last else shown}
            last = shown

    def ready(self, request: gr.Request, words: Any) -> dict[Any, Any]:
        """The page after a run, however it ended: its own tracking may have been stopped with it."""
        run, buttons = self.visits.run_of(page_of(request)), {}
        if run is None or run.over:  # else the next has begun meanwhile
            buttons = {self.parts.run: gr.Button(interactive=True), self.parts.stop: gr.Button(visible=False)}
        try:
            session = self.described(request, words)
        except EditingError:
            return buttons | {self.parts.canvas: gr.skip()}
        with session.lock:
            return buttons | {self.parts.canvas: views.canvas(session, words["have"])}

    def _complete(self, session: Session, since: int) -> Iterator[Changes]:
        """Track the regions that were never followed to the end; a RequestError if that is stopped."""
        while session.tracking:  # begun by hand; the run waits for it
            yield {self.parts.progress: gr.skip()}
            time.sleep(_WAIT)
        with session.lock:
            labels, identity = session.state.to_track(only_untracked=True), session.id
        if not labels:
            return
        # Nothing is handed out while the lock is held: what comes back may come in another thread, or never.
        with closing(self.tracking.follow(session, labels)) as steps:
            for step in steps:
                if step and (shown := look(session, identity, since)):
                    yield {self.parts.canvas: shown, self.parts.progress: run_views.tracking(*step)}
                else:
                    yield {self.parts.progress: gr.skip()}
        with session.lock:
            partial = session.id == identity and session.state.to_track(only_untracked=True)
        if partial:
            raise RequestError("regions", "Tracking was stopped before the end. Track them, then run.")
        if shown := look(session, identity, since):
            yield {self.parts.canvas: shown}

    def _run(self, session: Session, identity: str, variant: Variant, run: RunThread) -> Iterator[Changes]:
        """Run a job and show its events, unless the page opens another clip meanwhile."""
        job = replace(variant.job, kept=session.history.folders)
        opened, losses = job.opened or session.opened, model_views.LossCurve()
        part = f"variant {variant.number} of {variant.total}" if variant.total > 1 else ""
        progress = run_views.RunProgress(job.request.method, job.request.adapter, part)
        started = variant.number > 1
        with closing(in_thread(lambda: self.jobs.run(job))) as items:
            for item in items:
                if session.id != identity:  # nobody waits for this one
                    return
                if run.turn.ending and not run.over:
                    yield {self.parts.progress: run_views.given_up(), self.parts.live: None}
                    return
                run.turn.follow(item)
                if isinstance(item, Stage) and item.name != "saving":
                    run.skip = item.skip
                if item is not None and not started:
                    started = True
                    yield {self.parts.player: views.player(opened)}
                match item:
                    case Progress() | Losses() | Tuned() if shown := losses.take(item):
                        yield {self.parts.losses: shown}
                    case Stage() | Progress() | WindowStarted():
                        yield {self.parts.progress: progress.take(item)}
                    case Preview():
                        yield {self.parts.live: attention_views.live(item, job.request)}
                    case Begun(path, frames):
                        yield {self.parts.player: views.begun_player(opened, path, frames)}
                    case Saved():
                        yield self._keep(item, session, variant, opened, run)
                    case _:
                        yield {self.parts.progress: gr.skip()}
                if isinstance(item, Tuned):
                    yield {self.parts.adapters: self.tuned_models(session)}

    def _keep(
        self, saved: Saved, session: Session, variant: Variant, opened: ClipSession, run: RunThread
    ) -> Changes:
        """A result, shown and kept in the history."""
        shown = remember(session.history, saved, variant, opened, self.media)
        return {
            self.parts.history: session.history.view(),
            self.parts.player: shown["player"],
            self.parts.result: shown["result"],
            self.parts.progress: run_views.done(saved.finished.report, run.skipped),
            self.parts.live: None,
        }
