"""What a run takes: counted, and in proportion to what earlier runs took."""

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
from regrain.editing.storage.folders import replacing
from regrain.ui.session.build_request import own_prompts
from regrain.ui.session.session import Session
from regrain.ui.views.run_views import duration
from regrain.ui.views.views import View

log = logging.getLogger(__name__)
Edit = Callable[[EditRequest], Iterator[Event]]
_KEPT = 64  # runs of this machine
_STAGES = (
    "scanning",
    "inverting",
    "editing",
    "decoding",
    "measuring",
)  # tuning and loading are done once
_CACHED = ("inverting", "editing")  # of these, what is in the cache takes no time
_LONG = 90.0  # seconds
# By which factor an estimate may be off: from a run of as much work or up to so many times more or less, of
# another method, of another model.
_OFF = {1.3: 1.0, 4.0: 1.5}
_OFF_FAR, _OFF_MODEL = 2.0, 3.0


@dataclass(frozen=True)
class Taken:
    """What a run took."""

    method: str
    model: str
    work: float  # as counted
    seconds: float
    inverting: float  # of the seconds; 0 if the inversion was cached
    inverted: str  # what was inverted
    memory: int  # most bytes
    here: bool = True  # not where an example was made
    again: float = 0.0  # of the seconds: what no cache saves

    def says(self, other: Taken) -> tuple[bool, bool, bool, float]:
        """How little it says of another run, from which it differs in these."""
        apart = max(self.work / other.work, other.work / self.work)
        return (
            not self.here,
            self.model != other.model,
            self.method != other.method,
            round(apart, 2),
        )


class Costs:
    """Seconds and memory of the last runs on this machine, kept in the cache folder.

    `made` are runs of the examples, made elsewhere, and their reports; they tell what is not known here.
    """

    def __init__(self, made: Iterable[tuple[EditRequest, Mapping[str, Any]]] = ()) -> None:
        told = (_taken(request, report) for request, report in made)
        self._made = [replace(taken, here=False) for taken in told if taken]
        self._lock, self._runs = threading.Lock(), _read()  # the last first

    def watched(self, edit: Edit) -> Edit:
        """An editor whose runs are noted."""

        def edit_and_note(request: EditRequest) -> Iterator[Event]:
            window, windows, edited = 1, 1, set()
            with closing(edit(request)) as events:  # type: ignore[type-var]
                for event in events:
                    if isinstance(event, WindowStarted):
                        window, windows = event.number, event.total
                    elif isinstance(event, Progress) and event.stage == "editing":
                        edited.add(window)
                    elif isinstance(event, Finished):
                        self.note(request, event.report, len(edited) / windows or 1.0)
                    yield event

        return edit_and_note

    def note(self, request: EditRequest, report: Mapping[str, Any], share: float = 1.0) -> None:
        """Keep what a run took, of whose windows a share was edited and the rest was in the cache."""
        if taken := _taken(request, report):
            taken = replace(taken, work=taken.work * share)
            with self._lock:
                self._runs = [taken, *self._runs[: _KEPT - 1]]
                _write(self._runs)

    def about(self, request: EditRequest, left: float = 1.0) -> tuple[float, float, Taken] | None:
        """Seconds of a run, by which factor they may be off, and the run that says most of it; else None.

        Every parameter of the request counts as it is; `left` is the share of its frames that are not in the
        cache.
        """
        asked = _planned(request)
        runs = [*self._runs, *self._made]
        known = [run for run in runs if run.model == request.model or (run.here and not _on_gpu())]
        if asked is None or not known:
            return None
        nearest = sorted(known, key=lambda run: run.says(asked))
        best, inverting = nearest[0], 0.0
        if not any(run.inverted == asked.inverted for run in self._runs):
            full = next(
                (run for run in nearest if run.inverting and run.method == request.method), best
            )
            inverting = full.inverting / full.work
        again = asked.work * best.again / best.work
        seconds = asked.work * (inverting + (best.seconds - best.inverting) / best.work)
        seconds = again + (seconds - again) * left
        _, model, method, apart = best.says(asked)
        off = (
            _OFF_FAR
            if method
            else next((off for most, off in _OFF.items() if apart <= most), _OFF_FAR)
        )
        return seconds, _OFF_MODEL if model else off, best

    def told(self, request: EditRequest, left: float = 1.0) -> str:
        """How long a run takes, in words; empty where nothing is known. Parameters as for `about`."""
        if (found := self.about(request, left)) is None:
            return ""
        seconds, off, _ = found
        if off == 1:
            return f"about {duration(seconds)}"
        low, high = duration(seconds / off), duration(seconds * off)
        return f"{low.removesuffix(high.lstrip('0123456789'))} to {high}"

    def view(self, request: EditRequest, again: float = 0.0, left: float = 1.0) -> View:
        """A sentence about what a run takes, as far as anything is known; parameters as for `about`.

        `again` are the seconds it takes if all its windows are in the cache, else 0.
        """
        frames, found = len(request.clip), self.about(request, left)
        size = f"{frames} {'frame' if frames == 1 else 'frames'}, {request.params['steps']} steps"
        if again:
            return {"text": f"{size}: computed already, about {duration(again)}, here."}
        seconds, _, run = found or (0.0, 0.0, None)
        memory = run.memory if run and run.model == request.model else 0
        if not memory and request.model not in BUILT_IN_IDS and (sizes := counted(request)):
            size, memory = f"{size} at {sizes[0]} px", sizes[1]
        room = f"about {memory / 1e9:.1f} GB of memory" if memory else ""
        if run is None:
            told = f"{size}, {room}" if room else size
            return {"text": f"{told}. After a first run, this shows how long it takes here."}
        told = self.told(request, left) + (" for what is left" if left < 1 else "")
        if not run.here:
            return {"text": f"{size}: {told} on our machine; yours may differ."}
        hint = " Try it first." if seconds > _LONG else ""
        return {"text": f"{size}: {told}{room and ', ' + room}, here.{hint}"}


