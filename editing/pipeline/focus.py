"""Edit boxes around the regions instead of the whole frame: which, and what a recipe
is given of them. `placing` puts the edits back.

What is small in the frame is large in a box, so that a model draws it with more pixels
in the same time. A recipe sees the boxes as if they were the clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from jaxtyping import UInt8

from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.params.registry import check_params
from regrain.editing.params.written import KeyChoice
from regrain.editing.recipe.events import (
    EditResult,
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
    from regrain.editing.params.base import MethodParams
    from regrain.editing.recipe.events import Event
    from regrain.editing.request.edit_request import EditRequest

# Pixels outside a region over which an edit may fade, whatever the method's own are:
# the boxes of all methods are the same.
_FADE = 3
MOST_ENLARGED = 3.0  # times, beyond which a warning says so
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
    cut = [scale(frame[inside_of(box)], size) for frame, box in parts]
    if not cut:
        return np.empty((0, size[1], size[0], *frames.shape[3:]), frames.dtype)
    return np.stack(cut)


def inside_of(box: np.ndarray) -> tuple[slice, slice]:
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


def box_sizes(request: EditRequest, fit: Fit = lambda w, h: (w, h)) -> list[Size]:
    """Return the sizes of the frames that a run edits, one for each of its edits: of
    boxes or of the clip.

    As far as cuts are not known, the clip counts as one shot; `fit` as for
    `find_boxes`.
    """
    cuts = check_params(request.method, request.params).cuts or ()
    sizes = []
    for _, boxes in asked_boxes(request, cuts, fit):
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
    request = with_margins(request, found)
    boxed = [
        focused(request, params, boxes, backbone.fit, region) for region, boxes in found
    ]
    return BoxedRun(request, params, tuple(boxed))


def with_margins(
    request: EditRequest, found: Sequence[tuple[Region | None, Boxes | None]]
) -> EditRequest:
    """Return the request with margins in place of those that are chosen automatically:
    a share of the box, which is what a model sees, not of the frame.

    `found` are boxes with the region that each is for, or None for all; as
    `asked_boxes` returns them.

    What a model paints around a thing in such a margin is seldom the place that is
    there, and sharp. So the edit fades into the source over it, unless the region says
    how it fades.
    """
    regions = []
    for region in request.regions:
        size = request.clip.size
        for own, boxes in found:
            if boxes is not None and (own is None or own.label == region.label):
                size = _largest(boxes)
        margin = region.effective_margin(size)
        fades = size != request.clip.size and region.margin is None
        feather = region.feather or (margin if fades else 0)
        regions.append(replace(region, margin=margin, feather=feather))
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
    return Boxed(own, params, boxes, region)


def _boxed_region(one: Region, zoom: float, only: Region | None) -> Region:
    """Return a region for a box, whose mask has its margin already; without words if
    another is the only one."""
    feather = min(MAX_MARGIN, round(one.feather * zoom))
    boxed = replace(one, margin=0, feather=feather)
    if only is None or only.label == one.label:
        return boxed
    return replace(boxed, prompt="", picture="")


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
