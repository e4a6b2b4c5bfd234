"""Edit boxes around the regions instead of the whole frame, and put them back.

What is small in the frame is large in a box, so that a model draws it with more pixels
in the same time. A recipe sees the boxes as if they were the clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, UInt8

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames, frames_of
from regrain.editing.params.registry import check_params
from regrain.editing.params.written import HeatPixel, KeyChoice
from regrain.editing.recipe.events import (
    EditResult,
    OtherEdit,
    Preview,
    Ready,
    WindowStarted,
)
from regrain.editing.request.boxes import (
    Boxes,
    Edges,
    Focus,
    Size,
    check_sizes,
    find_boxes,
    read_boxes,
    read_focus,
    write_boxes,
)
from regrain.editing.request.region import MAX_MARGIN, Region

if TYPE_CHECKING:
    from regrain.editing.models.backbone import Backbone
    from regrain.editing.models.pictures.adapter import Pictures
    from regrain.editing.params.base import MethodParams
    from regrain.editing.recipe.events import Event
    from regrain.editing.request.edit_request import EditRequest

# Pixels outside a region over which an edit may fade, whatever the method's own are:
# the boxes of all methods are the same.
_FADE = 3
MOST_ENLARGED = 3.0  # times, beyond which a warning says so
_PREVIEW_SIDE = 640  # most pixels of a preview's longer side
Fit = Callable[[int, int], Size]


class BoxedClip:
    """The boxes of a clip as a clip, scaled to one size; see `media.clip.Clip`."""

    def __init__(self, whole: Clip, boxes: Boxes, size: Size) -> None:
        self.whole = whole
        self.boxes = boxes
        for name in Clip.__annotations__:
            setattr(self, name, getattr(whole, name))
        self.size = size

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width 3"]:
        """See `Clip.read`."""
        return _crops(self.whole.read, self.boxes, self.size, rescale, start, stop)


def _crops(
    read: Callable[[int, int], np.ndarray],
    boxes: Boxes,
    size: Size,
    scale: Callable[[np.ndarray, Size], np.ndarray],
    start: int,
    stop: int,
) -> np.ndarray:
    """Read the boxes of frames start to stop - 1, each scaled to one size."""
    frames = read(start, stop)
    parts = zip(frames, boxes[start:stop], strict=True)
    cut = [scale(frame[_inside(box)], size) for frame, box in parts]
    if not cut:
        return np.empty((0, size[1], size[0], *frames.shape[3:]), frames.dtype)
    return np.stack(cut)


def _inside(box: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of a box."""
    left, top, width, height = box.tolist()
    return slice(top, top + height), slice(left, left + width)


def rescale(frame: np.ndarray, size: Size) -> np.ndarray:
    """Scale a frame to (width, height): pixel areas averaged when shrinking, Lanczos
    otherwise."""
    import cv2  # slow to import, and seldom needed

    height, width = frame.shape[:2]
    if (width, height) == tuple(size):
        return frame
    shrinks = math.prod(size) <= width * height
    return cv2.resize(
        frame, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    )


def _pick_labels(labels: np.ndarray, size: Size) -> np.ndarray:
    """Scale labels, which have no values between them."""
    import cv2

    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True, eq=False)
class Boxed:
    """An edit of boxes.

    Attributes:
        request: The request, for the boxes as a clip.
        params: Its parameters.
        boxes: Where they are in the clip.
        region: The only region that is edited; None if all are.
    """

    request: EditRequest
    params: MethodParams
    boxes: Boxes
    region: Region | None = None

    @property
    def scale(self) -> float:
        """Pixels of the edit per pixel of the clip; where it differs, the greatest."""
        return self.request.clip.size[0] / float(self.boxes[:, 2].min())


class BoxedResult(NamedTuple):
    """An edit of boxes, and what it gave."""

    boxed: Boxed
    result: EditResult


