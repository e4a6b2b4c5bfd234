"""Time and memory of a run, which follow from its counted work and the speed of this
machine.

Every run tells the seconds of an operation of the network, and those of a pixel that is
read, decoded and measured. What a run is promised to take is its work times these
speeds, so that more steps never take less.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from platform import node
from statistics import median
from types import MappingProxyType
from typing import Any

from regrain.editing.errors import EditingError
from regrain.editing.pipeline.estimate import Work, work
from regrain.editing.pipeline.focus import asked_boxes, is_frame
from regrain.editing.recipe.events import Event, Finished, Progress, WindowStarted
from regrain.editing.request.boxes import write_boxes
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.storage.cache import cache_folder, digest
from regrain.editing.storage.devices import on_gpu
from regrain.editing.storage.folders import replacing
from regrain.ui.session.build_request import build_box_request, own_prompts
from regrain.ui.session.session import Session
from regrain.ui.work.jobs import RunEdit
from regrain.ui.work.wording import duration

log = logging.getLogger(__name__)
_KEPT = 64  # runs of this machine
_LAST = 3  # runs that tell a speed, by their median
# Tuning and loading are done once.
_STAGES = ("scanning", "inverting", "editing", "decoding", "measuring")
_CACHED = ("inverting", "editing")  # take no time where the cache has their results
# By which factor a promise may be off: by the speed of the same model and method at the
# same size, at another, of another method, of another model.
_OFF, _OFF_SIZE, _OFF_METHOD, _OFF_MODEL = 1.0, 1.5, 2.0, 3.0
# Parameters on which an inversion depends, where a method has them.
_OF_INVERSION = (
    "steps",
    "inversion",
    "inner_steps",
    "tune_steps",
    "start",
    "keyframes",
    "cuts",
    "window",
    "frames_at_once",
)


@dataclass(frozen=True)
class Taken:
    """Time and memory that a run took."""

    method: str
    model: str
    cells: int  # of a frame's latents
    network: float  # seconds of an operation of the network
    around: float  # seconds of a pixel that is read, decoded or measured
    inverted: str  # digest of what was inverted
    memory: int  # most bytes
    here: bool = True  # not where an example was made


@dataclass(frozen=True)
class Promise:
    """Time and memory that a run will take.

    Attributes:
        seconds: From the beginning, with nothing kept.
        kept: Of these, the seconds that are saved, as its inversion is kept.
        off: By which factor they may be off.
        memory: Most bytes of a run of this model; 0 if unknown.
        here: Whether the speed is that of this machine.
    """

    seconds: float
    kept: float
    off: float
    memory: int
    here: bool

    @property
    def left(self) -> float:
        """The seconds that it takes now."""
        return self.seconds - self.kept


class Costs:
    """The speed of the last runs on this machine, kept in the cache folder.

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

    def watched(self, edit: RunEdit) -> RunEdit:
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
        taken = _taken(request, report, share)
        if taken is None:
            return
        with self._lock:
            self._runs = [taken, *self._runs[: _KEPT - 1]]
            _write(self._runs)

    def about(
        self, request: EditRequest, left: float = 1.0, needed: Work | None = None
    ) -> Promise | None:
        """Estimate a run by the speed of this machine.

        Every parameter of the request counts as it is; `left` is the share of its
        frames that are not in the cache; its work, if the model's files are not here,
        is `needed`. None where nothing is known.
        """
        needed = needed or _work(request)
        if needed is None:
            return None
        runs, off = self._telling(request, needed.cells)
        if not runs:
            return None
        network = median(run.network for run in runs)
        around = median(run.around for run in runs)
        inverting = network * needed.inverting * left
        editing = network * needed.editing * left
        seen = _inverted(request)
        known = any(run.inverted == seen for run in self._runs)
        of_model = [run.memory for run in runs if run.model == request.model]
        return Promise(
            seconds=inverting + editing + around * needed.around,
            kept=inverting if known else 0.0,
            off=off,
            memory=of_model[0] if of_model else 0,
            here=runs[0].here,
        )

    def _telling(self, request: EditRequest, cells: int) -> tuple[list[Taken], float]:
        """Return the last runs that tell most about the speed of a request, and by
        which factor that may be off."""

        def of_method(run: Taken) -> bool:
            return run.model == request.model and run.method == request.method

        kinds: tuple[tuple[float, Callable[[Taken], bool]], ...] = (
            (_OFF, lambda run: of_method(run) and run.cells == cells),
            (_OFF_SIZE, of_method),
            (_OFF_METHOD, lambda run: run.model == request.model),
        )
        if not on_gpu():  # which is too fast for a small model to tell of a large one
            kinds = (*kinds, (_OFF_MODEL, lambda run: run.here))
        for known in (self._runs, self._made):
            for off, tells in kinds:
                runs = [run for run in known if tells(run)]
                if runs:
                    return runs[:_LAST], off
        return [], 0.0

    def told(self, request: EditRequest, needed: Work | None = None) -> str:
        """Say how long a run takes from its beginning; empty where nothing is known."""
        promise = self.about(request, needed=needed)
        return in_words(promise.seconds, promise.off) if promise else ""