def left_again(report: Mapping[str, Any]) -> float:
    """Seconds that the same run takes once more, if all its windows are in the cache."""
    seconds = report.get("seconds", {})
    return sum(seconds.get(stage, 0.0) for stage in _STAGES if stage not in _CACHED)


def planned(session: Session, model: str, params: Mapping[str, Any]) -> EditRequest:
    """What a run of a session would edit, as far as it takes time; a RequestError if prompts are wrong."""
    prompt, *more = own_prompts(session, session.method)
    chosen = {"method": session.method, "model": model, "params": params}
    words = {"source_prompt": session.source_prompt, "prompt": prompt, "more_prompts": tuple(more)}
    return replace(session.opened.request, **chosen, **words)


def _planned(request: EditRequest) -> Taken | None:
    """A run that has not taken anything yet; None if its work cannot be counted."""
    operations = None
    with suppress(EditingError):  # said where the model or the parameter is chosen
        operations = work(request)
    if not operations:
        return None
    clip, asked = request.clip, (request.method, request.model)
    words, steps = request.source_prompt, request.params.get("steps")
    inverted = [*asked, request.loras, words, steps, len(clip), clip.size]
    return Taken(*asked, operations, 0.0, 0.0, digest({"inverted": inverted}), 0)


def _taken(request: EditRequest, report: Mapping[str, Any]) -> Taken | None:
    """What a run took, by its report."""
    params = {name: entry["value"] for name, entry in report.get("params", {}).items()}
    seconds = report.get("seconds", {})
    spent = sum(seconds.get(stage, 0.0) for stage in _STAGES)
    # What comes from the cache says nothing of the time of others.
    taken = _planned(replace(request, params=params)) if seconds.get("editing") else None
    more = {"inverting": seconds.get("inverting", 0.0), "again": left_again(report)}
    more["memory"] = report.get("peak_memory") or 0
    return taken and replace(taken, seconds=spent, **more)


def _on_gpu() -> bool:
    import torch  # loaded by the runs that are asked about

    return torch.cuda.is_available()


def _read() -> list[Taken]:
    """The runs that earlier processes kept on this machine."""
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
        log.warning("what this run took cannot be kept: the cache folder cannot be written")


def _file() -> Path:
    """A cache folder may be shared by machines."""
    return cache_folder() / f"seconds-{node() or 'here'}.json"