def asked_boxes(
    request: EditRequest, cuts: Sequence[int], fit: Fit = lambda w, h: (w, h)
) -> list[tuple[Region | None, Boxes | None]]:
    """Return the boxes of a request, None for the whole frame; of `each` those of every
    edited region.

    Args:
        request: The request.
        cuts: First frames of all shots but the first.
        fit: See `find_boxes`.
    """
    focus = read_focus(request.focus)
    if not request.edited or focus.kind == "off":
        return [(None, None)]
    if focus.kind == "boxes":
        boxes = read_boxes(request.focus, len(request.clip), request.clip.size)
        check_sizes(boxes, cuts)
        is_frame = (boxes[:, 2:] == request.clip.size).all()
        return [(None, None if is_frame else boxes)]
    find = partial(_boxes_of, request, cuts=cuts, focus=focus, fit=fit)
    if focus.kind == "each" and len(request.edited) > 1:
        in_order = sorted(request.edited, key=lambda region: region.label)
        return [(region, find([region])) for region in in_order]
    return [(None, find(request.edited))]


def _boxes_of(
    request: EditRequest,
    regions: Sequence[Region],
    *,
    cuts: Sequence[int],
    focus: Focus,
    fit: Fit,
) -> Boxes | None:
    size = request.clip.size
    edges = _edges(request, regions)
    return find_boxes(edges, size, cuts, float(request.clip.fps), focus, fit)


def _edges(request: EditRequest, regions: Sequence[Region]) -> Edges:
    """Return the edges, in each frame, of all that the edit of some regions may reach.

    Margins that are chosen automatically depend on the box, and are less than what it
    shows around.
    """
    size = request.clip.size
    extents = cast(Labels, request.labels).extents
    parts = []
    for region in regions:
        reach = (region.margin or 0) + _FADE
        parts.append(extents[region.label] + np.array([-reach, -reach, reach, reach]))
    lows = np.fmin.reduce([part[:, :2] for part in parts])
    highs = np.fmax.reduce([part[:, 2:] for part in parts])
    edges = np.concatenate([lows, highs], 1)
    return edges.clip(0, np.array([*size, *size]))


def box_sizes(request: EditRequest) -> list[Size]:
    """Return the sizes of the frames that a run edits, one for each of its edits: of
    boxes or of the clip.

    As far as cuts are not known, the clip counts as one shot.
    """
    cuts = check_params(request.method, request.params).cuts or ()
    sizes = []
    for _, boxes in asked_boxes(request, cuts):
        sizes.append(request.clip.size if boxes is None else _largest(boxes))
    return sizes


def _largest(boxes: Boxes) -> Size:
    width, height = max(boxes[:, 2:].tolist(), key=math.prod)
    return width, height


class BoxedRun(NamedTuple):
    """A run of boxes.

    Attributes:
        request: For the whole frame, with the margins that suit the boxes.
        params: With cuts, and key frames by number.
        edits: The edits of boxes; none where the whole frame is edited.
    """

    request: EditRequest
    params: MethodParams
    edits: tuple[Boxed, ...] = ()


def find_boxed(
    backbone: Backbone, request: EditRequest, params: MethodParams
) -> Generator[Event, None, BoxedRun]:
    """Return what `boxed_edits` does, after looking for cuts if none are given."""
    if read_focus(request.focus).kind == "off" or not request.edited:
        return BoxedRun(request, params)
    if params.cuts is None:
        from regrain.editing.pipeline.assembly import find_cuts

        cuts = yield from find_cuts(request.clip)
        params = params.model_copy(update={"cuts": cuts})
    return boxed_edits(backbone, request, params)


def boxed_edits(
    backbone: Backbone, request: EditRequest, params: MethodParams
) -> BoxedRun:
    """Find the boxes that a run edits.

    Args:
        backbone: The model.
        request: For the whole frame.
        params: Its parameters, with cuts.

    Raises:
        RequestError: Boxes that were given change their size in a shot, or none of them
            shows the chosen pixel.
    """
    fit = partial(backbone.fit, size=request.size)
    found = asked_boxes(request, params.cuts or (), fit)
    if all(boxes is None for _, boxes in found):
        return BoxedRun(request, params)
    params = _with_keys(backbone, request, params)
    request = _with_margins(request, found)
    boxed = [
        focused(request, params, boxes, backbone.fit, region) for region, boxes in found
    ]
    _check_pixel(params, boxed)
    return BoxedRun(request, params, tuple(boxed))


