"""Edits of boxes, put back where the boxes are in the clip: frames, previews, maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.pipeline.focus import (
    Boxed,
    BoxedResult,
    BoxedRun,
    inside_of,
    rescale,
)
from regrain.editing.recipe.events import (
    EditResult,
    OtherEdit,
    Preview,
    Ready,
    WindowStarted,
)
from regrain.editing.request.boxes import Boxes, Size

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures
    from regrain.editing.recipe.events import Event
    from regrain.editing.request.edit_request import EditRequest

_PREVIEW_SIDE = 640  # most pixels of a preview's longer side


def edit_boxes(
    backbone: Backbone, run: BoxedRun, pictures: Pictures | None
) -> Generator[Event, None, tuple[EditResult, tuple[BoxedResult, ...]]]:
    """Edit boxes one after the other, and put them back into the clip.

    Returns:
        The result for the whole frame, and that of each edit of boxes.
    """
    from regrain.editing.pipeline.assembly import edit_clip

    done: list[BoxedResult] = []
    for number, boxed in enumerate(run.edits):
        recipe = edit_clip(backbone, boxed.request, boxed.params, pictures=pictures)
        placing = Placing(run.request, boxed, done)
        try:
            while True:
                event = placing.place(next(recipe))
                if isinstance(event, WindowStarted):
                    event = _of_all(event, number, len(run.edits))
                yield event
        except StopIteration as stop:
            done.append(BoxedResult(boxed, stop.value))
        finally:
            recipe.close()
    return put_back(run.request, done), tuple(done)


def _of_all(event: WindowStarted, number: int, edits: int) -> WindowStarted:
    """Return a window of one of several edits, which have as many windows each, among
    those of all."""
    whole = event.left if event.number == 1 else event.left + event.work
    return WindowStarted(
        number * event.total + event.number,
        edits * event.total,
        event.work,
        event.left + (edits - 1 - number) * whole,
    )


class Placing:
    """Shows the events of an edit of boxes where the boxes are in the frame."""

    def __init__(
        self, request: EditRequest, boxed: Boxed, before: Sequence[BoxedResult]
    ) -> None:
        """`before` are edits that are done, and shown below this one."""
        self._request = request
        self._boxed = boxed
        self._before = tuple(before)
        # Frames of the last preview, scaled down.
        self._small: dict[int, UInt8[np.ndarray, "h w 3"]] = {}

    def place(self, event: Event) -> Event:
        """Return an event with its pictures and maps in place."""
        if isinstance(event, Preview):
            return self._preview(event)
        if isinstance(event, Ready):
            layers = [(one.boxed, one.result.frames) for one in self._before]
            layers.append((self._boxed, event.frames))
            return Ready(_composited(self._request, layers))
        return event

    def _preview(self, event: Preview) -> Preview:
        boxes = self._boxed.boxes[list(event.indices)]
        frames = [
            self._over(number, picture)
            for number, picture in zip(event.indices, event.frames, strict=True)
        ]
        size = self._request.clip.size
        heat = {
            name: place_maps(maps, boxes, size)
            for name, maps in event.attention.items()
        }
        self._small = {n: self._small[n] for n in event.indices}
        return Preview(np.stack(frames), event.indices, heat)

    def _over(
        self, number: int, picture: UInt8[np.ndarray, "h w 3"]
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return a small frame of the clip with a picture of its box in place."""
        size = self._request.clip.size
        scale = min(1.0, _PREVIEW_SIDE / max(size))
        if number not in self._small:
            small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
            frame = self._request.clip.read(number, number + 1)[0]
            self._small[number] = rescale(frame, small)
        frame = self._small[number].copy()
        height, width = frame.shape[:2]
        box = _scaled_box(self._boxed.boxes[number], width / size[0], height / size[1])
        rows, columns = inside_of(box)
        frame[rows, columns] = rescale(picture, (int(box[2]), int(box[3])))
        return frame


