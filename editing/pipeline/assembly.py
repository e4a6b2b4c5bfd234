"""Edit a whole clip: shot by shot, window by window; the result is kept on disk."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import lcm
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.diffusion.blending import composite
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import resize
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

# Cut here, the frames that the autoencoder takes at once are those it takes of the whole window.
_DECODED = lcm(*range(1, FRAMES_AT_ONCE + 1))


@torch.no_grad()
def edit_clip(
    backbone: Backbone,
    request: EditRequest,
    params: MethodParams,
    method: Method | None = None,
    pictures: Pictures | None = None,
) -> Generator[Event, None, EditResult]:
    """Edit a clip by a method, the request's unless another is given; yields events, returns the result.

    Of several windows each is cached when it is done, so that a run that was stopped goes on where it was.

    Raises:
        RequestError: No key frame shows some region.
        EditingError: A frame cannot be decoded, or as the method.
    """
    runner = yield from _runner(
        backbone, request, params, method or METHODS[request.method], pictures
    )
    plan, compositor = runner.plan, Compositor(runner.backbone, request, params, runner.plan)
    several = len(plan.windows) > 1
    for number, window in enumerate(plan.windows, 1):
        if several:
            left = sum(len(later.numbers) for later in plan.windows[number - 1 :])
            yield WindowStarted(number, len(plan.windows), len(window.numbers), left)
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
    """Edit the windows of one shot and cache their drafts, which `edit_clip` of the same request then takes.

    Shots do not depend on each other, so that several machines may each edit one. Returns the number of the
    shot's windows; errors are those of `edit_clip`.
    """
    runner = yield from _runner(backbone, request, params, METHODS[request.method], pictures)
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
    """Plan the edit, looking for cuts if it has to, and prepare the model for it."""
    clip, cuts = request.clip, params.cuts
    if cuts is None and len(clip) >= 2 * LEAST_SHOT:
        yield Stage("scanning")
        found = []
        for number, is_cut in scan(clip):
            found += [number] if is_cut else []
            yield Progress("scanning", number, len(clip) - 1, None)
        cuts = tuple(found)
    frames = working_frames(backbone, request)
    size = getattr(params, "frames_at_once", 0) or getattr(params, "window", 0)
    if not size:
        _, height, width = backbone.grid(1, *frames.shape[1:3])
        rows = 2 + 2 * len(request.targets) if method.several else 1
        size = backbone.window_frames(rows, height, width)
    plan = make_plan(cuts or (), params.keyframes, frames, size, method.anchors)
    _check_shown(request, plan)
    if method.prepare:
        backbone = yield from method.prepare(backbone, request, params)
    return WindowRunner(method, backbone, request, params, plan, pictures)


def _check_shown(request: EditRequest, plan: Plan) -> None:
    """Refuse key frames none of which shows some region."""
    if request.labels is None or len(plan.keys) == plan.frames:
        return
    shown = {label for key in plan.keys for label in np.unique(request.labels[key]).tolist()}
    for region in request.edited:
        if region.label not in shown:
            raise RequestError(
                "params.keyframes",
                f"Region {region.name!r} is in none of them. Add a frame that shows it.",
            )


@dataclass(eq=False)
class WindowRunner:
    """Runs a method on one window after the other; the anchors of each follow the paths of those before."""

    method: Method
    backbone: Backbone
    request: EditRequest
    params: MethodParams
    plan: Plan
    pictures: Pictures | None
    # Of the last edited window in this shot: first and last frame, and their paths.
    _shot: int = -1
    _ends: tuple[int, ...] = ()
    _paths: Mapping[str, Tensor] = field(default_factory=dict)

    def edit(self, window: Window) -> Generator[Event, None, WindowResult | None]:
        """The draft of a window's own frames; None if no region is in them."""
        several, mask = len(self.plan.windows) > 1, self.request.edited_mask
        if several and not any(mask.read(key, key + 1).any() for key in window.keys):
            return None
        piece = self._piece(window)
        part = pick(self.request, piece.numbers)
        asked = (self.pictures, self.backbone, part, self.params, piece)
        if not several:
            return (yield from run_looking(self.method.run, *asked))
        key = draft_key(self.backbone, part, self.params, piece, self.method.name)
        if self.pictures:
            key["pictures"] = self.pictures.key
        if kept := load_draft(key, self.backbone.device):
            draft, paths = kept
        else:
            draft = yield from run_looking(self.method.run, *asked)
            draft, paths = without_anchors(draft, piece.anchors), piece.paths
            store_draft(key, draft, paths)
        self._shot, self._ends, self._paths = (
            window.shot,
            (piece.numbers[0], piece.numbers[-1]),
            paths,
        )
        return draft

    def _piece(self, window: Window) -> WindowFrames:
        ends = self._ends if window.anchors and window.shot == self._shot else ()
        numbers = (*ends, *window.keys)
        places = [self.plan.keys.index(number) for number in numbers]
        gaps = [place for place in range(1, len(places)) if places[place] - places[place - 1] > 1]
        leads = any(other.anchors and other.shot == window.shot for other in self.plan.windows)
        return WindowFrames(numbers, len(ends), tuple(gaps), leads, self._paths if ends else {})


