"""Labels of a clip: which region each pixel is of, how they grow and fade, and what
they show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property, partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import WholeMasks
from regrain.editing.media.lazy_frames import (
    WINDOW,
    FrameSource,
    Grey,
    LabelFrames,
    LazyFrames,
    LazyLabels,
    LazyMasks,
    Mask,
    Masks,
    few,
    windows,
)

Extents = Mapping[int, Float[np.ndarray, "frames 4"]]
"""Edges of each label in each frame; see `Labels.extents`."""
ByLabel = dict[int, LazyMasks]
"""Whole masks by label."""


class Labels(LazyFrames):
    """The region of each pixel, uint8 [frames, height, width], 0 = background; read by
    window.

    Creating it reads every frame once, unless the labels that occur, without 0, are
    given as `present`. `extents_of` finds `extents` where there is a faster way than to
    read every frame. `whole` are the masks that they were made of, where those overlap.

    Raises:
        MaskError: The source is not uint8 [frames, height, width].
    """

    def __init__(
        self,
        source: np.ndarray | LazyFrames | FrameSource,
        present: Collection[int] | None = None,
        extents_of: Callable[[], Extents] | None = None,
    ) -> None:
        self._extents_of = extents_of
        self.whole: ByLabel = {}
        if isinstance(source, np.ndarray):
            view = source.view()
            view.flags.writeable = False
            read = partial(_part, view)  # unlike a lambda, can be pickled
        else:
            read = source.read
        if isinstance(source, np.ndarray | LazyFrames):
            shape = source.shape
        else:
            width, height = source.size
            shape = (len(source), height, width)
        super().__init__(shape, np.uint8, read)
        self.present = self._find_present() if present is None else frozenset(present)

    def _find_present(self) -> frozenset[int]:
        """Read every frame, check it, and return the labels that occur, without 0."""
        found = np.zeros(256, bool)
        for start, stop in windows(len(self), few(WINDOW, self.shape)):
            part = self.read(start, stop)
            shape = (stop - start, *self.shape[1:])
            if part.dtype != np.uint8 or part.shape != shape or part.ndim != 3:
                raise MaskError(
                    "masks",
                    "Expected uint8 labels [frames, height, width], got "
                    f"{part.dtype} of shape {part.shape}.",
                )
            found[part] = True
        return frozenset(np.flatnonzero(found).tolist()) - {0}

    def hidden(self, names: Mapping[int, str]) -> dict[int, str]:
        """Say by names of each label of which others cover more than half how much is
        left."""
        if not self.whole:
            return {}
        counts = np.zeros((256, 256))  # pixels of a mask that are of a label
        for frame, *masks in zip(self, *self.whole.values(), strict=True):
            for label, mask in zip(self.whole, masks, strict=True):
                counts[label] += np.bincount(frame[mask], minlength=256)
        said = {}
        for label in self.whole:
            left = counts[label, label] / max(1, counts[label].sum())
            cover = names.get(int(counts[label].argmax()))
            if left < 0.5 and cover:
                said[label] = (
                    f"Region {names.get(label)!r} is hidden by {cover!r}: {left:.0%} of "
                    "it is left. List it first."
                )
        return said

    @cached_property
    def extents(self) -> Extents:
        """Left, top, right and bottom edge of each label in each frame, in pixels; NaN
        where it is not."""
        if self._extents_of:
            return self._extents_of()
        found = {label: np.full((len(self), 4), np.nan) for label in self.present}
        for number, frame in enumerate(self):
            for label, edges in found.items():
                edges[number] = edges_of(frame == label)
        return found


def edges_of(mask: Mask) -> tuple[float, ...]:
    """Return left, top, right and bottom edge of the pixels of a mask; NaN for none."""
    import cv2  # slow to import, and seldom needed

    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    edges = (left, top, left + width, top + height)
    return tuple(float(edge) if width else np.nan for edge in edges)


def around_of(inside: Grey, reach: int) -> tuple[slice, slice]:
    """Return the rows and the columns of the pixels of a mask, and of so many around
    it."""
    import cv2  # slow to import, and seldom needed

    left, top, width, height = cv2.boundingRect(inside)
    rows = slice(max(top - reach, 0), top + height + reach)
    columns = slice(max(left - reach, 0), left + width + reach)
    return rows, columns


def _part(array: np.ndarray, start: int, stop: int) -> np.ndarray:
    return array[start:stop]


def split(labels: LabelFrames) -> dict[int, Masks]:
    """Split labels into one mask per label that occurs."""
    return {label: labels == label for label in np.unique(labels).tolist() if label}


def flatten(masks: Mapping[int, Masks]) -> LabelFrames:
    """Join masks that may overlap into labels: the earlier covers the later; MaskError
    if there is none."""
    if not masks:
        raise MaskError("masks", "No mask is given. Add at least one.")
    first = next(iter(masks.values()))
    labels = np.zeros(first.shape, np.uint8)
    for label, mask in reversed(list(masks.items())):
        labels[mask] = label
    return labels


def flattened(masks: WholeMasks) -> LazyLabels:
    """Return the labels that `flatten` makes of masks, read by window."""
    shape = next(iter(masks.values())).shape

    def read(start: int, stop: int) -> LabelFrames:
        return flatten({label: mask[start:stop] for label, mask in masks.items()})

    return LazyFrames(shape, np.uint8, read)


def understood(masks: Labels | Mapping[int, Iterable[Mask]]) -> str:
    """Say what was read as masks: "2 regions: 14 % and 3 % of the picture, on 24 and 9
    of 24 frames". Sizes are means of the frames that show the region."""
    if isinstance(masks, Labels):
        labels = sorted(masks.present)
        frames = ([frame == label for label in labels] for frame in masks)
    else:
        frames = zip(*masks.values(), strict=True)
    means = [[mask.mean() for mask in of_frame] for of_frame in frames]
    shares = np.array(means)
    shown = np.count_nonzero(shares, 0)
    total = shares.sum(0)
    sizes = 100 * total / np.maximum(shown, 1)
    said = [f"{size:.0f} %" if size >= 9.5 else f"{size:.1g} %" for size in sizes]
    counts = shown.tolist() or [0]
    if len({*counts}) == 1:
        counts = counts[:1]
    on = _listed(map(str, counts))
    many = "" if len(said) == 1 else "s"
    sizes_said = _listed(said) or "0 %"
    start = f"{len(said)} region{many}: {sizes_said} of the picture"
    return f"{start}, on {on} of {len(shares)} frames"


