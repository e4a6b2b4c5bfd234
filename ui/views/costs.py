"""Time and memory of a run: counted, and in proportion to those of earlier runs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from platform import node
from typing import Any

from regrain.editing.errors import EditingError
from regrain.editing.models.files.location import BUILT_IN_IDS
from regrain.editing.pipeline.estimate import counted, work
from regrain.editing.recipe.events import Event, Finished, Progress, WindowStarted
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.cache import cache_folder, digest
from regrain.editing.storage.devices import on_gpu
from regrain.editing.storage.folders import replacing
from regrain.ui.session.build_request import own_prompts
from regrain.ui.session.method_choice import View
from regrain.ui.session.session import Session
from regrain.ui.views.run_views import duration

log = logging.getLogger(__name__)
Edit = Callable[[EditRequest], Iterator[Event]]
_KEPT = 64  # runs of this machine
# Tuning and loading are done once.
_STAGES = ("scanning", "inverting", "editing", "decoding", "measuring")
_CACHED = ("inverting", "editing")  # take no time where the cache has their results
_LONG = 90.0  # seconds
# By which factor an estimate may be off: from a run of as much work or up to so many
# times more or less, of another method, of another model.
_OFF = {1.3: 1.0, 4.0: 1.5}
_OFF_FAR = 2.0
_OFF_MODEL = 3.0


@dataclass(frozen=True)
class Taken:
    """The cost of a run."""

    method: str
    model: str
    work: float  # as counted
    seconds: float
    inverting: float  # of the seconds; 0 if the inversion was cached
    inverted: str  # digest of the clip and words that were inverted
    memory: int  # most bytes
    here: bool = True  # not where an example was made
    again: float = 0.0  # of the seconds: those that no cache saves

    def unlike(self, other: Taken) -> tuple[bool, bool, bool, float]:
        """Sort key: how unlike another run."""
        elsewhere = not self.here
        other_model = self.model != other.model
        other_method = self.method != other.method
        return elsewhere, other_model, other_method, round(self.times_apart(other), 2)

    def times_apart(self, other: Taken) -> float:
        """By which factor the work of two runs differs, at least 1."""
        return max(self.work / other.work, other.work / self.work)


class Costs:
    """Seconds and memory of the last runs on this machine, kept in the cache folder.

    `made` are runs of the examples, made elsewhere, and their reports; they help where
    none is known here.
    """

    def __init__(
        self, made: Iterable[tuple[EditRequest, Mapping[str, Any]]] = ()
    ) -> None:
        costs = [_taken(request, report) for request, report in made]
        self._made = [replace(taken, here=False) for taken in costs if taken]
        self._lock = threading.Lock()
        self._runs = _read()  # the last first

    def watched(self, edit: Edit) -> Edit:
        """Make an editor note the costs of its runs."""

        def edit_and_note(request: EditRequest) -> Iterator[Event]:
            window, windows = 1, 1
            edited = set()
            with closing(edit(request)) as events:  # type: ignore[type-var]
                for event in events:
                    if isinstance(event, WindowStarted):
                        window = event.number
                        windows = event.total
                    elif isinstance(event, Progress) and event.stage == "editing":
                        edited.add(window)
                    elif isinstance(event, Finished):
                        self.note(request, event.report, len(edited) / windows or 1.0)
                    yield event

        return edit_and_note

    def note(
        self, request: EditRequest, report: Mapping[str, Any], share: float = 1.0
    ) -> None:
        """Keep the cost of a run, of whose windows a share was edited and the rest was
        in the cache."""
        taken = _taken(request, report)
        if taken is None:
            return
        taken = replace(taken, work=taken.work * share)
        with self._lock:
            self._runs = [taken, *self._runs[: _KEPT - 1]]
            _write(self._runs)

    def about(
        self, request: EditRequest, left: float = 1.0
    ) -> tuple[float, float, Taken] | None:
        """Estimate a run by the earlier one that is most like it.

        Every parameter of the request counts as it is; `left` is the share of its
        frames that are not in the cache.

        Returns:
            Its seconds, by which factor they may be off, and the earlier run; None
            where nothing is known.
        """
        asked = _planned(request)
        known = self._comparable(request)
        if asked is None or not known:
            return None
        known.sort(key=lambda run: run.unlike(asked))
        best = known[0]
        per_work = (best.seconds - best.inverting) / best.work
        seconds = asked.work * (self._inverting(asked, known) + per_work)
        again = asked.work * best.again / best.work
        seconds = again + (seconds - again) * left
        return seconds, _off(best, asked), best

    def _comparable(self, request: EditRequest) -> list[Taken]:
        """List runs of the same model, and without a GPU those of any model on this
        machine."""
        return [
            run
            for run in [*self._runs, *self._made]
            if run.model == request.model or (run.here and not on_gpu())
        ]

    def _inverting(self, asked: Taken, nearest: list[Taken]) -> float:
        """Estimate the seconds of inversion per work; 0 if the cache has this
        inversion."""
        if any(run.inverted == asked.inverted for run in self._runs):
            return 0.0
        for run in nearest:
            if run.inverting and run.method == asked.method:
                return run.inverting / run.work
        return nearest[0].inverting / nearest[0].work

    def told(self, request: EditRequest, left: float = 1.0) -> str:
        """Say how long a run takes; empty where nothing is known. Parameters as for
        `about`."""
        found = self.about(request, left)
        if found is None:
            return ""
        seconds, off, _ = found
        if off == 1:
            return f"about {duration(seconds)}"
        low = duration(seconds / off)
        high = duration(seconds * off)
        unit = high.lstrip("0123456789")
        return f"{low.removesuffix(unit)} to {high}"

    def view(self, request: EditRequest, again: float = 0.0, left: float = 1.0) -> View:
        """Say what a run takes, as far as anything is known; parameters as for `about`.

        `again` are the seconds it takes if all its windows are in the cache, else 0.
        """
        count = len(request.clip)
        frames = "frame" if count == 1 else "frames"
        size = f"{count} {frames}, {request.params['steps']} steps"
        if again:
            return {"text": f"{size}: computed already, about {duration(again)}, here."}
        found = self.about(request, left)
        run = found[2] if found else None
        memory = run.memory if run and run.model == request.model else 0
        if not memory and request.model not in BUILT_IN_IDS:
            sizes = counted(request)
            if sizes:
                side, memory = sizes
                size = f"{size} at {side} px"
        room = f", about {memory / 1e9:.1f} GB of memory" if memory else ""
        if found is None or run is None:
            return {
                "text": f"{size}{room}. After a first run, this shows how long it takes here."
            }
        told = self.told(request, left)
        if left < 1:
            told += " for what is left"
        if not run.here:
            return {"text": f"{size}: {told} on our machine; yours may differ."}
        hint = " Try it first." if found[0] > _LONG else ""
        return {"text": f"{size}: {told}{room}, here.{hint}"}


def _off(run: Taken, asked: Taken) -> float:
    """Return by which factor an estimate from another run may be off."""
    if run.model != asked.model:
        return _OFF_MODEL
    if run.method != asked.method:
        return _OFF_FAR
    apart = round(run.times_apart(asked), 2)
    for most, off in _OFF.items():
        if apart <= most:
            return off
    return _OFF_FAR


def left_again(report: Mapping[str, Any]) -> float:
    """Return the seconds that the same run takes once more, if all its windows are in
    the cache."""
    seconds = report.get("seconds", {})
    return sum(seconds.get(stage, 0.0) for stage in _STAGES if stage not in _CACHED)


def planned(session: Session, model: str, params: Mapping[str, Any]) -> EditRequest:
    """Return the request of a session, as far as it takes time; a RequestError if
    prompts are wrong."""
    prompt, *more = own_prompts(session, session.method)
    return replace(
        session.opened.request,
        method=session.method,
        model=model,
        params=params,
        source_prompt=session.source_prompt,
        prompt=prompt,
        more_prompts=tuple(more),
    )


def _planned(request: EditRequest) -> Taken | None:
    """Return a run that has not taken anything yet; None if its work cannot be
    counted."""
    operations = None
    with suppress(EditingError):  # said where the model or the parameter is chosen
        operations = work(request)
    if not operations:
        return None
    inverted = [
        request.method,
        request.model,
        request.loras,
        request.source_prompt,
        request.params.get("steps"),
        len(request.clip),
        request.clip.size,
        request.focus,
    ]
    return Taken(
        request.method,
        request.model,
        work=operations,
        seconds=0.0,
        inverting=0.0,
        inverted=digest({"inverted": inverted}),
        memory=0,
    )


def _taken(request: EditRequest, report: Mapping[str, Any]) -> Taken | None:
    """Return the cost of a run by its report; None if it came from the cache, or cannot
    be counted."""
    seconds = report.get("seconds", {})
    if not seconds.get("editing"):
        return None
    params = {name: entry["value"] for name, entry in report.get("params", {}).items()}
    planned_run = _planned(replace(request, params=params))
    if planned_run is None:
        return None
    return replace(
        planned_run,
        seconds=sum(seconds.get(stage, 0.0) for stage in _STAGES),
        inverting=seconds.get("inverting", 0.0),
        again=left_again(report),
        memory=report.get("peak_memory") or 0,
    )


def _read() -> list[Taken]:
    """Read the runs that earlier processes kept on this machine."""
    try:
        return [Taken(**run) for run in json.loads(_file().read_text(encoding="utf-8"))]
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError):
        log.warning("what earlier runs took cannot be read; it is learnt anew")
    return []


def _write(runs: Iterable[Taken]) -> None:
    try:
        with replacing(_file()) as path:
            path.write_text(json.dumps([asdict(run) for run in runs]), encoding="utf-8")
    except OSError:
        log.warning(
            "what this run took cannot be kept: the cache folder cannot be written"
        )


def _file() -> Path:
    """Return the file of this machine: a cache folder may be shared by machines."""
    return cache_folder() / f"seconds-{node() or 'here'}.json"
