"""Edit a whole clip: shot by shot, window by window; the result is kept on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import lcm
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.diffusion.blending import composite, matte
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import Clip, resize
from regrain.editing.media.lazy_frames import DiskFrames, LazyFrames, frames_of, windows
from regrain.editing.motion.interpolation import ReadLabels, fill_between
from regrain.editing.motion.smoothing import steady
from regrain.editing.params.registry import METHODS, Method
from regrain.editing.pipeline.window_results import (
    draft_key,
    fields_of,
    load_draft,
    maps_of,
    store_draft,
    without_anchors,
)
from regrain.editing.recipe.events import (
    EditResult,
    Event,
    OtherEdit,
    Progress,
    Ready,
    Stage,
    WindowStarted,
)
from regrain.editing.recipe.looking import run_looking
from regrain.editing.recipe.window import WindowFrames, WindowResult, working_frames
from regrain.editing.request.frame_subset import pick, read_some
from regrain.editing.request.plan import LEAST_SHOT, Plan, Window, make_plan, scan
from regrain.editing.storage.memory import FRAMES_AT_ONCE

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures
    from regrain.editing.params.base import MethodParams
    from regrain.editing.request.edit_request import EditRequest

# Frames that are decoded together. The autoencoder takes 1 to FRAMES_AT_ONCE of them at
# once: as a multiple of all these, it cuts a window where the autoencoder would cut it.
_DECODED = lcm(*range(1, FRAMES_AT_ONCE + 1))


@torch.no_grad()
def edit_clip(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    method: Method | None = None,
    pictures: Pictures | None = None,
) -> Generator[Event, None, EditResult]:
    """Edit a clip by a method, the request's unless another is given; yields events,
    returns the result.

    Of several windows each is cached when it is done, so that a run that was stopped
    goes on where it was.

    Raises:
        RequestError: No key frame shows some region.
        EditingError: A frame cannot be decoded, or as the method.
    """
    method = method or METHODS[request.method]
    runner = yield from _runner(backbone, request, params, method, pictures)
    plan = runner.plan
    compositor = Compositor(runner.backbone, request, params, plan)
    several = len(plan.windows) > 1
    left = sum(len(window.numbers) for window in plan.windows)
    for number, window in enumerate(plan.windows, 1):
        work = len(window.numbers)
        if several:
            yield WindowStarted(number, len(plan.windows), work, left)
        left -= work
        draft = yield from runner.edit(window)
        yield Stage("decoding")
        yield from compositor.add(window, draft)
        if several and compositor.done < plan.frames:
            yield Ready(compositor.finished())
    return compositor.result()


@torch.no_grad()
def edit_windows(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    shot: int,
    pictures: Pictures | None = None,
) -> Generator[Event, None, int]:
    """Edit the windows of one shot and cache their drafts, which `edit_clip` of the
    same request then takes.

    Shots do not depend on each other, so that several machines may each edit one.
    Returns the number of the shot's windows; errors are those of `edit_clip`.
    """
    method = METHODS[request.method]
    runner = yield from _runner(backbone, request, params, method, pictures)
    own = [window for window in runner.plan.windows if window.shot == shot]
    for window in own:
        yield from runner.edit(window)
    return len(own)


def _runner(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    method: Method,
    pictures: Pictures | None,
) -> Generator[Event, None, WindowRunner]:
    """Plan the edit, after looking for cuts if none are given, and prepare the model
    for it."""
    cuts = params.cuts
    if cuts is None:
        cuts = yield from find_cuts(request.clip)
    frames = working_frames(backbone, request)
    size = getattr(params, "frames_at_once", 0) or getattr(params, "window", 0)
    if not size:
        _, height, width = backbone.grid(1, *frames.shape[1:3])
        rows = 2 + 2 * len(request.targets) if method.several else 1
        size = backbone.window_frames(rows, height, width)
    plan = make_plan(cuts, params.keyframes, frames, size, method.anchors)
    _check_shown(request, plan)
    if method.prepare:
        backbone = yield from method.prepare(backbone, request, params)
    return WindowRunner(method, backbone, request, params, plan, pictures)


def find_cuts(clip: Clip) -> Generator[Event, None, tuple[int, ...]]:
    """Find the first frames of later shots, none in a clip too short for two; yields
    how far it is."""
    if len(clip) < 2 * LEAST_SHOT:
        return ()
    yield Stage("scanning")
    cuts: list[int] = []
    for number, is_cut in scan(clip):
        if is_cut:
            cuts.append(number)
        yield Progress("scanning", number, len(clip) - 1, None)
    return tuple(cuts)


def _check_shown(request: EditRequest, plan: Plan) -> None:
    """Refuse key frames none of which shows some region."""
    if request.labels is None or len(plan.keys) == plan.frames:
        return
    shown: set[int] = set()
    for key in plan.keys:
        shown.update(np.unique(request.labels[key]).tolist())
    for region in request.edited:
        if region.label not in shown:
            said = (
                f"Region {region.name!r} is in none of them. Add a frame that shows it."
            )
            raise RequestError("params.keyframes", said)


@dataclass(eq=False)
class WindowRunner:
    """Runs a method on one window after the other; anchors of each follow their paths
    in those before."""

    method: Method
    backbone: Backbone
    request: EditRequest
    params: MethodParams
    plan: Plan
    pictures: Pictures | None
    # The shot of the last window that was edited, its first and last frame, and their
    # paths.
    _shot: int = -1
    _ends: tuple[int, ...] = ()
    _paths: Mapping[str, Tensor] = field(default_factory=dict)

    def edit(self, window: Window) -> Generator[Event, None, WindowResult | None]:
        """Return the draft of a window's own frames; None if no region is in them."""
        several = len(self.plan.windows) > 1
        if several and not self._shows_region(window):
            return None
        piece = self._piece(window)
        part = pick(self.request, piece.numbers)
        run = partial(
            run_looking,
            self.method.run,
            self.pictures,
            self.backbone,
            part,
            self.params,
            piece,
        )
        if not several:
            return (yield from run())
        key = draft_key(self.backbone, part, self.params, piece, self.method.name)
        if self.pictures:
            key["pictures"] = self.pictures.key
        kept = load_draft(key, self.backbone.device)
        if kept:
            draft, paths = kept
        else:
            whole = yield from run()
            draft = without_anchors(whole, piece.anchors)
            paths = piece.paths
            store_draft(key, draft, paths)
        self._shot = window.shot
        self._ends = piece.numbers[0], piece.numbers[-1]
        self._paths = paths
        return draft

    def _shows_region(self, window: Window) -> bool:
        mask = self.request.edited_mask
        return any(mask.read(key, key + 1).any() for key in window.keys)

    def _piece(self, window: Window) -> WindowFrames:
        """Return the frames of a window, after its anchors."""
        anchors: tuple[int, ...] = ()
        paths: Mapping[str, Tensor] = {}
        if window.anchors and window.shot == self._shot:
            anchors = self._ends
            paths = self._paths
        numbers = (*anchors, *window.keys)
        places = [self.plan.keys.index(number) for number in numbers]
        gaps = [
            index
            for index in range(1, len(places))
            if places[index] - places[index - 1] > 1
        ]
        leads = any(
            other.anchors and other.shot == window.shot for other in self.plan.windows
        )
        return WindowFrames(numbers, len(anchors), tuple(gaps), leads, paths)