def in_words(seconds: float, off: float) -> str:
    """Say seconds in words, as a range where they may be off by a factor."""
    if off == 1:
        return f"about {duration(seconds)}"
    low = duration(seconds / off)
    high = duration(seconds * off)
    unit = high.lstrip("0123456789")
    return f"{low.removesuffix(unit)} to {high}"


def left_again(report: Mapping[str, Any]) -> float:
    """Return the seconds that the same run takes once more, if all its windows are in
    the cache."""
    seconds = report.get("seconds", {})
    return sum(seconds.get(stage, 0.0) for stage in _STAGES if stage not in _CACHED)


def planned(
    session: Session,
    model: str,
    params: Mapping[str, Any],
    added: Mapping[str, Any] = MappingProxyType({}),
) -> EditRequest:
    """Return the request of a session, as far as it takes time; `added` to the model,
    by field of `Edit`.

    Raises:
        RequestError: Prompts are wrong.
    """
    prompt, *more = own_prompts(session, session.method)
    asked = replace(
        session.opened.request.asked,
        method=session.method,
        model=model,
        params=params,
        focus=session.focus,
        source_prompt=session.source_prompt,
        prompt=prompt,
        more_prompts=tuple(more),
        **added,
    )
    return build_box_request(session, asked)


def _work(request: EditRequest) -> Work | None:
    """Return the work of a run; None if it cannot be counted."""
    with suppress(EditingError):  # said where the model or the parameter is chosen
        return work(request)
    return None


def _inverted(request: EditRequest) -> str:
    """Return a digest of all that an inversion depends on."""
    params = [str(request.params.get(name)) for name in _OF_INVERSION]
    size = request.clip.size
    found = [boxes for _, boxes in asked_boxes(request, request.decided.cuts or ())]
    places = ["" if is_frame(boxes, size) else write_boxes(boxes) for boxes in found]
    inverted = [
        request.method,
        request.model,
        request.loras,
        request.source_prompt,
        request.clip.name,
        len(request.clip),
        request.clip.size,
        places,
        request.size,
        *params,
    ]
    return digest({"inverted": inverted})


def _taken(
    request: EditRequest, report: Mapping[str, Any], share: float = 1.0
) -> Taken | None:
    """Return what a run took by its report; None if it came from the cache, or cannot
    be counted."""
    seconds = report.get("seconds", {})
    if not seconds.get("editing"):
        return None
    params = {name: entry["value"] for name, entry in report.get("params", {}).items()}
    asked = replace(request, params=params)
    needed = _work(asked)
    if needed is None:
        return None
    in_steps = report.get("seconds_in_steps") or {
        stage: seconds[stage] for stage in _CACHED if stage in seconds
    }
    operations = needed.editing
    if in_steps.get("inverting"):
        operations += needed.inverting
    calling = sum(in_steps.values())
    whole = sum(seconds.get(stage, 0.0) for stage in _STAGES)
    return Taken(
        method=request.method,
        model=request.model,
        cells=needed.cells,
        network=calling / (operations * share),
        around=max(0.0, whole - calling) / needed.around,
        inverted=_inverted(asked),
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
    return cache_folder() / f"speed-{node() or 'here'}.json"
