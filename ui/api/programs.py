"""What programs can have done: edits and masks of their own videos, within the limits of the page."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gradio import FileData
from PIL import Image

from regrain.editing.errors import MaskError, RequestError
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.models.finders import finders
from regrain.ui.api.calls import Calls, check, follow, wait
from regrain.ui.api.endpoints import Caller, inlined, offer
from regrain.ui.api.program_clips import NOTHING, add_regions, click, file_size, open_frame, open_video
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
from regrain.ui.results.jobs import Jobs, RunJob, Saved
from regrain.ui.server.run_queue import RunQueue, Ticket
from regrain.ui.session.build_request import Added, build_request, masks_of
from regrain.ui.session.examples import from_example, read_object
from regrain.ui.session.mask_edits import Segment, add_box
from regrain.ui.session.method_choice import uses
from regrain.ui.session.session import Session
from regrain.ui.session.state import State


@dataclass(frozen=True)
class Programs:
    """Does what endpoints ask for."""

    jobs: Jobs  # runs edits
    turns: RunQueue  # whose run is next; pages wait there, too
    tracking: Tracking  # follows masks
    points: Segment  # points to a mask
    fallback: str = "sam"  # who finds masks where no published SAM is at hand
    calls: Calls = field(default_factory=Calls)  # what goes on
    # Whose mask is next. Programs wait for each other, and pages for none of them.
    masking: RunQueue = field(default_factory=RunQueue)

    def edit_video(self, asked: EditVideo, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Edit a video of your own, each region with its own words.

        Masks come from clicks, which are followed through the video, or from a file. Outside the regions the
        video stays as it is. Calls wait for their turn; one address may have three at a time.

        Returns:
            The edited video (mp4), and the report of the run.
        """
        self.jobs.catalogue.model(asked.model)
        check_params(asked.method, asked.params)
        with self.calls.enter(self.turns, caller) as turn, self._folder() as (page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(session, asked.regions, asked.finder, asked.masks, folder)
            wait(turn, partial(self.jobs.media.touch, page))
            self._find(session, asked.regions, labels, turn)
            saved = self._run(RunJob(self._request(session, asked), page), turn)
        report: dict[str, Any] = dict(saved.finished.report)
        warnings = [*report.get("warnings", ()), *([note] if note else ())]
        return FileData(path=saved.files["edited.mp4"]), without_paths({**report, "warnings": warnings})

    def edit_example(self, asked: EditExample, caller: Caller) -> tuple[FileData, dict[str, Any]]:
        """Edit one of the example clips, each region with its own words.

        Returns:
            The edited video (mp4), and the report of the run.
        """
        chosen = self.jobs.catalogue.example(asked.example)
        words, params = read_object("prompts", asked.prompts), read_object("params", asked.params)
        request = from_example(chosen, words, params)
        page = _new_page()
        with self.calls.enter(self.turns, caller) as turn:
            wait(turn, partial(self.jobs.media.touch, page))
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
        with self.calls.enter(self.masking, caller) as turn, self._folder() as (page, folder):
            session = open_frame(asked.image, asked.frame, folder, self.fallback)
            labels = add_regions(session, [ClickedRegion()], asked.finder)
            wait(turn, partial(self.jobs.media.touch, page))
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
        with self.calls.enter(self.masking, caller) as turn, self._folder() as (page, folder):
            session, note = open_video(asked, folder, self.fallback)
            labels = add_regions(session, asked.regions, asked.finder)
            wait(turn, partial(self.jobs.media.touch, page))
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
        catalogue, able = self.jobs.catalogue, [one for one in finders().values() if not one.missing]
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
                check(turn)
        if clicked:
            with closing(self.tracking.follow(session, clicked)) as steps:
                for _ in steps:
                    check(turn)

    def _find_box(self, session: Session, label: int, box: list[float]) -> None:
        if len(box) != 4 or box[0] >= box[2] or box[1] >= box[3]:
            raise RequestError("box", "Expected left, top, right and bottom in pixels, in this order.")
        scale = session.state.size[0] / file_size(session)[0]
        left, top, right, bottom = (side * scale for side in box)
        if not add_box(session, label, 0, (left, top, right, bottom), self.points):
            raise MaskError("box", NOTHING)

    def _run(self, job: RunJob, turn: Ticket) -> Saved:
        saved = None
        for item in follow(turn, lambda: self.jobs.run(job), partial(self.jobs.media.touch, job.page)):
            saved = item if isinstance(item, Saved) else None
        if saved is None:
            raise RuntimeError("the run ended without a result")
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
    def _folder(self) -> Iterator[tuple[str, Path]]:
        """A name under which results are kept for an hour, and a folder that goes at the end."""
        page = _new_page()
        folder = self.jobs.media.new_clip(page)
        try:
            yield page, folder
        finally:
            self.jobs.media.drop(folder)


def add_api(programs: Programs) -> None:
    """Offer the endpoints, over HTTP and as tools of MCP; must run inside a layout."""
    offer(EditVideo, programs.edit_video)
    offer(EditExample, programs.edit_example)
    offer(TrackVideo, programs.track)
    offer(SegmentImage, programs.segment, queue=False)  # short, and MCP shows pictures of such calls alone
    offer(Nothing, programs.list_methods, queue=False)
    offer(Nothing, programs.list_models, queue=False)


def without_paths(report: Any) -> Any:
    """A report for clients of gradio, which take every object with a `path` for a file to download."""
    if isinstance(report, Mapping):
        return {"file" if key == "path" else key: without_paths(value) for key, value in report.items()}
    if isinstance(report, list | tuple):
        return [without_paths(value) for value in report]
    return report


def _doubts(state: State, label: int) -> dict[str, list[list[int]]]:
    """Stretches of frames, first and last, on which a region was lost, and is doubtful."""
    spans = uncertain(state, label)
    return {kind: [[d.first, d.last] for d in spans if d.kind == kind] for kind in ("lost", "doubtful")}


def _new_page() -> str:
    """A name of its own for a call, so that its files and those of other calls never meet."""
    return f"call {secrets.token_hex(16)}"
