"""One run for a page: a request in, events and files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from editing.adapters import Adapter
from editing.events import Event, Finished, Stage, Tuned
from editing.outputs import EDITS, write_outputs
from editing.request import EditRequest
from editing.spool import Frames
from ui.catalogue import Catalogue
from ui.clip_files import pack_project
from ui.clips import Opened
from ui.media import Media

# Of what a run writes.
_SHOWN = (*EDITS, "report.json", "reconstruction.mp4")
Edit = Callable[[EditRequest], Iterator[Event]]


@dataclass(frozen=True)
class Saved:
    """The last item of a run: its files, by the name a person sees."""

    finished: Finished
    files: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """What is to be run.

    Attributes:
        request: Checked when the job is run.
        page: Whose folder its files go to.
        opened: The clip the page shows, whose source video is written first.
        whole: Whole masks by label where they overlap, for the project; see `whole_masks`.
        keep: Called with every version of a tuning.
    """

    request: EditRequest
    page: str
    opened: Opened | None = None
    whole: dict[int, Frames] | None = None
    keep: Callable[[Adapter], object] | None = None


@dataclass(frozen=True)
class Jobs:
    """Runs jobs and keeps what they made.

    Attributes:
        edit: Runs a request.
        catalogue: What may be chosen.
        media: Where files go.
    """

    edit: Edit
    catalogue: Catalogue
    media: Media

    def run(self, job: Job) -> Iterator[Event | Saved]:
        """Edit, then write the files of a result.

        Raises:
            EditingError: The request asks for what is not offered, or the edit failed.
        """
        request = job.request
        request.check_runnable()
        self.catalogue.check(request)
        folder = self.media.new_run(job.page)
        if job.opened:
            job.opened.ensure_source()
        finished = None
        with closing(self.edit(request)) as events:  # type: ignore[type-var]
            for event in events:
                finished = event if isinstance(event, Finished) else None
                if isinstance(event, Tuned) and job.keep:
                    job.keep(event.adapter)
                yield event
        if finished is None:
            raise RuntimeError("the run ended without a result")
        yield Stage("saving")
        out = folder / "out"
        write_outputs(finished.result, request, finished.report, out)
        archive = pack_project(request, job.whole, folder)
        made = {name: str(out / name) for name in _SHOWN if (out / name).is_file()}
        yield Saved(finished, made | {archive.name: str(archive)})
