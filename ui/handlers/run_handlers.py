"""What happens when a page runs an edit: it waits for its turn, shows what the run tells, can be stopped."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import gradio as gr

from regrain.editing.errors import EditingError, RequestError, ResourceError
from regrain.editing.recipe.events import Losses, Preview, Progress, Stage, Tuned, WindowStarted
from regrain.ui.handlers.base import (
    BROKEN,
    Components,
    FieldValues,
    Handlers,
    address_of,
    event_data,
    page_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.handlers.tracking import Tracking, look
from regrain.ui.server.run_queue import RunQueue, Visitor
from regrain.ui.server.runs import Changes, RunThread, watch
from regrain.ui.server.worker import in_thread
from regrain.ui.session import method_choice
from regrain.ui.session.build_request import composed, whole_masks, with_cuts
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import Choices
from regrain.ui.session.session import Computed, Session, StaleEvent
from regrain.ui.views import attention_views, model_views, run_views
from regrain.ui.views import session_views as views
from regrain.ui.views.costs import left_again
from regrain.ui.views.jobs import Begun, Jobs, RunJob, Saved
from regrain.ui.views.variants import Variant, attempt, plan, remember, title_of

log = logging.getLogger(__name__)
_WAIT = 0.2  # seconds between looks at whether a turn has come, or a tracking is over


@dataclass(frozen=True)
class RunForm:
    """What the page said when Run was pressed."""

    session: Session  # a copy of the page's, as it was
    variants: object  # how many are wanted
    attempt: object  # what to try, in place of the whole run
    since: int  # the revision of masks that the page has
    fields: FieldValues  # model, LoRA files, seed, parameters

    @property
    def said(self) -> tuple[object, ...]:
        """All of it but for the masks."""
        return *self.session.asks(self.fields), self.variants, self.attempt


def _shows_the_run(p: Components) -> list[Any]:
    clip = [p.canvas, p.player, p.history, p.live, p.result, p.losses]
    return [*clip, p.progress, p.queue, p.adapters]


@dataclass(frozen=True)
class RunHandlers(Handlers):
    """What runs, shows and stops an edit."""

    jobs: Jobs
    tracking: Tracking
    turns: RunQueue = field(default_factory=RunQueue)

    @outputs(lambda p: [p.run, p.stop, p.queue, p.progress, p.live, p.result, p.losses])
    def begin(
        self, request: gr.Request, variants: object, words: Any, *fields: object
    ) -> dict[Any, Any]:
        """Take a place in the queue; the page while it waits, or while the run before goes on."""
        page, given = page_of(request), FieldValues.of(fields)
        try:
            session = self.described(request, words)
            self.catalogue.model(given.model)
            form = RunForm(copy.copy(session), variants, words.get("attempt"), words["have"], given)
            self._check_new(session, form)
            turn = self.turns.enter(
                Visitor(page, address_of(request), away=lambda: self.visits.away(page))
            )
        except StaleEvent:
            return {self.parts.progress: gr.skip()}
        except EditingError as error:
            return self._refused(page, error)
        with session.lock:
            before = session.going
            run = RunThread(turn, form, behind=bool(before))
            session.runs, session.fields = [*before, run], fields
        run.begin(self.work(session, page, run))
        shown = self.buttons(True) | {self.parts.queue: self._queue(session)}
        if not before:
            shown[self.parts.progress] = run_views.waiting(session.method, session.shelf.path)
            shown |= dict.fromkeys((self.parts.live, self.parts.result, self.parts.losses))
        return shown

    def _check_new(self, session: Session, form: RunForm) -> None:
        """Refuse what is under way already, as after a double click; masks may be tracked meanwhile."""
        for run in session.going:
            same_masks = run.asked.session.state.layers == form.session.state.layers
            if run.asked.said == form.said and (same_masks or session.tracking):
                raise ResourceError(
                    "queue", "This run is under way already. Change something for another."
                )

    def _refused(self, page: str, error: EditingError) -> dict[Any, Any]:
        """An error beside Run, or in the list where a run shows how far it is."""
        session = self.visits.find(page)
        if session and session.going:
            return {self.parts.queue: self._queue(session, error.message)}
        return self.failed(error)

    def _queue(self, session: Session, note: str = "") -> views.View:
        """The runs that wait for the one that goes on."""
        jobs = [
            {
                "key": run.key,
                "title": title_of(run.asked.session.method, run.asked.fields.seed),
                "text": composed(run.asked.session)[0].text,
            }
            for run in session.going[1:]
        ]
        return {"jobs": jobs, "note": note, "time": time.time()}  # a note said again is another

    @outputs(lambda p: [p.queue])
    def arrange(self, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """A run that waits is to change places with the one `by` places after it, or else is not wanted."""
        if (session := self.visits.find(page_of(request))) is None:
            return {self.parts.queue: gr.skip()}
        said = event_data(event)
        with session.lock:
            waiting = session.going[1:]
            at = next((n for n, run in enumerate(waiting) if run.key == said.get("key")), None)
            if at is not None and said.get("by") not in (-1, 1):
                waiting[at].stop()
                session.runs.remove(waiting[at])
            elif at is not None and 0 <= at + said["by"] < len(waiting):
                waiting[at].turn.swap(waiting[at + said["by"]].turn)
        return {self.parts.queue: self._queue(session)}

    @outputs(_shows_the_run)
    async def watch(self, request: gr.Request) -> AsyncIterator[Changes]:
        """What the run shows that has just begun; nothing if it was refused, or waits for another."""
        run = self.visits.run_of(page_of(request))
        if run is None or run.watched:
            yield {self.parts.progress: gr.skip()}
            return
        async for changes in self.watch_again(request):
            yield changes

    @outputs(_shows_the_run)
    async def watch_again(self, request: gr.Request) -> AsyncIterator[Changes]:
        """What the page's last run shows, from its beginning, if there was one; then those that wait."""
        page, progress = page_of(request), self.parts.progress
        yield {progress: gr.skip()}  # without a word, gradio would empty all that it may change
        last = None
        while (run := self.visits.run_of(page)) and run is not last:
            run.watched = True
            if session := self.visits.find(page):
                yield {self.parts.queue: self._queue(session)}
            async for changes in watch(run, lambda: self.visits.keep(page)):
                if last is not run and run.behind and progress in changes:
                    changes[progress] |= {"asked": True}  # the one before may have been stopped
                last = run
                yield changes
            last = run

    @outputs(lambda p: [p.progress])
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

    def work(self, session: Session, page: str, run: RunThread) -> Generator[Changes, None, None]:
        """A run from first to last; what is not yet tracked is tracked before."""
        form, refused, variants = run.asked, None, []
        try:
            try:
                began = time.monotonic()
                yield from self._complete(session, form)
                run.tracking = time.monotonic() - began
                variants = self._plan(session, page, form)
            except EditingError as error:
                refused = (
                    error  # said when the turn comes: until then the page may show another run
                )
            yield from self._wait(form.session, run)
            if refused:
                raise refused
            for variant in variants:
                if session.id == form.session.id and not run.skipped:
                    yield from self._run(session, form.session.id, variant, run)
        except EditingError as error:
            yield self.failed(error) | {self.parts.live: None}
        except Exception:
            log.exception("a run failed")
            yield {self.parts.progress: run_views.failed("run", BROKEN), self.parts.live: None}

    def _plan(self, session: Session, page: str, form: RunForm) -> list[Variant]:
        """The runs that were asked for; an EditingError if there can be none."""
        asked = form.session
        request = with_cuts(self.requested(asked, form.fields), asked)
        request, opened = attempt(form.attempt, request, asked.opened)
        whole = None if opened.attempt else whole_masks(asked.state, request)
        keep = partial(session.shelf.keep, media=self.media, page=page)
        values = self.catalogue.values(request.method, request.model, request.params)
        choices = Choices.of(request, asked.id, asked.prompt)
        wanted = None if opened.attempt else form.variants
        return plan(RunJob(request, page, opened, whole, keep), wanted, values, choices)

    def _wait(self, asked: Session, run: RunThread) -> Iterator[Changes]:
        """Say how many runs come before this one, until its turn."""
        last = None
        while not run.turn.wait(_WAIT):
            shown = run_views.waiting(asked.method, asked.shelf.path, *run.turn.before())
            yield {self.parts.progress: gr.skip() if shown == last else shown}
            last = shown

    @outputs(lambda p: [p.run, p.stop, p.queue, p.canvas])
    def ready(self, request: gr.Request, words: Any) -> dict[Any, Any]:
        """The page after a run, however it ended: its own tracking may have been stopped with it."""
        run, shown = self.visits.run_of(page_of(request)), {}
        if run is None or run.over:  # else the next has begun meanwhile
            shown = self.buttons(False) | {self.parts.queue: None}
        try:
            session = self.described(request, words)
        except EditingError:
            return shown | {self.parts.canvas: gr.skip()}
        with session.lock:
            return shown | {self.parts.canvas: views.canvas(session, words["have"])}

    def _complete(self, session: Session, form: RunForm) -> Iterator[Changes]:
        """Track the regions that were never followed to the end; a RequestError if that is stopped."""
        asked, since = form.session, form.since
        ignored = method_choice.uses(asked.method).regions == "ignored"
        if ignored or not asked.state.to_track(only_untracked=True):
            return
        while session.tracking:  # begun by hand, or by the run before
            yield {self.parts.progress: gr.skip()}
            time.sleep(_WAIT)
        with session.lock:
            labels, identity = session.state.to_track(only_untracked=True), session.id
        # Nothing is handed out while the lock is held: what comes back may come in another thread, or never.
        with closing(self.tracking.follow(session, labels)) if labels else nullcontext([]) as steps:
            for step in steps:
                if step and (shown := look(session, identity, since)):
                    yield {self.parts.canvas: shown, self.parts.progress: run_views.tracking(*step)}
                else:
                    yield {self.parts.progress: gr.skip()}
        with session.lock:
            if session.id == identity and session.state.to_track(only_untracked=True):
                raise RequestError(
                    "regions", "Tracking was stopped before the end. Track them, then run."
                )
            tracked = session.state.layers
        layers = {label: tracked.get(label, layer) for label, layer in asked.state.layers.items()}
        asked.state = replace(asked.state, layers=layers)
        if shown := look(session, identity, since):
            yield {self.parts.canvas: shown}

    def _run(
        self, session: Session, identity: str, variant: Variant, run: RunThread
    ) -> Iterator[Changes]:
        """Run a job and show its events, unless the page opens another clip meanwhile."""
        job = replace(variant.job, kept=session.history.folders)
        opened, losses = job.opened or session.opened, model_views.LossCurve()
        part = f"variant {variant.number} of {variant.total}" if variant.total > 1 else ""
        progress = run_views.RunProgress(job.request.method, job.request.adapter, part)
        started = variant.number > 1 or run.behind
        with closing(in_thread(lambda: self.jobs.run(job), run.turn)) as items:
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
                if isinstance(item, WindowStarted) and item.number > 1:
                    self._note(session, variant, run.asked, progress.left)
                if isinstance(item, Tuned):
                    yield {self.parts.adapters: self.tuned_models(session)}

    @staticmethod
    def _note(
        session: Session, variant: Variant, form: RunForm, left: float, seconds: float = 0.0
    ) -> None:
        """The cache has a run but for a share of its frames; the same again takes so many seconds."""
        asked = form.session
        if variant.number == 1 and not form.attempt:
            session.note_computed(
                Computed(asked.asks(form.fields), asked.state.layers, left, seconds)
            )

    def _keep(
        self, saved: Saved, session: Session, variant: Variant, opened: ClipSession, run: RunThread
    ) -> Changes:
        """A result, shown and kept in the history."""
        report, form = saved.finished.report, run.asked
        if len(report.get("windows", ())) > 1:
            self._note(session, variant, form, 0.0, left_again(report))
        shown = remember(session.history, saved, variant, opened, self.media)
        return {
            self.parts.history: session.history.view(),
            self.parts.player: shown["player"],
            self.parts.result: shown["result"],
            self.parts.progress: run_views.done(report, run.tracking, run.skipped),
            self.parts.live: None,
        }
