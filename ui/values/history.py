"""The runs of one page: what they showed, how they were set, where their files are."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import PlainSerializer

from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import Size
from regrain.editing.request.edit_request import EditRequest
from regrain.ui.values.kept import Content, KeptEdit, KeptRegions
from regrain.ui.values.plates import focus_in, region_in

MAX_RUNS = 12
_SHOWN = "shown.json"


@dataclass(frozen=True)
class Choices:
    """The request of a run, without frames and masks, in pixels of what is shown."""

    edit: KeptEdit
    regions: KeptRegions
    clip: str  # identity of the clip in the session
    prompt: str  # as typed for the whole frame, a line per edit

    @classmethod
    def of(
        cls, request: EditRequest, clip: str, prompt: str, shown: Size | None = None
    ) -> Choices:
        """Return those of a request; `clip` and `prompt` are the session's `id` and
        `prompt`, `shown` is (width, height) of what is shown of a larger clip."""
        before = request.clip.size
        after = shown or before
        focus = focus_in(request.focus, len(request.clip), before, after)
        regions = [region_in(region, before, after) for region in request.regions]
        return cls(replace(request.asked, focus=focus), tuple(regions), clip, prompt)


@dataclass(frozen=True)
class PastRun:
    """One run that ended well."""

    key: str  # names it on the page
    # holds its files; another one whenever it is brought back
    folder: Annotated[Path, PlainSerializer(lambda _: "")]
    stem: str  # how names of its downloads begin
    clip: str  # title of the clip
    title: str  # method and, where it matters, seed
    facts: str  # steps and time
    text: str  # the prompt that was used
    picture: str  # its middle frame, a data URL
    choices: Choices  # what it was asked
    still: bool = False  # a try of one frame, which is shown in its place in the clip
    press: str = ""  # the same for variants; empty for a run alone
    rank: tuple[float, float] = (-1.0, 0.0)  # of variants the best has most

    def write(self, shown: Mapping[str, object]) -> None:
        """Keep what the page shows of it: `player` and `result`."""
        (self.folder / _SHOWN).write_text(json.dumps(shown), encoding="utf-8")

    def read(self) -> Content:
        """Return what `write` kept; a RequestError if its files are gone."""
        try:
            return json.loads((self.folder / _SHOWN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise gone() from None


class History:
    """The last runs of a page, the newest first; safe to be used by several threads.

    Attributes:
        runs: The newest first.
        shown: Keys of the runs that are shown: one, or two that are compared.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs: tuple[PastRun, ...] = ()
        self.shown: tuple[str, ...] = ()

    def add(self, run: PastRun) -> tuple[PastRun, ...]:
        """Add a run, show it, and return the runs that are too many, whose files may
        go.

        A try of one frame leaves shown what is shown, and goes before any whole run. Of
        variants the best come first.
        """
        with self._lock:
            better = 0
            for old in self.runs:
                if not run.press or old.press != run.press or old.rank <= run.rank:
                    break
                better += 1
            runs = [*self.runs[:better], run, *self.runs[better:]]
            gone = []
            while len(runs) > MAX_RUNS:
                tries = [old for old in runs if old.still and old is not run]
                gone.append((tries or runs)[-1])
                runs.remove(gone[-1])
            self.runs = tuple(runs)
            if not run.still:
                self.shown = (run.key,)
        return tuple(gone)

    def best(self, press: str) -> PastRun | None:
        """Return the best of the variants of one press, if there is more than one."""
        runs = [run for run in self.runs if press and run.press == press]
        return runs[0] if len(runs) > 1 else None

    def restore(self, runs: Sequence[PastRun]) -> None:
        """Put the runs of a project before those that are there."""
        keys = {run.key for run in runs}
        with self._lock:
            others = [run for run in self.runs if run.key not in keys]
            self.runs = (*runs, *others)[:MAX_RUNS]

    def of_clip(self, clip: str) -> list[PastRun]:
        """Return the runs on a clip, the newest first."""
        return [run for run in self.runs if run.choices.clip == clip]

    def get(self, key: object) -> PastRun:
        """Return the run of a key; a RequestError if it is not there any more."""
        for run in self.runs:
            if run.key == key:
                return run
        raise gone()

    def remove(self, key: object) -> PastRun:
        """Take a run out and return it, as its files may go; raises as `get` does."""
        run = self.get(key)
        with self._lock:
            self.runs = tuple(other for other in self.runs if other is not run)
            if run.key in self.shown:
                self.shown = ()
        return run


def gone() -> RequestError:
    """Make the error about a run that is not there any more."""
    return RequestError(
        "history", "This run has been removed. Choose another, or run it again."
    )