def _with_margins(
    request: EditRequest, found: Sequence[tuple[Region | None, Boxes | None]]
) -> EditRequest:
    """Return the request with margins in place of those that are chosen automatically:
    a share of the box, which is what a model sees, not of the frame."""
    regions = []
    for region in request.regions:
        size = request.clip.size
        for own, boxes in found:
            if boxes is not None and (own is None or own.label == region.label):
                size = _largest(boxes)
        regions.append(replace(region, margin=region.effective_margin(size)))
    return replace(request, regions=tuple(regions))


def _with_keys(
    backbone: Backbone, request: EditRequest, params: MethodParams
) -> MethodParams:
    """Return the parameters with key frames by number, as they are chosen in the whole
    frame."""
    if not params.keyframes.least:
        return params
    from regrain.editing.recipe.window import working_frames
    from regrain.editing.request.plan import make_plan

    frames = working_frames(backbone, request)
    keys = make_plan(params.cuts or (), params.keyframes, frames, len(frames), 0).keys
    return params.model_copy(update={"keyframes": KeyChoice(frames=keys)})


def focused(
    request: EditRequest,
    params: MethodParams,
    boxes: Boxes | None,
    fit: Callable[..., Size],
    region: Region | None = None,
) -> Boxed:
    """Return a request for boxes of its clip, read when they are needed.

    Args:
        request: For the whole frame.
        params: Its parameters.
        boxes: None for the whole frame.
        fit: The model's `Backbone.fit`.
        region: The only region to be edited; None for all.
    """
    if boxes is None:
        boxes = np.tile((0, 0, *request.clip.size), (len(request.clip), 1))
    size = fit(*_largest(boxes), request.size)
    clip = BoxedClip(request.clip, boxes, size)
    areas = request.areas
    labels = LazyFrames(
        (len(clip), size[1], size[0]),
        np.uint8,
        partial(_crops, areas.read, boxes, size, _pick_labels),
    )
    zoom = size[0] / int(boxes[0, 2])
    regions = [_boxed_region(one, zoom, region) for one in request.regions]
    own = replace(
        request,
        clip=clip,
        labels=Labels(labels, cast(Labels, request.labels).present),
        regions=tuple(regions),
        size=request.size if fit(*size, request.size) == size else min(size),
        focus="off",
    )
    return Boxed(own, _boxed_params(params, boxes, size), boxes, region)


def _boxed_region(one: Region, zoom: float, only: Region | None) -> Region:
    """Return a region for a box, whose mask has its margin already; without words if
    another is the only one."""
    feather = min(MAX_MARGIN, round(one.feather * zoom))
    boxed = replace(one, margin=0, feather=feather)
    if only is None or only.label == one.label:
        return boxed
    return replace(boxed, prompt="", picture="")


def _boxed_params(params: MethodParams, boxes: Boxes, size: Size) -> MethodParams:
    """Return parameters for boxes: the chosen pixel is where it is in its box, or gone
    if it is outside."""
    pixel = getattr(params, "heat_pixel", None)
    if pixel is None:
        return params
    left, top, width, height = boxes[pixel.frame].tolist()
    x = (pixel.x - left) * size[0] / width
    y = (pixel.y - top) * size[1] / height
    is_inside = 0 <= x < size[0] and 0 <= y < size[1]
    there = HeatPixel(pixel.frame, x, y) if is_inside else None
    return params.model_copy(update={"heat_pixel": there})


def _check_pixel(params: MethodParams, found: Sequence[Boxed]) -> None:
    """Refuse a chosen pixel that no box shows."""
    pixel = getattr(params, "heat_pixel", None)
    if pixel and not any(getattr(one.params, "heat_pixel", None) for one in found):
        reason = f"Pixel {pixel.x:g},{pixel.y:g} is in no box of frame {pixel.frame}"
        advice = "Choose one near a region, or set focus to off."
        raise RequestError("params.heat_pixel", f"{reason}. {advice}")


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
        self._names = _pixel_names(request, boxed)
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
            self._names.get(name, name): place_maps(maps, boxes, size)
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
        rows, columns = _inside(box)
        frame[rows, columns] = rescale(picture, (int(box[2]), int(box[3])))
        return frame


def _scaled_box(box: np.ndarray, across: float, down: float) -> np.ndarray:
    """Return a box of whole pixels, at least one, in a frame that was scaled."""
    left, top, width, height = box.tolist()
    first = np.array([int(left * across), int(top * down)])
    last = np.array([round((left + width) * across), round((top + height) * down)])
    return np.concatenate([first, np.maximum(last - first, 1)])


