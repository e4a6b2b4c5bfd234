"""Drawings put over the source where they belong: frames, matte, previews and
maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float

from regrain.editing.attention.averages import Heat, RegionAttention, WordAttention
from regrain.editing.diffusion.blending import differing, matte, over
from regrain.editing.media.clip import within
from regrain.editing.media.lazy_frames import (
    AnyLabels,
    Frames,
    LazyFrames,
    Read,
    Rgb,
    Size,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.pictures.adapter import Pictures
from regrain.editing.pipeline.assembly import DrawnClip, edit_clip
from regrain.editing.pipeline.focus import Placed, rescale
from regrain.editing.recipe.events import (
    EditResult,
    Event,
    OtherEdit,
    Preview,
    Ready,
    Steps,
    WindowStarted,
    changed,
)
from regrain.editing.request.boxes import Boxes
from regrain.editing.request.edit_request import EditRequest

_PREVIEW_SIDE = 640  # most pixels of a preview's longer side
_PREVIEWED = 8  # frames of the source that are kept for previews
Key = TypeVar("Key")


def edit_placed(
    backbone: Backbone,
    request: EditRequest,
    edits: Sequence[Placed],
    pictures: Pictures | None = None,
) -> Steps[tuple[EditResult, list[DrawnClip]]]:
    """Edit a clip where its edits are, one after the other.

    Args:
        backbone: The model.
        request: For the whole frame, with the margins of the edits.
        edits: See `placed_edits`.
        pictures: As the model sees them; None without any.

    Returns:
        The result for the whole frame, and what each edit drew.
    """
    done: list[DrawnClip] = []
    for placed in edits:
        recipe = edit_clip(backbone, placed, pictures)
        show = Placing(request, placed, done, len(edits), backbone)
        done.append((yield from changed(recipe, show)))
    return Compositor(request, done, backbone).result(), done


class Placing:
    """Shows the events of an edit where it is in the frame."""

    def __init__(
        self,
        request: EditRequest,
        placed: Placed,
        before: Sequence[DrawnClip],
        edits: int,
        backbone: Backbone,
    ) -> None:
        """`before` are those of all `edits` that are done, and shown below this one."""
        self._request = request
        self._placed = placed
        self._before = tuple(before)
        self._edits = edits
        self._backbone = backbone
        small = within(request.clip.size, _PREVIEW_SIDE)

        def read(number: int) -> Rgb:
            return rescale(request.clip.read(number, number + 1)[0], small)

        self._small = lru_cache(_PREVIEWED)(read)
        scale = np.divide(small, request.clip.size)
        corners = placed.boxes[:, :2]
        ends = corners + placed.boxes[:, 2:]
        first = (corners * scale).astype(int)
        last = np.round(ends * scale).astype(int)
        self._boxes = np.concatenate([first, np.maximum(last - first, 1)], 1)

    def __call__(self, event: Event) -> Event:
        """Return an event with its pictures and maps in place."""
        if isinstance(event, WindowStarted):
            # among those of all edits, which have as many windows each
            number = len(self._before)
            whole = event.left if event.number == 1 else event.left + event.work
            return WindowStarted(
                number * event.total + event.number,
                self._edits * event.total,
                event.work,
                event.left + (self._edits - 1 - number) * whole,
            )
        if isinstance(event, Ready):
            drawn = [*self._before, DrawnClip(self._placed, (event.frames,))]
            return Ready(Compositor(self._request, drawn, self._backbone).frames(0))
        if isinstance(event, Preview) and not self._placed.fills(self._request):
            return self._preview(event)
        return event

    def _preview(self, event: Preview) -> Preview:
        numbers = list(event.indices)
        frames = np.stack([self._small(number) for number in numbers])
        small = replace(self._placed, boxes=self._boxes[numbers])
        for place, part in small.parts(event.frames, 0, len(numbers)):
            frames[place] = part
        boxes = self._placed.boxes[numbers]
        heat = _in_place(event.attention, boxes, self._request.clip.size)
        return Preview(frames, event.indices, heat)


class Compositor:
    """Puts edits over the source when they are read.

    Outside the boxes, and outside the regions and their fade, frames are the source's
    bit for bit. In margins and fades, they are the source's where the edit does not
    differ from it.
    """

    def __init__(
        self, request: EditRequest, drawn: Sequence[DrawnClip], backbone: Backbone
    ) -> None:
        """`request` is for the whole frame; `backbone` is the model that drew."""
        self._request = request
        self._drawn = drawn
        asked = [one.placed.request for one in drawn]
        self._sizes = [backbone.fit(*one.clip.size, one.size) for one in asked]
        # Frames are read beside those of the source, which are decoded once for both.
        self._source = lru_cache(1)(request.clip.read)

    def result(self) -> EditResult:
        """Return the result for the whole frame."""
        request = self._request
        drawn = self._drawn
        first = drawn[0]
        edits = []
        for number in range(len(request.targets)):
            alone = self._alone(self._edits(number), self._source, differs=True)
            shares = self._lazy(partial(self._matte, number))
            edits.append((self.frames(number), alone, shares))
        others = zip(request.targets[1:], edits[1:], strict=True)
        place = partial(_in_place, boxes=first.placed.boxes, size=request.clip.size)
        words = first.words
        rebuilt = [one.reconstruction for one in drawn]
        frames, alone, shares = edits[0]
        return EditResult(
            frames,
            alone,
            self._lazy(self._source, 3),
            request.edited_mask,
            self._attention(),
            reconstruction=self._alone(rebuilt, self._source),
            control=self._alone([one.control for one in drawn], self._black),
            others=tuple(OtherEdit(prompt, *edit) for prompt, edit in others),
            words=words and WordAttention(place(words.source), place(words.edit)),
            step_areas=place(first.step_areas),
            plan=first.plan,
            matte=shares,
        )

    def frames(self, edit: int) -> Frames:
        """Return the clip with an edit, by its number, over it; as far as it is
        drawn."""
        layers = self._edits(edit)
        source = self._source
        return self._lazy(
            lambda start, stop: self._over(layers, source, start, stop)[0], 3
        )

    def _edits(self, number: int) -> list[Frames]:
        return [one.edits[number] for one in self._drawn]

    def _matte(self, edit: int, start: int, stop: int) -> AnyLabels:
        """Read how much of an edit, by its number, is shown in all places."""
        _, shares = self._over(self._edits(edit), self._source, start, stop)
        return np.rint(255 * shares).astype(np.uint8)

    def _alone(
        self,
        pictures: Sequence[Frames | None],
        below: Read,
        differs: bool = False,
    ) -> Frames | None:
        """Return frames that edits may have without the fade, over others; None if none
        has.

        Where several show the same place, it is mixed as they show it.
        """
        shown = [frames for frames in pictures if frames is not None]
        if not shown:
            return None
        if self._drawn[0].placed.fills(self._request):
            return shown[0]  # nothing is beside it
        put = partial(self._over, shown, below, differs=differs, whole=True)
        return self._lazy(lambda start, stop: put(start, stop)[0], 3)

    def _over(
        self,
        pictures: Sequence[Frames],
        below: Read,
        start: int,
        stop: int,
        differs: bool = True,
        whole: bool = False,
    ) -> tuple[Frames, Float[np.ndarray, "frames h w"]]:
        """Put what was drawn over frames start to stop - 1; return them, and how much
        of all edits they show.

        With `differs`, pictures are edits, shown where they differ from the source.
        With `whole`, boxes show nothing of what is below.
        """
        request = self._request
        inside = request.edited_inside.read(start, stop)
        fades = request.opacity
        opacities = None if fades is None else fades.read(start, stop)
        source = self._source(start, stop)
        frames = below(start, stop).copy()
        shares = np.zeros(frames.shape[:3], np.float32)
        for one, size, shown in zip(self._drawn, self._sizes, pictures, strict=True):
            placed = one.placed
            if placed.region is None:
                masks = request.edited_mask.read(start, stop)
            else:
                masks = request.areas.read(start, stop) == placed.region.label
            own = masks & inside
            for place, part in placed.parts(shown, start, stop):
                opacity = None if opacities is None else opacities[place]
                alpha = matte(masks[place], placed.params.feather, opacity)
                if differs:
                    alpha = differing(alpha, own[place], part, source[place], size)
                both = alpha + (1 - alpha) * shares[place]
                if whole:
                    ones = np.ones_like(both)
                    alpha = np.divide(alpha, both, out=ones, where=both > 0)
                frames[place] = over(frames[place], part, alpha)
                shares[place] = both
        return frames, shares

    def _attention(self) -> Heat:
        """Return the attention of all edits in place; to a region that of its own
        edit."""
        size = self._request.clip.size
        every: dict[str, RegionAttention] = {}
        for one in self._drawn:
            own = one.placed.region.name if one.placed.region else ""
            for name, maps in one.attention.items():
                if name == own or name not in every:
                    every[name] = _attention_in_place(maps, one.placed.boxes, size)
        return every

    def _black(self, start: int, stop: int) -> Frames:
        width, height = self._request.clip.size
        return np.zeros((stop - start, height, width, 3), np.uint8)

    def _lazy(self, read: Read, *channels: int) -> LazyFrames:
        """Return frames of the clip's size, as many as every edit has drawn."""
        count = min(len(one.edits[0]) for one in self._drawn)
        width, height = self._request.clip.size
        return LazyFrames((count, height, width, *channels), np.uint8, read)


