"""Where a run edits, and what a recipe is given of it: boxes around the regions, or the
whole frame, which is one box. `placing` puts the edits back.

What is small in the frame is large in a box, so that a model draws it with more pixels
in the same time. A recipe sees the boxes as if they were the clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np

from regrain.editing.media.clip import Clip, resize_labels
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames, Numbers, Size, frames_of
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.base import MethodParams
from regrain.editing.params.written import KeyChoice
from regrain.editing.recipe.events import Progress, Stage, Steps
from regrain.editing.request.boxes import (
    Boxes,
    Edges,
    Fit,
    check_sizes,
    find_boxes,
    read_boxes,
    read_focus,
    write_boxes,
)
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.frame_subset import DerivedClip
from regrain.editing.request.plan import LEAST_SHOT, Plan, make_plan, scan
from regrain.editing.request.region import MAX_REACH, Region
from regrain.editing.storage.texts import Content

# Pixels outside a region over which an edit may fade, whatever the method's own are:
# the boxes of all methods are the same.
_FADE = 3
MOST_ENLARGED = 3.0  # times, beyond which a warning says so
Place = tuple[Region | None, Boxes]
"""A region, or None for all of them, and the boxes in which it is edited."""


def _crops(
    whole: LazyFrames, boxes: Boxes, size: Size, scale: Callable[..., np.ndarray]
) -> LazyFrames:
    """Return the boxes of frames or labels, each scaled to one size, read when they are
    needed."""

    def read(start: int, stop: int) -> np.ndarray:
        frames = whole.read(start, stop)
        parts = np.empty((len(frames), *shape[1:]), whole.dtype)
        for number, box in enumerate(boxes[start:stop]):
            parts[number] = scale(frames[number][inside_of(box)], size)
        return parts

    shape = (len(whole), size[1], size[0], *whole.shape[3:])
    return LazyFrames(shape, whole.dtype, read)


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


@dataclass(frozen=True, eq=False)
class Placed:
    """One edit of a run, and where it is in the frame.

    Attributes:
        request: For what the model sees: the clip, or its boxes as a clip.
        params: Its parameters.
        boxes: Where they are in the clip.
        region: The only region that is edited; None if all are.
    """

    request: EditRequest
    params: MethodParams
    boxes: Boxes
    region: Region | None

    @classmethod
    def whole(cls, request: EditRequest, params: MethodParams) -> Placed:
        """Return the edit of whole frames, which are not resized."""
        return cls(request, params, frame_boxes(request), None)

    def fills(self, request: EditRequest) -> bool:
        """Tell whether it is the edit of a request's whole frames."""
        return self.request.clip is request.clip

    @property
    def scale(self) -> float:
        """Pixels of the edit per pixel of the clip; where it differs, the greatest."""
        return self.request.clip.size[0] / float(self.boxes[:, 2].min())

    def parts(
        self, pictures: np.ndarray | LazyFrames, start: int, stop: int
    ) -> Iterator[tuple[tuple[int, slice, slice], np.ndarray]]:
        """Yield the place of each box in frames start to stop - 1, and its picture in
        pixels of the clip."""
        boxes = self.boxes[start:stop]
        shown = zip(boxes, pictures[start:stop], strict=True)
        for number, (box, picture) in enumerate(shown):
            part = rescale(picture, (int(box[2]), int(box[3])))
            yield (number, *inside_of(box)), part

    def describe(self, size: Size, plan: Plan | None) -> Content:
        """Describe an edit of boxes for the report, without its metrics.

        Args:
            size: (width, height) of the whole frames.
            plan: Its shots and key frames.

        Returns:
            region (None if all were edited), path (which `focus` takes), scale (pixels
            of the edit per pixel of the clip), size of the edit, and megapixels_saved
            (that the model would have seen more of the whole frames at this scale).
        """
        width, height = self.request.clip.size
        edited = self.boxes[list(plan.keys)] if plan else self.boxes
        whole = math.prod(size) * np.square(width / edited[:, 2])
        return {
            "region": self.region.name if self.region else None,
            "path": write_boxes(self.boxes, plan.cuts if plan else ()),
            "scale": round(self.scale, 3),
            "size": [width, height],
            "megapixels_saved": round(float((whole - width * height).sum()) / 1e6, 1),
        }


def frame_boxes(request: EditRequest) -> Boxes:
    """Return the boxes that are the whole frames of a request's clip."""
    return np.tile((0, 0, *request.clip.size), (len(request.clip), 1))


def is_frame(boxes: Boxes, size: Size) -> bool:
    """Tell whether boxes are the whole frames, of a size (width, height)."""
    return bool((boxes[:, 2:] == size).all())


def asked_boxes(
    request: EditRequest, cuts: Sequence[int], fit: Fit = lambda w, h: (w, h)
) -> list[Place]:
    """Return the boxes of a request; of `each` those of every edited region.

    Args:
        request: The request.
        cuts: First frames of all shots but the first.
        fit: See `find_boxes`.
    """
    focus = read_focus(request.focus)
    begins = request.decided.begins_given and request.picture
    if not request.edited or focus.kind == "off" or begins:
        return [(None, frame_boxes(request))]
    size = request.clip.size
    if focus.kind == "boxes":
        boxes = read_boxes(request.focus, len(request.clip), size)
        check_sizes(boxes, cuts)
        return [(None, boxes)]

    def find(regions: Sequence[Region]) -> Boxes:
        edges = _edges(request, regions)
        fps = float(request.clip.fps)
        return find_boxes(
            edges,
            size,
            cuts,
            fps,
            focus,
            fit,
        )

    if focus.kind == "each" and len(request.edited) > 1:
        in_order = sorted(request.edited, key=lambda region: region.label)
        return [(region, find([region])) for region in in_order]
    return [(None, find(request.edited))]


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
    lows = np.fmin.reduce(parts)
    highs = np.fmax.reduce(parts)
    edges = np.concatenate([lows[:, :2], highs[:, 2:]], 1)
    return edges.clip(0, np.array([*size, *size]))