def _scaled_box(box: np.ndarray, across: float, down: float) -> np.ndarray:
    """Return a box of whole pixels, at least one, in a frame that was scaled."""
    left, top, width, height = box.tolist()
    first = np.array([int(left * across), int(top * down)])
    last = np.array([round((left + width) * across), round((top + height) * down)])
    return np.concatenate([first, np.maximum(last - first, 1)])


def place_maps(
    maps: np.ndarray, boxes: Boxes, size: Size
) -> Float[np.ndarray, "frames h w"] | Bool[np.ndarray, "frames h w"]:
    """Return maps of boxes as maps of the whole frames, 0 elsewhere.

    Args:
        maps: [frames, height, width], of which each covers its box.
        boxes: One for each map.
        size: (width, height) of the frames.

    Returns:
        Maps whose cells are about as large as the smallest of those given.
    """
    import cv2

    rows, columns = maps.shape[1:]
    narrowest, lowest = boxes[:, 2:].min(0)
    wide = math.ceil(size[0] * columns / narrowest)
    high = math.ceil(size[1] * rows / lowest)
    placed = np.zeros((len(maps), high, wide), np.float32)
    for number, (one, box) in enumerate(zip(maps, boxes.tolist(), strict=True)):
        left, top, width, height = box
        across, x = _placement(left, width / columns, wide / size[0])
        down, y = _placement(top, height / rows, high / size[1])
        change = np.array([[across, 0, x], [0, down, y]])
        picture = one.astype(np.float32)
        placed[number] = cv2.warpAffine(picture, change, (wide, high))
    if maps.dtype == bool:
        return placed > 0.5
    return placed.astype(maps.dtype)


def _placement(start: int, cell: float, per_pixel: float) -> tuple[float, float]:
    """Return factor and shift, along one axis, from places in the map of a box to those
    in the map of the frame.

    Places are counted in cells, of which the middle of the first is 0.

    Args:
        start: First pixel of the box.
        cell: Pixels that a cell of the box's map covers.
        per_pixel: Cells of the frame's map in a pixel.
    """
    factor = cell * per_pixel
    return factor, start * per_pixel + (factor - 1) / 2


Layer = tuple[Boxed, np.ndarray | LazyFrames]
"""An edit of boxes, and frames of it."""


def put_back(request: EditRequest, done: Sequence[BoxedResult]) -> EditResult:
    """Return the result of edits of boxes for the whole frame, put back when it is
    read."""
    first = done[0].result
    edits = []
    for number in range(len(request.targets)):
        alone = [(one.boxed, _alone(one.result, number)) for one in done]
        frames = _composited(request, alone)
        pasted = _pasted(request.clip.read, request.clip.size, alone)
        edits.append((frames, pasted))
    others = zip(request.targets[1:], edits[1:], strict=True)
    return EditResult(
        *edits[0],
        frames_of(request.clip),
        request.edited_mask,
        _all_attention(request, done),
        reconstruction=_all_of(request, done, "reconstruction", request.clip.read),
        control=_all_of(request, done, "control", partial(_black, request.clip.size)),
        others=tuple(OtherEdit(prompt, *edit) for prompt, edit in others),
        words=_placed_words(request, done[0]),
        step_areas=_placed_all(request, done[0], first.step_areas),
        plan=first.plan,
    )


def _alone(result: EditResult, number: int) -> np.ndarray | LazyFrames:
    """Return one of the edits of a run as it was decoded."""
    return [result, *result.others][number].uncomposited


def _all_of(
    request: EditRequest,
    done: Sequence[BoxedResult],
    name: str,
    below: Callable[[int, int], np.ndarray],
) -> LazyFrames | None:
    """Return frames that results may have, in place over others; None if none has."""
    layers = [(one.boxed, getattr(one.result, name)) for one in done]
    layers = [(boxed, frames) for boxed, frames in layers if frames is not None]
    return _pasted(below, request.clip.size, layers) if layers else None


