"""What a run takes here, from what earlier runs of this process took; before the first, as counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from statistics import median
from typing import Any

from regrain.editing.models.loading.location import BUILT_IN_IDS
from regrain.editing.pipeline.estimate import counted
from regrain.editing.recipe.events import Event, Finished
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.forms.run_views import duration
from regrain.ui.forms.views import View
from regrain.ui.session.build_request import own_prompts
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.session import Session

Edit = Callable[[EditRequest], Iterator[Event]]
_LEAST = 4  # frames of a run that tells something of longer ones
_KEPT = 5  # runs of a method and model that count
_FIXED = ("decoding", "measuring")  # stages that take their time by frame, not by step
_OVER = 90.0  # seconds from which a run counts as long


class Costs:
    """Seconds and memory of the runs of this process, by method and model."""

    def __init__(self) -> None:
        self._units: dict[tuple[str, str], deque[float]] = {}
        self._memory: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def watched(self, edit: Edit) -> Edit:
        """An editor whose runs are noted."""

        def edit_and_note(request: EditRequest) -> Iterator[Event]:
            with closing(edit(request)) as events:  # type: ignore[type-var]
                for event in events:
                    if isinstance(event, Finished):
                        self.note(request, event.report)
                    yield event

        return edit_and_note

    def note(self, request: EditRequest, report: Mapping[str, Any]) -> None:
        """Keep what a run took; tuning and loading, which are not done every time, do not count."""
        seconds, steps = report.get("seconds", {}), _steps(report)
        spent = sum(seconds.get(stage, 0.0) for stage in ("inverting", "editing", *_FIXED))
        if not steps or not spent or len(request.clip) < _LEAST:
            return
        with self._lock:
            units = self._units.setdefault(_key(request), deque(maxlen=_KEPT))
            units.append(spent / _size(request, steps))
            self._memory[_key(request)] = max(
                self._memory.get(_key(request), 0), report.get("peak_memory") or 0
            )

    def seconds(self, request: EditRequest, steps: int) -> float | None:
        """About how long a run takes; None before the first of its method and model."""
        with self._lock:
            units = self._units.get(_key(request))
            return median(units) * _size(request, steps) if units else None

    def memory(self, request: EditRequest) -> int | None:
        """Most bytes that a run of its method and model has taken here; None before the first."""
        with self._lock:
            return self._memory.get(_key(request)) or None

    def view(self, request: EditRequest, steps: int, opened: ClipSession) -> View | None:
        """A sentence about what a run takes, as far as anything is known."""
        frames = len(request.clip)
        size = f"{frames} {'frame' if frames == 1 else 'frames'}, {steps} steps"
        seconds, memory = self.seconds(request, steps), self.memory(request)
        if seconds is not None:
            room = f" and {memory / 1e9:.1f} GB of memory" if memory else ""
            hint = " Try it first." if seconds > _OVER else ""
            return {"text": f"{size}: about {duration(seconds)}{room} here.{hint}"}
        made = opened.made.report if opened.made and request.method == opened.request.method else {}
        if taken := sum(made.get("seconds", {}).values()):
            return {"text": f"{size}: took {duration(taken)} where this example was made."}
        if request.model not in BUILT_IN_IDS and (found := counted(request)):
            size += f" at {found[0]} px, about {found[1] / 1e9:.1f} GB of memory"
        return {"text": f"{size}. After a first run, this shows how long it takes here."}


def planned(session: Session, model: str) -> EditRequest:
    """What a run of a session would edit, as far as it takes time.

    Raises:
        RequestError: The prompts cannot be used.
    """
    prompt, *more = own_prompts(session, session.method)
    chosen = {"method": session.method, "model": model, "params": {}}
    return replace(session.opened.request, **chosen, prompt=prompt, more_prompts=tuple(more))


def _size(request: EditRequest, steps: int) -> float:
    width, height = request.clip.size
    return len(request.clip) * len(request.targets) * steps * min(width * height, 512 * 512)


def _steps(report: Mapping[str, Any]) -> int:
    return int(report.get("params", {}).get("steps", {}).get("value") or 0)


def _key(request: EditRequest) -> tuple[str, str]:
    return request.method, request.model