def _listed(words: Iterable[str]) -> str:
    return " and ".join(", ".join(words).rsplit(", ", 1))


def mask_of(labels: LazyFrames, label: int) -> LazyMasks:
    """Return the mask of a label, read by window."""
    return labels.changed(lambda some: some == label, bool)


def grow_labels(labels: LabelFrames, pixels: Mapping[int, float | int]) -> LabelFrames:
    """Grow each label by its `pixels` into the background; a pixel that several reach
    goes to the nearest."""
    if not any(pixels.values()):
        return labels
    import cv2  # slow to import, and seldom needed

    out = labels.copy()
    farthest = int(max(pixels.values())) + 1
    for whole, changed in zip(labels, out, strict=True):
        reached = around_of(whole, farthest)
        frame = whole[reached]
        grown = changed[reached]
        # distance of the nearest label so far
        nearest = np.full(frame.shape, np.inf, np.float32)
        for label, reach in pixels.items():
            own = (frame == label).view(np.uint8)
            if not reach or not own.any():
                continue
            edge = int(reach) + 1
            around = around_of(own, edge)
            distance = cv2.distanceTransform(1 - own[around], cv2.DIST_L2, 5)
            nearer = (distance <= reach) & (distance < nearest[around])
            is_free = frame[around] == 0
            grown[around][is_free & nearer] = label
            nearest[around][nearer] = distance[nearer]
    return out


def fill_labels(
    labels: LabelFrames, filled: Collection[int], reach: Literal["hull", "box"]
) -> LabelFrames:
    """Fill the convex hull of some labels, or the upright box around each, where there
    is background; a pixel that several reach goes to the smallest."""
    import cv2

    out = labels.copy()
    for frame, grown in zip(labels, out, strict=True):
        counts = np.bincount(frame.ravel(), minlength=256)
        for label in sorted(filled, key=lambda label: -counts[label]):
            if not counts[label]:
                continue
            own = (frame == label).view(np.uint8)
            area = np.zeros_like(frame)
            if reach == "hull":
                places = cv2.findNonZero(own)
                cv2.fillConvexPoly(area, cv2.convexHull(places), 1)
            else:
                area[around_of(own, 0)] = 1
            grown[(frame == 0) & (area > 0)] = label
    return out


def fade_inwards(
    labels: LabelFrames, pixels: Mapping[int, float | int], edited: Collection[int]
) -> Float32[np.ndarray, "frames height width"]:
    """Return the opacity of each pixel of `edited` labels: 1, but in those of `pixels`
    rising from 0 over so many pixels. Elsewhere it is 0.

    It rises from the edge of all `edited` labels together; the border of the frame is
    no edge.
    """
    import cv2  # slow to import, and seldom needed

    out = np.zeros(labels.shape, np.float32)  # of which no memory is taken yet
    for frame, opacity in zip(labels, out, strict=True):
        within = np.isin(frame, list(edited)).view(np.uint8)
        around = around_of(within, 1)
        opacity[around] = within[around]
        if within.all():
            continue
        depth = cv2.distanceTransform(within[around], cv2.DIST_L2, 5) - 0.5
        for label, reach in pixels.items():
            inside = frame[around] == label
            opacity[around][inside] = np.clip(depth[inside] / reach, 0, 1)
    return out