class Compositor:
    """Makes the result out of drafts, window after window; `done` frames of the clip
    are finished."""

    def __init__(
        self, backbone: Backbone, request: EditRequest, params: MethodParams, plan: Plan
    ) -> None:
        self._backbone = backbone
        self._request = request
        self._params = params
        self._plan = plan
        self._source = working_frames(backbone, request)
        width, height = request.clip.size
        # Of each edit, composited and alone.
        self._frames = [DiskFrames(height, width) for _ in request.targets]
        self._alone = [DiskFrames(height, width) for _ in request.targets]
        self._rebuilt: DiskFrames | None = None
        if getattr(params, "reconstruct", False):
            self._rebuilt = DiskFrames(height, width)
        # Of each window, how many key frames it has, and their maps.
        self._maps: list[tuple[int, dict[str, np.ndarray]]] = []
        self._parts: dict[str, Mapping[str, RegionAttention]] = {}
        self._control: DiskFrames | None = None
        # The shot of the last window, its last key frame, and that frame by edit at the
        # working size.
        self._shot = -1
        self._key = 0
        self._pictures: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
        self.done = 0

    def add(self, window: Window, draft: WindowResult | None) -> Iterator[Event]:
        """Decode a window, fill the frames between key frames, and composite them over
        the source."""
        if window.shot != self._shot:
            self._shot = window.shot
            self._pictures = {}
        edits = [
            self._all_frames(number, latents, window)
            for number, latents in enumerate(self._latents(draft))
        ]
        start = self.done
        stop = window.keys[-1] + 1
        pictures = []
        for number in range(start, stop):
            pictures = [next(frames) for frames in edits]
            self._composite(number, pictures)
            if stop - start > 1:
                yield Progress("decoding", number + 1 - start, stop - start, None)
        self.done = stop
        self._key = window.keys[-1]
        self._pictures = dict(enumerate(pictures))
        self._keep(window, draft)

    def _latents(self, draft: WindowResult | None) -> list[Tensor | None]:
        """Return the latents of each edit and, if it is wanted, of the rebuilt source;
        None is the source."""
        count = len(self._frames) + (self._rebuilt is not None)
        if draft is None:
            return [None] * count
        return [*draft.edits, draft.reconstruction][:count]

    def _all_frames(
        self, edit: int, latents: Float[Tensor, "keys c h w"] | None, window: Window
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield an edit at the working size, from the first unfinished frame to the
        last key frame."""
        keys = window.keys
        edited = self._key_frames(latents, window)
        deviation = getattr(self._params, "steady", 0.0)
        flow = getattr(self._params, "flow", "auto")
        rebuilds_source = edit == len(self._frames)
        if deviation and latents is not None and not rebuilds_source:
            source = (self._source.read(key, key + 1)[0] for key in keys)
            edited = steady(edited, source, deviation, flow)
        if len(keys) == keys[-1] + 1 - self.done:  # all frames are key frames
            yield from edited
            return
        before = self._pictures.get(edit)
        if before is None:
            pictures = np.stack([*edited])
        else:
            pictures = np.stack([before, *edited])
            keys = (self._key, *keys)
        frames = fill_between(
            pictures, keys, self._source.read, flow, labels=self._labels()
        )
        if before is not None:
            next(frames)  # it is finished
        yield from frames

    def _labels(self) -> ReadLabels | None:
        """Return a function that reads the areas of the regions at the working size;
        None without regions."""
        if not self._request.edited:
            return None
        height, width = self._source.shape[1:3]

        def small(area: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "h w"]:
            return cv2.resize(area, (width, height), interpolation=cv2.INTER_NEAREST)

        def read(start: int, stop: int) -> UInt8[np.ndarray, "frames h w"]:
            areas = self._request.areas.read(start, stop)
            return np.stack([small(area) for area in areas])

        return read

    def _key_frames(
        self, latents: Float[Tensor, "keys c h w"] | None, window: Window
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """Yield the window's own key frames as an edit shows them: the source where
        nothing is edited."""
        count = len(window.keys)
        # those of a video are decoded together
        if latents is not None and len(latents) < count:
            frames = self._backbone.decode(latents)
            yield from frames[:count]  # without those that padded it
            return
        for start, stop in windows(count, _DECODED):
            if latents is None:
                yield from read_some(self._source.read, window.keys[start:stop])
            else:
                yield from self._backbone.decode(latents[start:stop])

    def _composite(
        self, number: int, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> None:
        """Append a frame to each edit, and to the rebuilt source."""
        clip = self._request.clip
        source = clip.read(number, number + 1)
        mask = self._request.edited_mask.read(number, number + 1)
        opacity = None
        if self._request.opacity is not None:
            opacity = self._request.opacity.read(number, number + 1)
        large = [resize(picture[None], clip.size) for picture in pictures]
        feather = self._params.feather
        for edit, frames in enumerate(self._frames):
            self._alone[edit].append(large[edit])
            frames.append(composite(source, large[edit], mask, feather, opacity))
        if self._rebuilt is not None:
            self._rebuilt.append(large[-1])

    def _keep(self, window: Window, draft: WindowResult | None) -> None:
        """Keep the maps of a window, and on disk the pictures that control networks
        read."""
        count = len(window.keys)
        self._keep_control(count, draft.control if draft else None)
        self._maps.append((count, maps_of(draft) if draft else {}))
        if draft and len(self._plan.windows) == 1:
            self._parts = {name: maps.parts for name, maps in draft.attention.items()}

    def _keep_control(
        self, count: int, control: UInt8[np.ndarray, "keys h w 3"] | None
    ) -> None:
        """Append the pictures of so many key frames, or black ones where there are
        none."""
        if self._control is None:
            if control is None:
                return
            height, width = control.shape[1:3]
            self._control = DiskFrames(height, width)
            before = sum(frames for frames, _ in self._maps)
            self._control.append(np.zeros((before, height, width, 3), np.uint8))
        if control is None:
            control = np.zeros((count, *self._control.shape[1:]), np.uint8)
        self._control.append(control)

    def finished(self) -> UInt8[LazyFrames, "frames h w 3"]:
        """Return the frames of the first edit that are done."""
        first = self._frames[0]
        return LazyFrames(first.shape, np.uint8, first.read)

    def result(self) -> EditResult:
        """Return the result, once all windows were added."""
        request = self._request
        others = zip(
            request.targets[1:], self._frames[1:], self._alone[1:], strict=True
        )
        return EditResult(
            self._frames[0],
            self._alone[0],
            frames_of(request.clip),
            request.edited_mask,
            reconstruction=self._rebuilt,
            control=self._all_control(),
            others=tuple(OtherEdit(*other) for other in others),
            plan=self._plan,
            matte=self._matte(),
            **self._all_maps(),
        )

    def _matte(self) -> UInt8[LazyFrames, "frames h w"]:
        """Return how much of the edit is shown, as `_composite` shows it."""
        request = self._request
        feather = self._params.feather

        def read(start: int, stop: int) -> UInt8[np.ndarray, "frames h w"]:
            mask = request.edited_mask.read(start, stop)
            opacity = None
            if request.opacity is not None:
                opacity = request.opacity.read(start, stop)
            shares = [*matte(mask, feather, opacity)]
            return np.rint(255 * np.stack(shares)).astype(np.uint8)

        return LazyFrames(request.edited_mask.shape, np.uint8, read)

    def _all_control(self) -> LazyFrames | None:
        """Return the control pictures of all frames: of each those of the nearest key
        frame."""
        if self._control is None:
            return None
        of_keys = self._control
        near = list(self._plan.nearest)

        def read(start: int, stop: int) -> UInt8[np.ndarray, "frames h w 3"]:
            return read_some(of_keys.read, near[start:stop])

        return LazyFrames((len(near), *of_keys.shape[1:]), np.uint8, read)

    def _all_maps(self) -> dict[str, Any]:
        """Return maps of all frames, as fields of a result.

        A frame between key frames has those of the nearest, and 0 where there are none.
        """
        near = list(self._plan.nearest)
        joined: dict[str, np.ndarray] = {}
        for name, like in self._known_maps().items():
            parts = []
            for count, maps in self._maps:
                missing = np.zeros((count, *like.shape[1:]), like.dtype)
                parts.append(maps.get(name, missing))
            joined[name] = np.concatenate(parts)[near]
        fields = fields_of(joined)
        attention = fields["attention"]
        for name, parts in self._parts.items():
            every = {
                part: RegionAttention(maps.before[near], maps.after[near])
                for part, maps in parts.items()
            }
            attention[name] = replace(attention[name], parts=every)
        return fields

    def _known_maps(self) -> dict[str, np.ndarray]:
        """Return a map of each name, of some window."""
        known: dict[str, np.ndarray] = {}
        for _, maps in self._maps:
            known.update(maps)
        return known