def _attention_in_place(
    maps: RegionAttention, boxes: Boxes, size: Size
) -> RegionAttention:
    before = place_maps(maps.before, boxes, size)
    after = place_maps(maps.after, boxes, size)
    parts = {
        name: _attention_in_place(part, boxes, size)
        for name, part in maps.parts.items()
    }
    return RegionAttention(before, after, parts)


def _in_place(
    maps: Mapping[Key, np.ndarray], boxes: Boxes, size: Size
) -> dict[Key, np.ndarray]:
    return {name: place_maps(one, boxes, size) for name, one in maps.items()}


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
    cells = np.array([columns, rows])
    smallest = boxes[:, 2:].min(0)
    wide, high = np.ceil(size * cells / smallest).astype(int).tolist()
    per_pixel = np.array([wide, high]) / size
    placed = np.zeros((len(maps), high, wide), np.float32)
    for number, (one, box) in enumerate(zip(maps, boxes, strict=True)):
        # From places in the map of a box to those in the map of the frame, counted in
        # cells, of which the middle of the first is 0.
        corner = box[:2]
        sides = box[2:]
        factors = sides / cells * per_pixel
        shifts = corner * per_pixel + (factors - 1) / 2
        change = np.column_stack([np.diag(factors), shifts])
        picture = one.astype(np.float32)
        placed[number] = cv2.warpAffine(picture, change, (wide, high))
    if maps.dtype == bool:
        return placed > 0.5
    return placed.astype(maps.dtype)