def _pixel_names(request: EditRequest, boxed: Boxed) -> dict[str, str]:
    """Return the name of the map of a chosen pixel in the clip, by that in its box."""
    from regrain.editing.recipe.attention_recorder import pixel_name

    there = getattr(boxed.params, "heat_pixel", None)
    here = getattr(check_params(request.method, request.params), "heat_pixel", None)
    return {pixel_name(there): pixel_name(here)} if there and here else {}


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
    least = boxes[:, 2:].min(0)
    wide = math.ceil(size[0] * columns / least[0])
    high = math.ceil(size[1] * rows / least[1])
    placed = np.zeros((len(maps), high, wide), np.float32)
    for number, (one, box) in enumerate(zip(maps, boxes.tolist(), strict=True)):
        left, top, width, height = box
        # cells of the whole frame per cell of the map
        across = width / columns * wide / size[0]
        down = height / rows * high / size[1]
        x = left * wide / size[0] + (across - 1) / 2
        y = top * high / size[1] + (down - 1) / 2
        change = np.array([[across, 0, x], [0, down, y]])
        placed[number] = cv2.warpAffine(one.astype(np.float32), change, (wide, high))
    return placed > 0.5 if maps.dtype == bool else placed.astype(maps.dtype)


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
        names = _pixel_names(request, one.boxed)
        own = one.boxed.region.name if one.boxed.region else ""
        for name, maps in one.result.attention.items():
            if name == own or name not in every:
                every[names.get(name, name)] = _placed(request, one, maps)
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
                frame[_inside(box)] = part
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
                place = (number, *_inside(box))
                shown = None if opacity is None else opacity[place][None]
                below = frame[place[1:]][None]
                made = composite(below, part[None], mask[place][None], feather, shown)
                frame[place[1:]] = made[0]
        return frames

    return LazyFrames((len(layers[0][1]), height, width, 3), np.uint8, read)


def describe_focus(request: EditRequest, one: BoxedResult) -> dict[str, object]:
    """Describe an edit of boxes for the report, without its metrics.

    Returns:
        region (None if all were edited), path (which `focus` takes), scale (pixels of
        the edit per pixel of the clip), size of the edit, and megapixels_saved (that
        the model would have seen more of the whole frames at this scale).
    """
    boxed = one.boxed
    plan = one.result.plan
    width, height = boxed.request.clip.size
    edited = boxed.boxes[list(plan.keys)] if plan else boxed.boxes
    scales = width / edited[:, 2]
    whole = math.prod(request.clip.size) * np.square(scales)
    return {
        "region": boxed.region.name if boxed.region else None,
        "path": write_boxes(boxed.boxes, plan.cuts if plan else ()),
        "scale": round(boxed.scale, 3),
        "size": [width, height],
        "megapixels_saved": round(float((whole - width * height).sum()) / 1e6, 1),
    }


def focus_warnings(run: BoxedRun) -> list[str]:
    """Warn about boxes that are enlarged much, and about regions that leave them."""
    request = run.request
    warnings = []
    for one in run.edits:
        regions = [one.region] if one.region else request.edited
        whose = f"The box of {one.region.name!r}" if one.region else "The box"
        if one.scale > MOST_ENLARGED:
            warnings.append(
                f"{whose} is enlarged {one.scale:.1f} times, so little of the clip is in it. Up to "
                f"{MOST_ENLARGED:g} times is usual: a larger focus, like on 1, shows more around."
            )
        left = _frames_left(_edges(request, regions), one.boxes)
        if left:
            frames = "frame" if left == 1 else "frames"
            warnings.append(
                f"{whose} does not show all of the region in {left} {frames}, where the rest of it keeps the "
                "source. Correct the masks there, or give focus a larger box."
            )
    return warnings


def _frames_left(edges: Edges, boxes: Boxes) -> int:
    """Count the frames in which something reaches out of its box."""
    corners = boxes[:, :2] + boxes[:, 2:]
    out = (edges[:, :2] < boxes[:, :2]) | (edges[:, 2:] > corners)
    return int(out.any(1).sum())
