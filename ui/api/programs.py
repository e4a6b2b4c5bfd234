"""What programs can have done: edits and masks of their own videos, within the limits of the page."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from PIL import Image

from regrain.editing.errors import MaskError, RequestError
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.models.finders import finders
from regrain.ui.api.endpoints import Caller, inlined, offer
from regrain.ui.api.program_clips import (
    NOTHING,
    add_regions,
    click,
    file_size,
    open_frame,
    open_video,
)
from regrain.ui.api.program_schema import (
    ClickedRegion,
    EditExample,
    EditVideo,
    Nothing,
    SegmentImage,
    TrackVideo,
)
from regrain.ui.handlers.mask_files import write_tracks
from regrain.ui.handlers.tracking import Tracking, uncertain
from regrain.ui.server.run_queue import PER_PROGRAM, RunQueue, Ticket, Visitor
from regrain.ui.server.worker import in_thread
from regrain.ui.session.build_request import Added, build_request, masks_of
from regrain.ui.session.examples import from_example, read_object
from regrain.ui.session.mask_edits import Segment, add_box
from regrain.ui.session.method_choice import uses
from regrain.ui.session.session import Session
from regrain.ui.session.state import State
from regrain.ui.views.jobs import Jobs, RunJob, Saved

_PATIENCE = 1.0  # seconds between looks at whose turn it is


@dataclass(frozen=True)
class Programs:
    """Does what endpoints ask for."""

    jobs: Jobs  # runs edits
    turns: RunQueue  # whose run is next; pages wait there, too
    tracking: Tracking  # follows masks
    points: Segment  # points to a mask
    fallback: str = "sam"  # who finds masks where no published SAM is at hand
    # Whose mask is next. Programs wait for each other, and pages for none of them.
    masking: RunQueue = field(default_factory=RunQueue)
    going: set[tuple[str, Ticket]] = field(default_factory=set)  # connection and place of each call

    def edit_video(self, asked: EditVideo, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Edit a video of your own, each region with its own words.

        Masks come from clicks, which are followed through the video, or from a file. Outside the regions the
        video stays as it is. Calls wait for their turn; one address may have three at a time.

        Returns:
            The edited video (mp4), and the report of the run.
        """
        self.jobs.catalogue.model(asked.model)
        check_params(asked.method, asked.params)
        with self._call(self.turns, caller) as (turn, page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(session, asked.regions, asked.finder, asked.masks, folder)
            self._wait(turn, page)
            self._find(session, asked.regions, labels, turn)
            saved = self._run(RunJob(self._request(session, asked), page), turn)
        report: dict[str, Any] = dict(saved.finished.report)
        warnings = [*report.get("warnings", ()), *([note] if note else ())]
        return FileData(path=saved.files["edited.mp4"]), without_paths(
            {**report, "warnings": warnings}
        )

    def edit_example(self, asked: EditExample, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Edit one of the example clips, each region with its own words.

        Returns:
            The edited video (mp4), and the report of the run.
        """
        chosen = self.jobs.catalogue.example(asked.example)
        words, params = read_object("prompts", asked.prompts), read_object("params", asked.params)
        request = from_example(chosen, words, params)
        with self._call(self.turns, caller) as (turn, page, _):
            self._wait(turn, page)
            saved = self._run(RunJob(request, page), turn)
        return FileData(path=saved.files["edited.mp4"]), without_paths(saved.finished.report)

    def segment(self, asked: SegmentImage, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Find the mask of one object in a picture, or in a frame of a video, from clicks or a box.

        Returns:
            The mask as a grey PNG file of the picture's size, 255 inside, and what was found: share of the
            picture, 0 to 1, and box (left, top, right, bottom in pixels).
        """
        if not asked.clicks and not asked.box:
            raise RequestError("clicks", "No clicks and no box given. Give at least one.")
        with self._call(self.masking, caller) as (turn, page, folder):
            session = open_frame(asked.image, asked.frame, folder, self.fallback)
            labels = add_regions(session, [ClickedRegion()], asked.finder)
            self._wait(turn, page)
            if asked.box:
                self._find_box(session, labels[0], asked.box)
            if asked.clicks:
                click(session, labels[0], asked.clicks, "clicks", self.points)
            mask = Image.fromarray(session.state.mask(labels[0], 0)).resize(file_size(session))
            path = self.jobs.media.new_run(page) / "mask.png"
            mask.convert("L").save(path)
            return FileData(path=str(path)), {"share": float(np.mean(mask)), "box": mask.getbbox()}

    def track(self, asked: TrackVideo, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Find objects of a video from clicks and follow them through it.

        Returns:
            The masks, as indexed PNG files in a zip file, ready to be the masks of edit_video; and by region
            the frames on which it was lost or is doubtful.
        """
        with self._call(self.masking, caller) as (turn, page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(session, asked.regions, asked.finder)
            self._wait(turn, page)
            self._find(session, asked.regions, labels, turn)
            path = self.jobs.media.new_run(page) / "masks.zip"
            state = session.state
            write_tracks(masks_of(session), state.regions, session.opened.clip.fps, path)
            doubts = {state.regions[label].name: _doubts(state, label) for label in labels}
            facts: dict[str, Any] = {"regions": doubts, "frames": state.shape[0]}
            return FileData(path=str(path)), facts | ({"note": note} if note else {})

    def list_methods(self, asked: Nothing, caller: Caller) -> list[dict[str, Any]]:
        """List the methods: what each needs, and its parameters as JSON schemas.

        Returns:
            By method its name, title, paper, use of regions, source prompt and seed, and params.
        """
        return [
            {
                "name": method.name,
                "title": method.title,
                "paper": method.paper,
                "regions": uses(method.name).regions,
                "source_prompt": "source_prompt" in method.needs,
                "seed": uses(method.name).seed,
                "params": inlined(method.Params.model_json_schema()),
            }
            for method in METHODS.values()
        ]

    def list_models(self, asked: Nothing, caller: Caller) -> dict[str, Any]:
        """List what is at hand here: models, what is added to them, and who finds and follows masks.

        Returns:
            Names: models, loras, motions (adapters), picture_adapters, controls; words, all that the built-in
            model knows, by kind; finders and trackers with what they are good for.
        """
        catalogue, able = (
            self.jobs.catalogue,
            [one for one in finders().values() if not one.missing],
        )
        return {
            "models": catalogue.models,
            "loras": catalogue.loras,
            "motions": catalogue.motions,
            "picture_adapters": catalogue.pictures,
            "controls": catalogue.controls,
            "words": {kind: [*words] for kind, words in catalogue.groups.items()},
            "finders": {one.name: one.about for one in able if "points" in one.takes},
            "trackers": {one.name: one.about for one in able if one.follows},
        }

    def _find(self, session: Session, asked: list[Any], labels: list[int], turn: Ticket) -> None:
        """Find the masks of clicks, and follow them to where the clip begins and ends."""
        clicked = []
        for number, (one, label) in enumerate(zip(asked, labels, strict=True)):
            if one.clicks:
                click(session, label, one.clicks, f"regions.{number}.clicks", self.points)
                clicked.append(label)
                _check(turn)
        if clicked:
            with closing(self.tracking.follow(session, clicked)) as steps:
                for _ in steps:
                    _check(turn)

    def _find_box(self, session: Session, label: int, box: list[float]) -> None:
        if len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
            raise RequestError(
                "box", "Expected left, top, right and bottom in pixels, in this order."
            )
        scale = session.state.size[0] / file_size(session)[0]
        if not add_box(session, label, 0, tuple(side * scale for side in box), self.points):
            raise MaskError("box", NOTHING)

    def _wait(self, turn: Ticket, page: str) -> None:
        while not turn.wait(_PATIENCE):
            _check(turn)
            self.jobs.media.touch(page)

    def _run(self, job: RunJob, turn: Ticket) -> Saved:
        """Run a job in the worker's thread while the program is there; its last item."""
        saved: Any = None
        with closing(in_thread(lambda: self.jobs.run(job), turn)) as items:
            for item in items:
                _check(turn)
                self.jobs.media.touch(job.page)
                turn.follow(item)
                if isinstance(item, Saved):
                    saved = item
        return saved

    def _request(self, session: Session, asked: EditVideo) -> EditRequest:
        """What is to be run; a prompt that is given counts for every method."""
        session.method, session.source_prompt = asked.method, asked.source_prompt
        session.negative_prompt = asked.negative_prompt
        seeing = asked.picture_adapter or self.jobs.catalogue.seeing(asked.model)
        added = Added(tuple(asked.loras), asked.motion, seeing)
        request = build_request(session, asked.params, asked.method, asked.model, asked.seed, added)
        whole = {"picture": str(asked.picture), "picture_adapter": seeing} if asked.picture else {}
        return replace(request, prompt=asked.prompt, picture_scale=asked.picture_scale, **whole)

    @contextmanager
    def _call(self, turns: RunQueue, caller: Caller) -> Iterator[tuple[Ticket, str, Path]]:
        """A place in a queue, a name for results, kept for an hour, and a folder that goes at the end."""
        turn = turns.enter(Visitor(f"programs at {caller.address}", caller.address, PER_PROGRAM))
        page = f"call {secrets.token_hex(16)}"  # its own, so that its files and those of others never meet
        going, finished = (caller.session, turn), False
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
        """A connection has ended: its calls end at their next step."""
        for whose, turn in self.going.copy():  # others begin and end meanwhile
            if whose == session:
                turn.stop()


def add_api(programs: Programs) -> None:
    """Offer the endpoints, over HTTP and as tools of MCP; must run inside a layout."""
    offer(EditVideo, programs.edit_video)
    offer(EditExample, programs.edit_example)
    offer(TrackVideo, programs.track)
    offer(
        SegmentImage, programs.segment, queue=False
    )  # short, and MCP shows pictures of such calls alone
    offer(Nothing, programs.list_methods, queue=False)
    offer(Nothing, programs.list_models, queue=False)


def without_paths(report: Any) -> Any:
    """A report for clients of gradio, which take every object with a `path` for a file to download."""
    if isinstance(report, Mapping):
        return {
            "file" if key == "path" else key: without_paths(value) for key, value in report.items()
        }
    if isinstance(report, list | tuple):
        return [without_paths(value) for value in report]
    return report


def _check(turn: Ticket) -> None:
    """Raise a RequestError if the program has left, so that nobody waits for the result any more."""
    if turn.ending:
        raise RequestError("call", "It was stopped, since the program disconnected. Call again.")


def _doubts(state: State, label: int) -> dict[str, list[list[int]]]:
    """Stretches of frames, first and last, on which a region was lost, and is doubtful."""
    spans = uncertain(state, label)
    return {
        kind: [[d.first, d.last] for d in spans if d.kind == kind] for kind in ("lost", "doubtful")
    }
