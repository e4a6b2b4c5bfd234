"""How long runs took here since this process was started, and how long others will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from regrain.editing.recipe.events import Event, Finished, Progress, WindowStarted
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.verdict.answers import Report
from regrain.ui.work.jobs import RunEdit

_ONCE = ("loading", "tuning")  # stages that the same run does not take again


Kind = tuple[object, ...]
"""Runs that take about as long are of one kind."""


class LastRuns:
    """The seconds that the last run of each method, model, size and number of steps
    took."""

    def __init__(self) -> None:
        self._seconds: dict[Kind, float] = {}
        # of the last run of each method and model, for a step of a frame of one pixel
        self._each: dict[Kind, float] = {}

    def watched(self, edit: RunEdit) -> RunEdit:
        """Make an editor note how long its runs take, but for those that find windows
        in the cache."""

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
                    elif isinstance(event, Finished) and len(edited) == windows:
                        self._note(request, event.report)
                    yield event

        return edit_and_note

    def _note(self, request: EditRequest, report: Report) -> None:
        stages = report["seconds"].items()
        seconds = sum(spent for stage, spent in stages if stage not in _ONCE)
        steps = report["params"]["steps"]["value"]
        self._seconds[_kind(request, steps)] = seconds
        self._each[request.method, request.model] = seconds / _work(request, steps)

    def seconds(self, request: EditRequest) -> float | None:
        """Return about how long a request takes, all of whose parameters are given: as
        long as the last run like it or, by its steps, frames and pixels, the last of
        its method and model; None if there was none."""
        steps = request.params["steps"]
        known = self._seconds.get(_kind(request, steps))
        each = self._each.get((request.method, request.model))
        if known is None and each is not None:
            return each * _work(request, steps)
        return known


def _work(request: EditRequest, steps: object) -> float:
    """Return steps times frames times pixels."""
    width, height = request.clip.size
    pixels = request.size**2 if request.size else width * height
    return len(request.clip) * float(str(steps)) * pixels


def _kind(request: EditRequest, steps: object) -> Kind:
    size = (len(request.clip), *request.clip.size, request.size)
    return request.method, request.model, steps, *size
