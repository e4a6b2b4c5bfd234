"""Edit a whole clip: shot by shot, window by window; the result is kept on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import lcm, prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from regrain.editing.attention.averages import (
    Heat,
    RegionAttention,
    StepAreas,
    WordAttention,
)
from regrain.editing.diffusion.blending import matched
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import resize, resize_labels, resized
from regrain.editing.media.lazy_frames import (
    DiskFrames,
    Frames,
    LabelFrames,
    LazyRgb,
    Numbers,
    Rgb,
    RgbFrames,
    read_some,
    windows,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.pictures.adapter import Pictures
from regrain.editing.motion.interpolation import fill_between
from regrain.editing.motion.smoothing import steady
from regrain.editing.params.registry import METHODS, Method
from regrain.editing.pipeline.focus import Placed, find_cuts
from regrain.editing.pipeline.window_results import (
    Maps,
    draft_key,
    load_draft,
    maps_of,
    store_draft,
    with_maps,
    without_anchors,
)
from regrain.editing.recipe.events import (
    Event,
    Progress,
    Ready,
    Stage,
    Steps,
    WindowStarted,
)
from regrain.editing.recipe.looking import run_looking
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_frames
from regrain.editing.request.frame_subset import chosen, pick
from regrain.editing.request.plan import Plan, Window, make_plan
from regrain.editing.storage.by_name import Weights
from regrain.editing.storage.memory import FRAMES_AT_ONCE

# Frames that are decoded together. The autoencoder takes 1 to FRAMES_AT_ONCE of them at
# once: as a multiple of all these, it cuts a window where the autoencoder would cut it.
_DECODED = lcm(*range(1, FRAMES_AT_ONCE + 1))
Latents = Float[Tensor, "keys c h w"]


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """The drawings of an edit, in the size of its own clip, before it is put over the source.

    Attributes:
        placed: The edit.
        edits: Frames of every edit, in the order of the request's `targets`.
        attention, reconstruction, control, words, step_areas, plan: See `EditResult`.
    """

    placed: Placed
    edits: tuple[Frames, ...]
    attention: Heat = field(default_factory=dict)
    reconstruction: Frames | None = None
    control: Frames | None = None
    words: WordAttention | None = None
    step_areas: StepAreas = field(default_factory=dict)
    plan: Plan | None = None


@torch.no_grad()
def edit_clip(
    backbone: Backbone,
    placed: Placed,
    pictures: Pictures | None,
) -> Steps[DrawnClip]:
    """Draw an edit by the method of its request; yields events.

    Of several windows each is cached when it is done, so that a run that was stopped
    goes on where it was.

    Raises:
        RequestError: No key frame shows some region.
        EditingError: A frame cannot be decoded, or as the method.
    """
    runner = yield from _runner(backbone, placed, pictures)
    plan = runner.plan
    assembly = Assembly(runner.backbone, placed, plan)
    several = len(plan.windows) > 1
    left = sum(len(window.numbers) for window in plan.windows)
    for number, window in enumerate(plan.windows, 1):
        work = len(window.numbers)
        if several:
            yield WindowStarted(number, len(plan.windows), work, left)
        left -= work
        draft = yield from runner.edit(window, assembly.finished_before(window))
        yield Stage("decoding")
        yield from assembly.add(window, draft)
        if several and assembly.done < plan.frames:
            yield Ready(assembly.finished())
    return assembly.drawn()


def _runner(
    backbone: Backbone,
    placed: Placed,
    pictures: Pictures | None,
) -> Steps[WindowRunner]:
    """Plan the edit, after looking for cuts if none are given, and prepare the model
    for it."""
    request = placed.request
    params = placed.params
    method = METHODS[request.method]
    cuts = params.cuts
    if cuts is None:
        cuts = yield from find_cuts(request.clip)
    frames = working_frames(backbone, request)
    size = params.together
    if not size:
        _, height, width = backbone.grid(1, *frames.shape[1:3])
        rows = 2 + 2 * len(request.targets) if method.several else 1
        size = backbone.window_frames(rows, height, width)
    overlap = params.overlapped
    plan = make_plan(cuts, params.keyframes, frames, size, method.anchors, overlap)
    _check_shown(placed, plan)
    if method.prepare:
        backbone = yield from method.prepare(backbone, request, params)
    return WindowRunner(method, backbone, placed, plan, pictures)


def _check_shown(placed: Placed, plan: Plan) -> None:
    """Refuse key frames none of which shows some region."""
    request = placed.request
    if request.labels is None or len(plan.keys) == plan.frames:
        return
    shown: set[int] = set()
    for key in plan.keys:
        shown.update(np.unique(request.labels[key]).tolist())
    for region in request.edited:
        if region.label not in shown:
            raise RequestError(
                "params.keyframes",
                f"Region {region.name!r} is in none of them. Add a frame that shows it.",
            )


@dataclass(eq=False)
class WindowRunner:
    """Runs a method on one window after the other; anchors of each follow their paths
    in those before."""

    method: Method
    backbone: Backbone
    placed: Placed
    plan: Plan
    pictures: Pictures | None
    # The shot of the last window that was edited, its first and last frame, and their
    # paths.
    _shot: int = -1
    _ends: Numbers = ()
    _paths: Weights = field(default_factory=dict)

    def edit(
        self, window: Window, before: RgbFrames | None = None
    ) -> Steps[WindowResult | None]:
        """Return the draft of a window's own frames; None if no region is in them.

        `before` are the finished frames of its anchors, of a method that takes them.
        """
        request = self.placed.request
        params = self.placed.params
        several = len(self.plan.windows) > 1
        mask = request.edited_mask
        if several and not any(mask[key].any() for key in window.keys):
            return None
        frames = self._frames(window, before)
        part = pick(request, frames.numbers)
        run = (self.method.run, self.pictures, self.backbone, part, params, frames)
        if not several:
            return (yield from run_looking(*run))
        key = draft_key(self.backbone, part, params, frames, self.method.name)
        if self.pictures:
            key["pictures"] = self.pictures.key
        kept = load_draft(key, self.backbone.device)
        if kept:
            draft, paths = kept
        else:
            whole = yield from run_looking(*run)
            draft = without_anchors(whole, frames.anchors)
            paths = frames.paths
            store_draft(key, draft, paths)
        self._shot = window.shot
        self._ends = frames.numbers[0], frames.numbers[-1]
        self._paths = paths
        return draft

    def _frames(self, window: Window, before: RgbFrames | None) -> WindowFrames:
        """Return the frames of a window, after its anchors."""
        anchors: Numbers = ()
        paths: Weights = {}
        if before is not None:
            anchors = window.anchors
        elif window.anchors and window.shot == self._shot:
            anchors = self._ends
            paths = self._paths
        numbers = (*anchors, *window.keys)
        places = [self.plan.keys.index(number) for number in numbers]
        gaps = tuple((np.flatnonzero(np.diff(places) > 1) + 1).tolist())
        leads = any(
            other.anchors and other.shot == window.shot for other in self.plan.windows
        )
        return WindowFrames(numbers, len(anchors), gaps, leads, paths, before)


class Assembly:
    """Makes the frames and maps of a clip out of drafts, window after window; `done`
    frames are finished."""

    def __init__(self, backbone: Backbone, placed: Placed, plan: Plan) -> None:
        self._backbone = backbone
        self._placed = placed
        self._plan = plan
        request = placed.request
        self._source = working_frames(backbone, request)
        # Frames are kept as small as they were drawn.
        self._size = min(request.clip.size, self._source.shape[2:0:-1], key=prod)
        width, height = self._size
        self._rebuilds = placed.params.rebuilds
        # Of each edit and, if it is wanted, of the rebuilt source.
        count = len(request.targets) + self._rebuilds
        self._frames = [DiskFrames(height, width) for _ in range(count)]
        # Of each window, how many key frames it has, and their maps.
        self._maps: list[tuple[int, Maps]] = []
        self._parts: dict[str, Heat] = {}
        self._control: DiskFrames | None = None
        # The shot of the last window, its last key frame, and that frame of each of
        # `_frames` at the working size.
        self._shot = -1
        self._key = 0
        self._pictures: list[Rgb] = []
        # Finished key frames of the shot, as many as the next window begins with.
        self._finished: list[Rgb] = []
        self.done = 0

    def add(self, window: Window, draft: WindowResult | None) -> Iterator[Event]:
        """Decode a window, and fill the frames between key frames; without a draft,
        they are the source's."""
        if window.shot != self._shot:
            self._shot = window.shot
            self._pictures = []
        drawn = (*draft.edits, draft.reconstruction) if draft else ()
        every = []
        for number in range(len(self._frames)):
            latents = drawn[number] if draft else None
            given = draft.given if draft else 0
            every.append(self._all_frames(number, latents, window, given))
        start = self.done
        stop = window.keys[-1] + 1
        pictures = []
        for number in range(start, stop):
            pictures = [next(frames) for frames in every]
            for frames, picture in zip(self._frames, pictures, strict=True):
                frames.append(resize(picture[None], self._size))
            if stop - start > 1:
                yield Progress("decoding", number + 1 - start, stop - start)
        self.done = stop
        self._key = window.keys[-1]
        self._pictures = pictures
        self._keep(len(window.keys), draft)

    def _all_frames(
        self, number: int, latents: Latents | None, window: Window, given: int
    ) -> Iterator[Rgb]:
        """Yield one of the edits at the working size, from the first unfinished frame
        to the last key frame."""
        keys = window.keys
        drawn = self._key_frames(latents, window, given)
        deviation = self._placed.params.averaged_frames
        flow = self._placed.params.motion_estimate
        is_edit = number < len(self._placed.request.targets)
        if deviation and latents is not None and is_edit:
            source = (self._source[key] for key in keys)
            drawn = steady(drawn, source, deviation, flow)
        if len(keys) == keys[-1] + 1 - self.done:  # all frames are key frames
            yield from drawn
            return
        before = self._pictures[number : number + 1]
        if before:
            keys = (self._key, *keys)
        labels = self._labels if self._placed.request.edited else None
        pictures = np.stack([*before, *drawn])
        frames = fill_between(pictures, keys, self._source.read, flow, labels=labels)
        if before:
            next(frames)  # it is finished
        yield from frames

    def _labels(self, start: int, stop: int) -> LabelFrames:
        """Read the areas of the regions at the working size."""
        height, width = self._source.shape[1:3]
        areas = self._placed.request.areas.read(start, stop)
        return np.stack([resize_labels(area, (width, height)) for area in areas])

    def finished_before(self, window: Window) -> RgbFrames | None:
        """Return the finished frames that a window begins with, at the working size;
        None if its method takes none, or there are none."""
        if not self._placed.params.overlapped or not window.anchors:
            return None
        return np.stack(self._finished[-len(window.anchors) :])

    def _key_frames(
        self, latents: Latents | None, window: Window, given: int
    ) -> Iterator[Rgb]:
        """Yield the window's own key frames as an edit shows them, after frames that it
        was given: the source where nothing is edited."""
        if not window.anchors:
            self._finished = []
        for frame in self._own_frames(latents, window, given):
            overlap = self._placed.params.overlapped
            if overlap:
                self._finished = [*self._finished, frame][-overlap:]
            yield frame

    def _own_frames(
        self, latents: Latents | None, window: Window, given: int
    ) -> Iterator[Rgb]:
        count = len(window.keys)
        # those of a video are decoded together
        if latents is not None and self._backbone.frames_per_latent > 1:
            frames = self._backbone.decode(latents)[given:][:count]  # without padding
            yield from self._matched(frames, window.keys)
            return
        for start, stop in windows(count, _DECODED):
            if latents is None:
                yield from read_some(self._source.read, window.keys[start:stop])
            else:
                yield from self._backbone.decode(latents[start:stop])

    def _matched(self, frames: RgbFrames, keys: Numbers) -> RgbFrames:
        """Return key frames in the colours of the source around their regions, if the
        method wants that."""
        edited = self._placed.request.edited
        if not self._placed.params.matches or not edited:
            return frames
        source = read_some(self._source.read, keys)
        areas = read_some(self._labels, keys)
        labels = [region.label for region in edited]
        return matched(frames, source, np.isin(areas, labels))

    def _keep(self, count: int, draft: WindowResult | None) -> None:
        """Keep the maps of a window of so many key frames, and on disk the pictures
        that control networks read; black ones where there are none."""
        maps = maps_of(draft) if draft else {}
        control = maps.pop("control", None)
        if control is not None and self._control is None:
            height, width = control.shape[1:3]
            self._control = DiskFrames(height, width)
            before = sum(frames for frames, _ in self._maps)
            black = np.zeros((before, height, width, 3), np.uint8)
            self._control.append(black)
        if self._control is not None:
            shape = (count, *self._control.shape[1:])
            if control is None:
                control = np.zeros(shape, np.uint8)
            self._control.append(control)
        self._maps.append((count, maps))
        if draft and len(self._plan.windows) == 1:
            self._parts = {name: maps.parts for name, maps in draft.attention.items()}

    def finished(self) -> Frames:
        """Return the frames of the first edit that are done."""
        return self._large(self._frames[0])

    def _large(self, drawn: DiskFrames) -> LazyRgb:
        """Return frames as large as the clip, as many as there are now."""
        return resized(drawn, self._placed.request.clip.size)

    def drawn(self) -> DrawnClip:
        """Return what was drawn, once all windows were added.

        A frame between key frames has maps of the nearest, and 0 where there are none.
        """
        frames = [*map(self._large, self._frames)]
        edits = frames[: len(self._placed.request.targets)]
        near = list(self._plan.nearest)
        known: Maps = {}
        for _, maps in self._maps:
            known.update(maps)
        joined: Maps = {}
        for name, like in known.items():
            parts = [
                maps.get(name, np.zeros((count, *like.shape[1:]), like.dtype))
                for count, maps in self._maps
            ]
            joined[name] = np.concatenate(parts)[near]
        whole = with_maps(WindowResult(()), joined)
        attention = dict(whole.attention)
        for name, thirds in self._parts.items():
            every = {
                part: RegionAttention(maps.before[near], maps.after[near])
                for part, maps in thirds.items()
            }
            attention[name] = replace(attention[name], parts=every)
        return DrawnClip(
            self._placed,
            tuple(edits),
            attention,
            frames[-1] if self._rebuilds else None,
            None if self._control is None else chosen(self._control, near),
            whole.words,
            whole.step_areas,
            self._plan,
        )
