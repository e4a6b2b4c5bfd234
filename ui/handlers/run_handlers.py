"""Runs of a page: each waits for its turn, shows how it goes on, and can be stopped."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

from gradio import EventData, Request

from regrain.editing.errors import EditingError, RequestError, ResourceError
from regrain.editing.params.registry import check_params
from regrain.editing.recipe.events import (
    Losses,
    Preview,
    Progress,
    Stage,
    Tuned,
    WindowStarted,
)
from regrain.ui.handlers.base import (
    Data,
    Handlers,
    address_of,
    explain,
    key_of,
    page_of,
)
from regrain.ui.handlers.outputs import outputs
from regrain.ui.handlers.tracking import Tracking, look
from regrain.ui.server.run_queue import RunQueue, Visitor
from regrain.ui.server.runs import Changes, RunThread, Steps, watch
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import (
    build_request,
    composed,
    whole_masks,
    with_cuts,
)
from regrain.ui.session.clips import OpenedClip
from regrain.ui.session.session import Session, StaleEvent
from regrain.ui.values import method_choice
from regrain.ui.values.fields import Fields
from regrain.ui.values.history import Choices
from regrain.ui.views import attention_views, model_views, run_views, session_views
from regrain.ui.views.result_views import history_view, remember
from regrain.ui.views.shown import ProgressView, QueueView, WaitingRun
from regrain.ui.work.jobs import Begun, Jobs, RunJob, Saved
from regrain.ui.work.variants import attempt, plan, title_of

_WAIT = 0.2  # seconds between looks at whether a turn has come, or a tracking is over


@dataclass(frozen=True)
class RunForm:
    """The form of a page when Run was pressed."""

    session: Session  # a copy of the page's, as it was
    attempt: object  # what to try, in place of the whole run
    attempt_frame: object  # which frame that shows, from 0
    since: int  # the revision of masks that the page has
    fields: Fields

    @property
    def said(self) -> tuple[object, ...]:
        """Its values without masks, by which a run is told from another."""
        session = self.session
        return (
            session.source_prompt,
            session.prompt,
            session.negative_prompt,
            list(session.state.regions.values()),
            session.method,
            session.focus,
            session.adapters.path,
            self.fields,
            self.attempt,
            self.attempt_frame if self.attempt else None,
        )

    @property
    def tries_what_is_drawn(self) -> bool:
        """True for a try of a frame on which all untracked regions were drawn; a tuned
        model takes the whole clip."""
        state = self.session.state
        untracked = state.to_track(only_untracked=True)
        drawn = all(
            self.attempt_frame in state.layers[label].drawn for label in untracked
        )
        return self.attempt == "quick" and drawn and not self.session.adapters.path


_SHOWN = (
    *("canvas", "player", "history", "live", "result", "losses"),
    *("progress", "queue", "adapters"),
)


@dataclass(frozen=True)
class RunHandlers(Handlers):
    """Run, show and stop edits."""

    jobs: Jobs
    tracking: Tracking
    turns: RunQueue = field(default_factory=RunQueue)

    @outputs("run", "stop", "queue", "progress", "live", "losses")
    def begin(self, request: Request, words: Data, *fields: object) -> Changes:
        """Take a place in the queue, and show the page while it waits or the run before
        goes on."""
        page = page_of(request)
        try:
            session, form = self._form(request, words, fields)
            for run in session.going:  # after a double click; masks may be tracked
                asked = run.asked.session.state.layers == form.session.state.layers
                if run.asked.said == form.said and (asked or session.tracking):
                    raise ResourceError(
                        "queue",
                        "This run is under way already. Change something for another.",
                    )
            visitor = Visitor(
                page, address_of(request), away=lambda: self.visits.away(page)
            )
            turn = self.turns.enter(visitor)
        except StaleEvent:
            return {}
        except EditingError as error:
            session = self.visits.find(page)
            if session and session.going:  # one of which shows how far it is
                return {"queue": self._queue(session, error.message)}
            return self.failed(error)
        with session.lock:
            before = session.going
            run = RunThread(turn, form, behind=bool(before))
            session.runs = [*before, run]
            session.fields = form.fields
        try:
            run.begin(self.work(session, page, run))
        except RuntimeError as error:
            said = explain(error, "a run could not begin")
            return {"progress": run_views.failed("run", said)}
        shown = self.buttons(True) | {"queue": self._queue(session)}
        if not before:
            # A result stays until there is another.
            shown["progress"] = run_views.waiting(session.method, session.adapters.path)
            shown |= dict.fromkeys(("live", "losses"))
        return shown

    def _form(
        self,
        request: Request,
        words: Data,
        fields: tuple[object, ...],
    ) -> tuple[Session, RunForm]:
        """Return the session, and what its page says; an EditingError if the model is
        not offered."""
        given = Fields.of(*fields)
        session = self.described(request, words)
        self.catalogue.model(given.model)
        as_it_is = copy.copy(session)
        return session, RunForm(
            as_it_is,
            words.get("attempt"),
            words.get("attempt_frame"),
            words["have"],
            given,
        )

    def _queue(self, session: Session, note: str = "") -> QueueView:
        """Return the view of the runs that wait for the one that goes on."""
        jobs = []
        for run in session.going[1:]:
            form: RunForm = run.asked
            title = title_of(form.session.method, form.fields.seed)
            jobs.append(WaitingRun(run.key, title, composed(form.session)[0].text))
        # a note said again is another
        return QueueView(jobs, note, time.time())

    @outputs("queue")
    def remove(self, event: EventData, request: Request) -> Changes:
        """Take a waiting run out."""
        session = self.visits.find(page_of(request))
        if session is None:
            return {}
        key = key_of(event)
        with session.lock:
            for run in session.going[1:]:
                if run.key == key:
                    run.stop()
                    session.runs.remove(run)
        return {"queue": self._queue(session)}

    @outputs(*_SHOWN)
    async def watch(self, request: Request) -> AsyncIterator[Changes]:
        """Yield the view of the run that has just begun; nothing if it was refused, or
        waits for another."""
        run = self.visits.run_of(page_of(request))
        if run is None or run.watched:
            yield {}
            return
        async for changes in self.watch_again(request):
            yield changes

    @outputs(*_SHOWN)
    async def watch_again(self, request: Request) -> AsyncIterator[Changes]:
        """Yield the view of the page's last run, if there was one, from its beginning;
        then of later ones."""
        page = page_of(request)
        yield {}
        last = None
        while (run := self.visits.run_of(page)) and run is not last:
            told = run.seen  # before the page was opened again
            run.watched = True
            session = self.visits.find(page)
            if session:
                yield {"queue": self._queue(session)}
            async for changes in watch(run, lambda: self.visits.keep(page)):
                failure = changes.get("progress")
                is_failure = isinstance(failure, ProgressView)
                if told and is_failure and failure.state == "error":
                    # its cause may be gone, and Run says it again if it is not
                    changes["progress"] = None
                if last is not run and run.behind and "progress" in changes:
                    # the one before may have been stopped
                    changes["progress"] = replace(changes["progress"], asked=True)
                last = run
                yield changes
            run.seen |= not self.visits.has_left(page)  # gradio goes on without it
            last = run

    @outputs("progress")
    def stop(self, request: Request) -> Changes:
        """End the page's run, or take it out of the queue."""
        run = self.visits.run_of(page_of(request))
        if run is None or run.over:
            return {}
        if run.skip:
            run.skipped = True
            run.skip()
            return {}
        stopped = {"progress": run_views.stopped(run.shows("progress"))}
        run.stop(stopped)
        return stopped

    def work(self, session: Session, page: str, run: RunThread) -> Steps:
        """Run what a page asked for from first to last; what is not yet tracked is
        tracked before."""
        form: RunForm = run.asked
        try:
            refused = None
            jobs: list[RunJob] = []
            began = time.monotonic()
            try:
                if not form.tries_what_is_drawn:
                    yield from self._complete(session, form)
                run.tracking = time.monotonic() - began
                jobs = self._plan(session, page, form)
                jobs = _not_made(jobs, session, form, run.key)
            except EditingError as error:
                refused = error  # until the turn comes, the page may show another run
            yield from self._wait(form.session, run)
            if refused:
                raise refused
            for job in jobs:
                if session.id == form.session.id and not run.skipped:
                    yield from self._run(session, form.session.id, job, run)
        except EditingError as error:
            yield self.failed(error) | {"live": None}
        except Exception as error:
            said = explain(error, "a run failed")
            yield {"progress": run_views.failed("run", said), "live": None}

    def _plan(self, session: Session, page: str, form: RunForm) -> list[RunJob]:
        """Return the runs that were asked for; an EditingError if there can be none."""
        asked = form.session
        request = build_request(asked, self.asked(asked, form.fields))
        request = with_cuts(request, asked)
        request, opened = attempt(
            form.attempt,
            form.attempt_frame,
            request,
            self.values_of(request),
            asked.opened,
        )
        whole = None if opened.attempt else whole_masks(asked, request)
        keep = partial(session.adapters.keep, media=self.media, page=page)
        return plan(
            RunJob(request, page, opened, whole, keep),
            form.fields.variants,
            self.values_of(request),
        )

    def _wait(self, asked: Session, run: RunThread) -> Iterator[Changes]:
        """Say how many runs come before this one, until its turn."""
        last = None
        while not run.turn.wait(_WAIT):
            shown = run_views.waiting(
                asked.method, asked.adapters.path, *run.turn.before()
            )
            yield {} if shown == last else {"progress": shown}
            last = shown

    @outputs("run", "stop", "queue", "canvas")
    def ready(self, request: Request, words: Data) -> Changes:
        """Return the page after a run, however it ended: its own tracking may have been
        stopped with it."""
        run = self.visits.run_of(page_of(request))
        shown = {}
        if run is None or run.over:  # else the next has begun meanwhile
            shown = self.buttons(False) | {"queue": None}
        try:
            session = self.described(request, words)
        except EditingError:
            return shown
        with session.lock:
            said = session_views.canvas(session, words["have"], note=None)
            return shown | {"canvas": said}

    def _complete(self, session: Session, form: RunForm) -> Iterator[Changes]:
        """Track the regions that were never followed to the end; a RequestError if that
        is stopped."""
        asked = form.session
        ignored = method_choice.uses(asked.method).regions == "ignored"
        if ignored or not asked.state.to_track(only_untracked=True):
            return
        while session.tracking:  # begun by hand, or by the run before
            yield {}
            time.sleep(_WAIT)
        with session.lock:
            labels = session.state.to_track(only_untracked=True)
            identity = session.id
        # Nothing is handed out while the lock is held: what comes back may come in
        # another thread, or never.
        if labels:
            with closing(self.tracking.follow(session, labels)) as steps:
                for step in steps:
                    shown = look(session, identity, form.since) if step else None
                    if step and shown:
                        busy = run_views.tracking(*step)
                        yield {"canvas": shown, "progress": busy}
                    else:
                        yield {}
        with session.lock:
            if session.id == identity and session.state.to_track(only_untracked=True):
                raise RequestError(
                    "regions",
                    "Tracking was stopped before the end. Track them, then run.",
                )
            tracked = session.state.layers
        layers = {
            label: tracked.get(label, layer)
            for label, layer in asked.state.layers.items()
        }
        asked.state = replace(asked.state, layers=layers)
        shown = look(session, identity, form.since)
        if shown:
            yield {"canvas": shown}

    def _run(
        self, session: Session, identity: str, job: RunJob, run: RunThread
    ) -> Iterator[Changes]:
        """Run a job and show its events, unless the page opens another clip
        meanwhile."""
        job = replace(job, kept=[past.folder for past in session.history.runs])
        display = _Display(self, session, job, run)
        started = job.number > 1 or run.behind
        with closing(in_thread(lambda: self.jobs.run(job), run.turn)) as items:
            for item in items:
                if session.id != identity:  # nobody waits for this one
                    return
                if run.turn.ending and not run.over:
                    yield {"progress": run_views.given_up(), "live": None}
                    return
                run.turn.follow(item)
                if item is not None and not started:
                    started = True
                    # A result that is shown stays until there is another.
                    begun = replace(session_views.player(display.opened), begins=True)
                    yield {"player": begun}
                yield display.show(item)


