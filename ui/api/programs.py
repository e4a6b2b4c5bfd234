"""Edits and masks of programs' own videos, within the limits of the page."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from PIL import Image

from regrain.editing.errors import MaskError, RequestError
from regrain.editing.params.registry import check_params
from regrain.editing.pipeline.outputs import file_in
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.fields import from_json
from regrain.ui.api.endpoints import Caller, offer, refuse_removed
from regrain.ui.api.program_clips import (
    NOTHING,
    add_regions,
    click,
    open_frame,
    open_video,
)
from regrain.ui.api.program_schema import (
    ClickedRegion,
    EditVideo,
    SegmentImage,
    TrackVideo,
)
from regrain.ui.server.run_queue import PER_PROGRAM, RunQueue, Ticket, Visitor
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import build_request, masks_of
from regrain.ui.session.mask_edits import Segment, add_box
from regrain.ui.session.mask_files import write_tracks
from regrain.ui.session.session import Session
from regrain.ui.session.tracking import Tracker, uncertain
from regrain.ui.work.jobs import Jobs, RunJob, Saved

Facts = dict[str, Any]
Answer = tuple[FileData, Facts]
_PATIENCE = 1.0  # seconds between looks at whose turn it is


@dataclass(frozen=True)
class Programs:
    """The work of the endpoints."""

    jobs: Jobs  # runs edits
    turns: RunQueue  # whose run is next; pages wait there, too
    tracking: Tracker  # follows masks
    points: Segment  # points to a mask
    fallback: str = "sam"  # who finds masks where no published SAM is at hand
    # Whose mask is next. Programs wait for each other, and pages for none of them.
    masking: RunQueue = field(default_factory=RunQueue)
    # connection and place of each call
    going: set[tuple[str, Ticket]] = field(default_factory=set)

    def edit_video(self, asked: EditVideo, caller: Caller) -> Answer:
        """Edit a video of your own, each region with its own words.

        Masks come from clicks, which are followed through the video, or from a file.
        Outside the regions the video stays as it is. Calls wait for their turn; one
        address may have three at a time.

        Returns:
            The edited video, an mp4 or what `format` says, and the report of the run.
        """
        self.jobs.catalogue.model(asked.model)
        check_params(asked.method, asked.params)
        with self._call(self.turns, caller) as (turn, page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(
                session,
                asked.regions,
                asked.finder,
                asked.masks,
                folder,
            )
            self._wait(turn, page)
            self._find(session, asked.regions, labels, turn)
            request = self._request(session, asked)
            beside = "" if asked.format == "mp4" else asked.format
            saved = self._run(RunJob(request, page, format=beside), turn)
        report: Facts = dict(saved.finished.report)
        if note:
            report["warnings"] = [*report.get("warnings", ()), note]
        name = file_in(beside) if beside else "edited.mp4"
        return FileData(path=saved.files[name]), without_paths(report)

    def segment(self, asked: SegmentImage, caller: Caller) -> Answer:
        """Find the mask of one object in a picture, or in a frame of a video, from
        clicks or a box.

        Returns:
            The mask as a grey PNG file of the picture's size, 255 inside, and what was
            found: share of the picture, 0 to 1, and box (left, top, right, bottom in
            pixels).
        """
        if not asked.clicks and not asked.box:
            raise RequestError(
                "clicks", "No clicks and no box given. Give at least one."
            )
        with self._call(self.masking, caller) as (turn, page, folder):
            session = open_frame(asked.image, asked.frame, folder, self.fallback)
            (label,) = add_regions(session, [ClickedRegion()], asked.finder)
            self._wait(turn, page)
            if asked.box:
                self._find_box(session, label, asked.box)
            if asked.clicks:
                click(session, label, asked.clicks, "clicks", self.points)
            found = Image.fromarray(session.state.mask(label, 0))
            mask = found.resize(session.opened.file_size)
            path = self.jobs.media.new_run(page) / "mask.png"
            mask.convert("L").save(path)
            facts = {
                "share": float(np.mean(mask)),
                "box": mask.getbbox(),
            }
            return FileData(path=str(path)), facts

    def track(self, asked: TrackVideo, caller: Caller) -> Answer:
        """Find objects of a video from clicks and follow them through it.

        Returns:
            The masks, as indexed PNG files in a zip file, ready to be the masks of
            edit_video; and by region the frames on which it was lost or is doubtful.
        """
        with self._call(self.masking, caller) as (turn, page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(session, asked.regions, asked.finder)
            self._wait(turn, page)
            self._find(session, asked.regions, labels, turn)
            path = self.jobs.media.new_run(page) / "masks.zip"
            state = session.state
            fps = session.opened.clip.fps
            write_tracks(masks_of(session), state.regions, fps, path)
            doubts = {}
            for label in labels:
                spans = {"lost": [], "doubtful": []}
                for span in uncertain(state, label):
                    spans[span.kind].append([span.first, span.last])
                doubts[state.regions[label].name] = spans
            facts: Facts = {
                "regions": doubts,
                "frames": state.shape[0],
            }
            if note:
                facts["note"] = note
            return FileData(path=str(path)), facts

    def _find(
        self,
        session: Session,
        asked: Sequence[ClickedRegion],
        labels: list[int],
        turn: Ticket,
    ) -> None:
        """Find the masks of clicks, and follow them to where the clip begins and
        ends."""
        clicked = []
        for number, (one, label) in enumerate(zip(asked, labels, strict=True)):
            if one.clicks:
                click(
                    session, label, one.clicks, f"regions.{number}.clicks", self.points
                )
                clicked.append(label)
                _check(turn)
        if clicked:
            with closing(self.tracking.follow(session, clicked)) as steps:
                for _ in steps:
                    _check(turn)

    def _find_box(self, session: Session, label: int, box: list[float]) -> None:
        if len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
            raise RequestError(
                "box",
                "Expected left, top, right and bottom in pixels, in this order.",
            )
        scale = session.state.size[0] / session.opened.file_size[0]
        scaled = tuple(side * scale for side in box)
        if not add_box(session, label, 0, scaled, self.points):
            raise MaskError("box", NOTHING)

    def _wait(self, turn: Ticket, page: str) -> None:
        while not turn.wait(_PATIENCE):
            _check(turn)
            self.jobs.media.touch(page)

    def _run(self, job: RunJob, turn: Ticket) -> Saved:
        """Run a job in the worker's thread while the program is there, and return its
        last item."""
        saved: Saved | None = None
        with closing(in_thread(lambda: self.jobs.run(job), turn)) as items:
            for item in items:
                _check(turn)
                self.jobs.media.touch(job.page)
                turn.follow(item)
                if isinstance(item, Saved):
                    saved = item
        if saved is None:
            raise RuntimeError("the run ended without a result")
        return saved

    def _request(self, session: Session, asked: EditVideo) -> EditRequest:
        """Return what is to be run; a prompt that is given counts for every method."""
        given = from_json(asked, Edit)
        given["picture"] = str(given["picture"] or "")
        given["picture_adapter"] = given[
            "picture_adapter"
        ] or self.jobs.catalogue.seeing(given["model"], given["method"])
        edit = Edit(**given)
        session.method = edit.method
        session.source_prompt = edit.source_prompt
        session.negative_prompt = edit.negative_prompt
        return replace(build_request(session, edit), prompt=edit.prompt)

    @contextmanager
    def _call(
        self, turns: RunQueue, caller: Caller
    ) -> Iterator[tuple[Ticket, str, Path]]:
        """Hold a place in a queue, a name for results, kept for an hour, and a folder
        until the end."""
        turn = turns.enter(
            Visitor(f"programs at {caller.address}", caller.address, PER_PROGRAM)
        )
        # its own, so that its files and those of others never meet
        page = f"call {secrets.token_hex(16)}"
        going = (caller.session, turn)
        finished = False
        self.going.add(going)
        try:
            folder = self.jobs.media.new_clip(page)
            try:
                yield turn, page, folder
            finally:
                self.jobs.media.drop(folder)
            finished = True
        finally:
            turn.leave(finished)
            self.going.discard(going)

    def leave(self, session: str) -> None:
        """End the calls of a connection that has ended, at their next step."""
        for whose, turn in self.going.copy():  # others begin and end meanwhile
            if whose == session:
                turn.stop()


def add_api(programs: Programs) -> None:
    """Offer the endpoints, over HTTP and as tools of MCP; must run inside a layout."""
    offer(EditVideo, programs.edit_video)
    offer(TrackVideo, programs.track)
    offer(
        SegmentImage, programs.segment, queue=False
    )  # short, and MCP shows pictures of such calls alone
    refuse_removed()


def without_paths(report: object) -> Any:
    """Return a report for clients of gradio, which take every object with a `path` for
    a file to download."""
    if isinstance(report, Mapping):
        plain = {}
        for key, value in report.items():
            plain["file" if key == "path" else key] = without_paths(value)
        return plain
    if isinstance(report, list | tuple):
        return [without_paths(value) for value in report]
    return report


def _check(turn: Ticket) -> None:
    """Raise a RequestError if the program has left, so that nobody waits for the result
    any more."""
    if turn.ending:
        raise RequestError(
            "call", "It was stopped, since the program disconnected. Call again."
        )