class Compositor:
    """Makes the result out of drafts, window after window; `done` frames of the clip are finished."""

    def __init__(
        self, backbone: Backbone, request: EditRequest, params: MethodParams, plan: Plan
    ) -> None:
        self._backbone, self._request, self._params, self._plan = backbone, request, params, plan
        self._source = working_frames(backbone, request)
        height, width = request.clip.size[::-1]
        self._frames, self._alone = (
            [DiskFrames(height, width) for _ in request.targets] for _ in range(2)
        )
        self._rebuilt = DiskFrames(height, width) if getattr(params, "reconstruct", False) else None
        # Of each window, how many key frames it has, and their maps.
        self._maps: list[tuple[int, dict[str, np.ndarray]]] = []
        self._parts: dict[str, Mapping[str, RegionAttention]] = {}
        self._control: DiskFrames | None = None
        # Of the last window in this shot: its last key frame, as each edit shows it.
        self._shot, self._key, self._pictures = -1, 0, {}
        self.done = 0

    def add(self, window: Window, draft: WindowResult | None) -> Iterator[Event]:
        """Decode a window, fill the frames between key frames, and composite them over the source."""
        if window.shot != self._shot:
            self._shot, self._pictures = window.shot, {}
        latents = list(draft.edits) if draft else [None] * len(self._frames)
        if self._rebuilt is not None:
            latents.append(draft.reconstruction if draft else None)
        shown = [self._all_frames(edit, x, window) for edit, x in enumerate(latents)]
        start, stop, pictures = self.done, window.keys[-1] + 1, []
        for number in range(start, stop):
            pictures = [next(frames) for frames in shown]
            self._composite(number, pictures)
            if stop - start > 1:
                yield Progress("decoding", number + 1 - start, stop - start, None)
        self.done, self._key, self._pictures = stop, window.keys[-1], dict(enumerate(pictures))
        self._keep(window, draft)

    def _all_frames(
        self, edit: int, latents: Float[Tensor, "keys c h w"] | None, window: Window
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """An edit at the working size, from the first unfinished frame to the window's last key frame."""
        keys, edited = window.keys, self._key_frames(latents, window)
        deviation, flow = (
            getattr(self._params, "steady", 0.0),
            getattr(self._params, "flow", "auto"),
        )
        if (
            deviation and latents is not None and edit < len(self._frames)
        ):  # not of what rebuilds the source
            source = (frame for key in keys for frame in self._source.read(key, key + 1))
            edited = steady(edited, source, deviation, flow)
        if len(keys) == keys[-1] + 1 - self.done:
            yield from edited
            return
        before = [self._pictures[edit]] if edit in self._pictures else []
        keys = (self._key, *keys) if before else keys
        pictures = np.stack([*before, *edited])
        frames = fill_between(pictures, keys, self._source.read, flow, labels=self._labels())
        for _ in before:
            next(frames)
        yield from frames

    def _labels(self) -> ReadLabels | None:
        """Reads the areas of the regions at the working size; None without regions."""
        if not self._request.edited:
            return None
        height, width = self._source.shape[1:3]

        def read(start: int, stop: int) -> UInt8[np.ndarray, "frames h w"]:
            areas = self._request.areas.read(start, stop)
            return np.stack(
                [cv2.resize(a, (width, height), interpolation=cv2.INTER_NEAREST) for a in areas]
            )

        return read

    def _key_frames(
        self, latents: Float[Tensor, "keys c h w"] | None, window: Window
    ) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The window's own key frames as an edit shows them: the source where nothing is edited."""
        if latents is not None and len(latents) < len(window.keys):  # those of a video go together
            yield from self._backbone.decode(latents)[
                : len(window.keys)
            ]  # without those that padded it
            return
        for start, stop in windows(len(window.keys), _DECODED):
            if latents is None:
                yield from read_some(self._source.read, window.keys[start:stop])
            else:
                yield from self._backbone.decode(latents[start:stop])

    def _composite(self, number: int, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> None:
        clip, edits = self._request.clip, zip(self._frames, self._alone, strict=True)
        source, mask = (
            clip.read(number, number + 1),
            self._request.edited_mask.read(number, number + 1),
        )
        shown = self._request.opacity
        opacity = None if shown is None else shown.read(number, number + 1)
        large = [resize(picture[None], clip.size) for picture in pictures]
        for picture, (frames, alone) in zip(large, edits, strict=False):
            alone.append(picture)
            frames.append(composite(source, picture, mask, self._params.feather, opacity))
        if self._rebuilt is not None:
            self._rebuilt.append(large[-1])

    def _keep(self, window: Window, draft: WindowResult | None) -> None:
        """Keep the maps of a window; what control networks read is kept on disk."""
        control = draft.control if draft else None
        if self._control is None and control is not None:
            self._control = DiskFrames(*control.shape[1:3])
            before = sum(count for count, _ in self._maps)
            self._control.append(np.zeros((before, *control.shape[1:]), np.uint8))
        if self._control is not None:
            blank = np.zeros((len(window.keys), *self._control.shape[1:]), np.uint8)
            self._control.append(blank if control is None else control)
        self._maps.append((len(window.keys), maps_of(draft) if draft else {}))
        if draft and len(self._plan.windows) == 1:
            self._parts = {name: maps.parts for name, maps in draft.attention.items()}

    def finished(self) -> UInt8[LazyFrames, "frames h w 3"]:
        """The frames of the first edit that are done."""
        shape = self._frames[0].shape
        return LazyFrames(shape, np.uint8, self._frames[0].read)

    def result(self) -> EditResult:
        """The result, once all windows are there."""
        request, near = self._request, list(self._plan.nearest)
        fields = fields_of(self._all_maps())
        for name, parts in self._parts.items():
            every = {
                part: RegionAttention(at.before[near], at.after[near]) for part, at in parts.items()
            }
            fields["attention"][name] = replace(fields["attention"][name], parts=every)
        others = zip(request.targets[1:], self._frames[1:], self._alone[1:], strict=True)
        control, keys = None, self._control
        if keys is not None:
            shape = (len(near), *keys.shape[1:])
            control = LazyFrames(shape, np.uint8, lambda a, b: read_some(keys.read, near[a:b]))
        return EditResult(
            self._frames[0],
            self._alone[0],
            frames_of(request.clip),
            request.edited_mask,
            reconstruction=self._rebuilt,
            control=control,
            others=tuple(OtherEdit(*other) for other in others),
            plan=self._plan,
            **fields,
        )

    def _all_maps(self) -> dict[str, np.ndarray]:
        """Maps of all frames; a frame between key frames has those of the nearest, and 0 where none are."""
        like = {name: array for _, maps in self._maps for name, array in maps.items()}
        near = list(self._plan.nearest)
        joined = {}
        for name, array in like.items():
            shape, dtype = array.shape[1:], array.dtype
            parts = [maps.get(name, np.zeros((count, *shape), dtype)) for count, maps in self._maps]
            joined[name] = np.concatenate(parts)[near]
        return joined