def box_sizes(request: EditRequest, fit: Fit = lambda w, h: (w, h)) -> list[Size]:
    """Return the sizes, in pixels of the clip, of the frames or boxes that a run edits:
    one for each of its edits.

    As far as cuts are not known, the clip counts as one shot; `fit` as for
    `find_boxes`.
    """
    cuts = request.decided.cuts or ()
    return [_largest(boxes) for _, boxes in asked_boxes(request, cuts, fit)]


def _largest(boxes: Boxes) -> Size:
    width, height = max(boxes[:, 2:].tolist(), key=math.prod)
    return width, height


def find_cuts(clip: Clip) -> Steps[Numbers]:
    """Find the first frames of later shots, none in a clip too short for two; yields
    how far it is."""
    if len(clip) < 2 * LEAST_SHOT:
        return ()
    yield Stage("scanning")
    cuts: list[int] = []
    for number, is_cut in scan(clip):
        if is_cut:
            cuts.append(number)
        yield Progress("scanning", number, len(clip) - 1)
    return tuple(cuts)


def placed_edits(
    backbone: Backbone, request: EditRequest, params: MethodParams
) -> tuple[EditRequest, list[Placed]]:
    """Find the edits of a run: of boxes, or one of the whole frame.

    Args:
        backbone: The model.
        request: For the whole frame.
        params: Its parameters; without cuts, the clip counts as one shot.

    Returns:
        The request, with the margins that suit the boxes, and its edits.

    Raises:
        RequestError: Boxes that were given change their size in a shot.
    """
    fit = partial(backbone.fit, size=request.size)
    found = asked_boxes(request, params.cuts or (), fit)
    if all(is_frame(boxes, request.clip.size) for _, boxes in found):
        return request, [Placed.whole(request, params)]
    params = _with_keys(backbone, request, params)
    request = with_margins(request, found)
    edits = [_placed(request, params, place, backbone.fit) for place in found]
    return request, edits


def with_margins(request: EditRequest, found: Sequence[Place]) -> EditRequest:
    """Return the request with margins in place of those that are chosen automatically:
    a share of the box, which is what a model sees, not of the frame.

    `found` are boxes with the region that each is for, as `asked_boxes` returns them.

    What a model paints around a thing in such a margin is seldom the place that is
    there, and sharp. So the edit fades into the source over it, unless the region says
    how it fades.
    """
    regions = []
    for region in request.regions:
        size = request.clip.size
        for own, boxes in found:
            if own is None or own.label == region.label:
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

    frames = working_frames(backbone, request)
    keys = make_plan(params.cuts or (), params.keyframes, frames, len(frames), 0).keys
    return params.model_copy(update={"keyframes": KeyChoice(frames=keys)})


def _placed(
    request: EditRequest,
    params: MethodParams,
    place: Place,
    fit: Callable[..., Size],
) -> Placed:
    """Return the edit of boxes of a request's clip, which are read when they are
    needed; `fit` is the model's `Backbone.fit`."""
    only, boxes = place
    size = fit(*_largest(boxes), request.size)
    frames = _crops(frames_of(request.clip), boxes, size, rescale)
    labels = _crops(request.areas, boxes, size, resize_labels)
    zoom = size[0] / int(boxes[0, 2])
    regions = []
    for region in request.regions:
        # Its mask has its margin already.
        feather = min(MAX_REACH, round(region.feather * zoom))
        boxed = replace(region, margin=0, feather=feather)
        if only is not None and only.label != region.label:
            boxed = replace(boxed, prompt="", picture="")
        regions.append(boxed)
    own = replace(
        request,
        clip=DerivedClip(request.clip, frames),
        labels=Labels(labels, cast(Labels, request.labels).present),
        regions=tuple(regions),
        size=request.size if fit(*size, request.size) == size else min(size),
        focus="off",
    )
    return Placed(own, params, boxes, only)


def focus_warnings(request: EditRequest, edits: Sequence[Placed]) -> list[str]:
    """Warn about boxes that are enlarged much, and about regions that leave them."""
    warnings = []
    for one in edits:
        if one.fills(request):
            continue
        regions = [one.region] if one.region else request.edited
        whose = f"The box of {one.region.name!r}" if one.region else "The box"
        if one.scale > MOST_ENLARGED:
            warnings.append(
                f"{whose} is enlarged {one.scale:.1f} times, so little of the clip is in it. Up to "
                f"{MOST_ENLARGED:g} times is usual: a larger focus, like on 1, shows more around."
            )
        edges = _edges(request, regions)
        corners = one.boxes[:, :2] + one.boxes[:, 2:]
        out = (edges[:, :2] < one.boxes[:, :2]) | (edges[:, 2:] > corners)
        left = int(out.any(1).sum())
        if left:
            frames = "frame" if left == 1 else "frames"
            warnings.append(
                f"{whose} does not show all of the region in {left} {frames}, where the rest of it keeps the "
                "source. Correct the masks there, or give focus a larger box."
            )
    return warnings