def _not_made(
    jobs: list[RunJob], session: Session, form: RunForm, press: str
) -> list[RunJob]:
    """Return the variants that are to be run: the first of them may be in the history
    already, and count among the others then."""
    history = session.history
    while len(jobs) > 1:
        asked = _asked(form, jobs[0])
        made = [run for run in history.runs if session.made.get(run.key) == asked]
        if not made:
            break
        history.add(replace(history.remove(made[0].key), press=press))
        jobs = jobs[1:]
    return jobs


def _asked(form: RunForm, job: RunJob) -> object:
    """Return all that the result of a job depends on."""
    request = job.request
    tried = job.opened and job.opened.attempt
    return vars(request.asked), request.regions, form.session.state.layers, tried


class _Display:
    """The view of one run, event by event."""

    def __init__(
        self, handlers: RunHandlers, session: Session, job: RunJob, run: RunThread
    ) -> None:
        self._handlers = handlers
        self._session = session
        self._job = job
        self._run = run
        self.opened: OpenedClip = job.opened or session.opened
        part = f"variant {job.number} of {job.total}" if job.total > 1 else ""
        request = job.request
        params = check_params(request.method, handlers.values_of(request))
        self._progress = run_views.RunProgress(
            request.method, request.adapter, part, params.steps_again
        )
        self._steps = 0  # of a tuning
        self._stage = ""

    def show(self, item: object) -> Changes:
        """Return what changes on the page with an item of the run."""
        match item:
            case Stage():
                self._stage = item.name
                if item.name != "saving":
                    self._run.skip = item.skip
                if item.skip and self._run.skipped:
                    item.skip()  # all that comes after what was edited
                return {"progress": self._progress.take(item)}
            case WindowStarted() | Progress():
                return self._counted(item)
            case Losses() | Tuned():
                return self._learnt(item)
            case Preview():
                shown = attention_views.live(item, self._job.request, self._stage)
                return {"live": shown}
            case Begun(path, frames):
                shown = session_views.begun_player(self.opened, path, frames)
                return {"player": shown}
            case Saved():
                return self._saved(item)
        return {}

    def _counted(self, item: WindowStarted | Progress) -> Changes:
        """Show how far a run is."""
        if isinstance(item, Progress) and item.stage == "tuning":
            self._steps = item.total
        return {"progress": self._progress.take(item)}

    def _learnt(self, item: Losses | Tuned) -> Changes:
        """Show what a tuning has learnt."""
        shown: Changes = {}
        if isinstance(item, Tuned):
            shown["adapters"] = self._handlers.tuned_models(self._session)
        if losses := model_views.curve(item.losses, self._steps):
            shown["losses"] = losses
        return shown

    def _saved(self, item: Saved) -> Changes:
        """Keep the result in the history, and show it."""
        report = item.finished.report
        request = self._job.request
        asked: Session = self._run.asked.session
        choices = Choices.of(request, asked.id, asked.prompt, self.opened.size)
        history = self._session.history
        press = self._run.key if self._job.total > 1 else ""
        player, result = remember(
            history, item, request, choices, self.opened, self._handlers.media, press
        )
        self._session.made[result.key] = _asked(self._run.asked, self._job)
        best = history.best(press)
        if best and self._job.number == self._job.total:
            shown = best.read()
            player = shown["player"]
            result = shown["result"]
            if not best.still:
                history.shown = (best.key,)
        done = run_views.done(report, self._run.tracking, self._run.skipped)
        changes: Changes = {
            "history": history_view(history, self._session.id),
            "player": player,
            "progress": done,
            "live": None,
        }
        # A try is looked at in the clip: files and figures stay those of a whole run.
        if self.opened.tried is None:
            changes["result"] = result
        return changes