def _black(size: Size, start: int, stop: int) -> UInt8[np.ndarray, "frames h w 3"]:
    return np.zeros((stop - start, size[1], size[0], 3), np.uint8)


def _all_attention(
    request: EditRequest, done: Sequence[BoxedResult]
) -> dict[str, RegionAttention]:
    """Return the attention of all edits in place; to a region that of its own edit."""
    every: dict[str, RegionAttention] = {}
    for one in done:
        own = one.boxed.region.name if one.boxed.region else ""
        for name, maps in one.result.attention.items():
            if name == own or name not in every:
                every[name] = _placed(request, one, maps)
    return every


def _placed(
    request: EditRequest, one: BoxedResult, maps: RegionAttention
) -> RegionAttention:
    parts = {name: _placed(request, one, part) for name, part in maps.parts.items()}
    boxes = one.boxed.boxes
    size = request.clip.size
    before = place_maps(maps.before, boxes, size)
    return RegionAttention(before, place_maps(maps.after, boxes, size), parts)


def _placed_words(request: EditRequest, one: BoxedResult) -> WordAttention | None:
    words = one.result.words
    if words is None:
        return None
    source = _placed_all(request, one, words.source)
    return WordAttention(source, _placed_all(request, one, words.edit))


def _placed_all(
    request: EditRequest, one: BoxedResult, maps: Mapping[Any, np.ndarray]
) -> dict[Any, np.ndarray]:
    size = request.clip.size
    return {name: place_maps(m, one.boxed.boxes, size) for name, m in maps.items()}


def _pasted(
    below: Callable[[int, int], np.ndarray], size: Size, layers: Sequence[Layer]
) -> UInt8[LazyFrames, "frames height width 3"]:
    """Return frames of (width, height) with all of the boxes put over them."""

    def read(start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        frames = below(start, stop).copy()
        for boxed, edited in layers:
            for frame, box, part in _parts(frames, boxed, edited, start, stop):
                frame[inside_of(box)] = part
        return frames

    return LazyFrames((len(layers[0][1]), size[1], size[0], 3), np.uint8, read)


def _parts(
    frames: np.ndarray,
    boxed: Boxed,
    edited: np.ndarray | LazyFrames,
    start: int,
    stop: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each frame, its box, and what was edited there in pixels of the clip."""
    parts = zip(frames, boxed.boxes[start:stop], edited[start:stop], strict=True)
    for frame, box, part in parts:
        yield frame, box, rescale(part, (int(box[2]), int(box[3])))


def _composited(
    request: EditRequest, layers: Sequence[Layer]
) -> UInt8[LazyFrames, "frames height width 3"]:
    """Return a clip with the edits of boxes composited over it, each in its region.

    Outside the boxes, and outside the regions and their fade, it is the clip bit for
    bit.
    """
    clip = request.clip
    width, height = clip.size
    areas = request.areas
    opacities = request.opacity
    edited = [region.label for region in request.edited]

    # torch is slow to import
    from regrain.editing.diffusion.blending import composite

    def read(start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        frames = clip.read(start, stop).copy()
        labels = areas.read(start, stop)
        opacity = None if opacities is None else opacities.read(start, stop)
        for boxed, pictures in layers:
            own = edited if boxed.region is None else [boxed.region.label]
            mask = np.isin(labels, own)
            feather = boxed.params.feather
            parts = _parts(frames, boxed, pictures, start, stop)
            for number, (frame, box, part) in enumerate(parts):
                place = (number, *inside_of(box))
                shown = None if opacity is None else opacity[place][None]
                below = frame[place[1:]][None]
                made = composite(below, part[None], mask[place][None], feather, shown)
                frame[place[1:]] = made[0]
        return frames

    return LazyFrames((len(layers[0][1]), height, width, 3), np.uint8, read)
