"""Regions and their masks as one frozen value: a change makes another, and undo brings
one back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import LazyFrames, Size
from regrain.editing.media.mask_pictures import default_color
from regrain.editing.request.region import MAX_SCALE, TEXTS, Region
from regrain.masks.draw import pack, unpack
from regrain.masks.track.corrections import Pass, plan
from regrain.ui.values.layers import CLICKS, Key, Mask, MaskLayer, Place, mask_on
from regrain.ui.values.plates import Carrier

T = TypeVar("T")
Places = Mapping[int, int]
"""Frames that stay, and the frames that they become."""
Shape = tuple[int, int, int]
"""Frames, height and width."""
MAX_REGIONS, MAX_NAME, MAX_UNDO = 8, 40, 50
MOST_TEXT = 20_000  # characters that are kept of what was typed, too long or not
MAX_MARGIN = 200  # pixels, on a card
REST = "Rest of the frame"


@dataclass(frozen=True, eq=False)
class State:
    """Everything that undo brings back."""

    shape: Shape  # frames, height and width of what is shown
    layers: Mapping[int, MaskLayer] = field(default_factory=dict)  # masks by label
    # By label, in order: the earlier covers the later
    regions: Mapping[int, Region] = field(default_factory=dict)

    @property
    def size(self) -> Size:
        """(width, height) of the clip in pixels."""
        return self.shape[2], self.shape[1]

    @property
    def rest(self) -> int | None:
        """The label of the region of all that no other covers; None without one."""
        rest = (label for label, layer in self.layers.items() if layer.rest)
        return next(rest, None)

    # Regions

    def new_region(self, name: str = "") -> Region:
        """Make a region with a label, name and colour of its own, called `name` where
        that is free.

        Raises:
            RequestError: There are as many as allowed.
        """
        if len(self.regions) >= MAX_REGIONS:
            raise RequestError(
                "regions",
                f"At most {MAX_REGIONS} are allowed here: each costs memory and time. Delete one.",
            )
        label = next(number for number in range(1, 256) if number not in self.regions)
        used = {region.name.casefold() for region in self.regions.values()}
        numbers = range(label, label + MAX_REGIONS)
        names = [f"{name or 'Region'} {number}" for number in numbers]
        if name:
            names.insert(0, name)
        free = next(one for one in names if one.casefold() not in used)
        used = {region.color for region in self.regions.values()}
        colors = map(default_color, numbers)
        return Region(
            free,
            label,
            color=next(one for one in colors if one not in used),
        )

    def insert(self, region: Region, layer: MaskLayer) -> State:
        """Return the state with one more region, which takes no pixel of those that are
        there: it lies below them, and above the rest of the frame."""
        regions = list(self.regions.items())
        last = len(regions) - (self.rest is not None)
        regions.insert(last, (region.label, region))
        layers = {**self.layers, region.label: layer}
        return replace(self, layers=layers, regions=dict(regions))

    def raised(self, label: int, frame: int, at: Place) -> State:
        """Return the state with a region above the one that covers it at a place,
        (x, y) in pixels: who clicks there means to take it."""
        column, row = map(int, at)
        order = list(self.regions)
        for other in order[: order.index(label)]:
            if self.mask(other, frame)[row, column]:
                order.remove(label)
                order.insert(order.index(other), label)
                break
        return replace(self, regions={one: self.regions[one] for one in order})

    def delete(self, label: int) -> State:
        """Return the state without a region and its masks."""
        layers = dict(self.layers)
        layers.pop(label, None)
        regions = dict(self.regions)
        regions.pop(label, None)
        return replace(self, layers=layers, regions=regions)

    def change_region(self, label: int, **values: object) -> State:
        """Return the state with other values of a region; raises as `layer` does."""
        self.layer(label)
        changed = replace(self.regions[label], **values)
        return replace(self, regions={**self.regions, label: changed})

    def describe(self, entries: object) -> State:
        """Return the state with words, colours and order from the cards, and the same
        masks and regions."""
        described = {}
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, dict):
                continue
            label = entry.get("label")
            region = self.regions.get(label) if isinstance(label, int) else None
            if region:
                described[region.label] = _described(region, entry, self.size)
        others = {
            label: region
            for label, region in self.regions.items()
            if label not in described
        }
        return replace(self, regions=described | others)

    def keep_words(self, since: State) -> State:
        """Return the state with the words and the order of a later one, which outlive
        an undo.

        Of a region that both have, feather and picture alone are undone.
        """
        regions = []
        for label, later in since.regions.items():
            region = self.regions.get(label)
            if region:
                regions.append(
                    replace(later, feather=region.feather, picture=region.picture)
                )
        for place, (label, region) in enumerate(self.regions.items()):
            if label not in since.regions:  # it comes back to where it was
                regions.insert(place, region)
        return replace(self, regions={region.label: region for region in regions})

    # Masks

    def layer(self, label: int) -> MaskLayer:
        """Return the masks of a region; a RequestError if there is no such region."""
        if label not in self.layers:
            raise RequestError(
                "region", f"Region {label} does not exist. Choose another or add one."
            )
        return self.layers[label]

    def mask(self, label: int, frame: int) -> Mask:
        """Return a region's mask on a frame, bool [height, width]; see `mask_on`."""
        return mask_on(self.layers[label], frame, self.size)

    def masks(self, label: int, carrier: Carrier | None = None) -> LazyFrames:
        """Return a region's masks, bool [frames, height, width], read by window.

        The mask of the rest of the frame is where no other region has one. `carrier`
        carries them up to a larger clip.
        """
        width, height = self.size
        mask_of = partial(mask_on, size=self.size)
        if carrier:
            width, height = carrier.size
            mask_of = carrier.mask
        rest = self.layers[label].rest
        layers = [self.layers[label]]
        if rest:
            layers = [layer for layer in self.layers.values() if not layer.rest]

        def read(start: int, stop: int) -> np.ndarray:
            masks = np.empty((stop - start, height, width), bool)
            for frame, mask in enumerate(masks, start):
                found = [mask_of(layer, frame) for layer in layers]
                mask[:] = np.any(found, axis=0)
            return ~masks if rest else masks

        return LazyFrames((self.shape[0], height, width), bool, read)

    def with_layer(self, label: int, layer: MaskLayer) -> State:
        """Return the state with other masks of a region; raises as `layer` does."""
        self.layer(label)
        return replace(self, layers={**self.layers, label: layer})

    def changed_since(self, before: State) -> list[int]:
        """List the frames on which a mask, or how sure it is, may differ."""
        empty = MaskLayer()
        changed = [
            (before.layers.get(label, empty), self.layers.get(label, empty))
            for label in {*before.layers, *self.layers}
        ]
        return [
            frame
            for frame in range(self.shape[0])
            if any(old.differs(new, frame) for old, new in changed)
        ]

    def on_frames(self, places: Places, count: int) -> State:
        """Return the regions on `count` other frames; masks of those that stay go to
        their `places`."""
        layers = {
            label: _on_frames(layer, places, count)
            for label, layer in self.layers.items()
        }
        return replace(self, shape=(count, *self.shape[1:]), layers=layers)

    # Tracking

    def to_track(self, only_untracked: bool = False) -> list[int]:
        """List the labels of regions that were drawn by hand and not followed since.

        With `only_untracked`, of those that were never followed to the end.
        """
        labels = []
        for label, layer in self.layers.items():
            unfinished = not layer.track or layer.partial
            wanted = unfinished if only_untracked else not layer.fresh
            if layer.drawn and wanted:
                labels.append(label)
        return labels

    def begin_track(self, labels: Collection[int]) -> tuple[State, list[Pass]]:
        """Begin to track these regions: what corrections change, or else all of a
        region.

        Returns:
            The state from which on undo brings their old tracks back, and the passes of
            the tracker.
        """

        def masks_on(frame: int) -> dict[int, Mask]:
            return {label: self.mask(label, frame) for label in self.regions}

        keys: dict[int, dict[int, Mask]] = {}
        layers = dict(self.layers)
        corrected = {}
        for label in self.regions:
            layer = self.layers[label]
            for frame in layer.drawn:
                keys.setdefault(frame, {})[label] = self.mask(label, frame)
            if label in labels:
                corrected[label] = layer.to_follow
                layers[label] = _to_be_tracked(layer, self.size)
        passes = plan(keys, corrected, masks_on, self.shape[0])
        return replace(self, layers=layers), passes

    def end_track(self, labels: Collection[int], finished: bool) -> State:
        """Return the state after tracking; unless it `finished`, its corrections are to
        be tracked again."""
        layers = dict(self.layers)
        for label in layers.keys() & set(labels):
            layer = layers[label]
            if finished:
                layer = replace(layer, partial=False)
            else:
                layer = replace(layer, corrected=layer.corrected | layer.followed)
            layers[label] = replace(layer, followed=frozenset())
        return replace(self, layers=layers)

    def tracked(self, label: int, frame: int, mask: Mask, confidence: float) -> State:
        """Return the state with one frame from the tracker; key frames stay as they
        were drawn."""
        layer = self.layers.get(label)
        if layer is None or frame in layer.drawn:
            return self
        track = {**layer.track, frame: pack(mask)}
        score = {**layer.score, frame: float(confidence)}
        return self.with_layer(label, replace(layer, track=track, score=score))


@dataclass(frozen=True, eq=False)
class Undo:
    """States before and after the present one, the nearest last."""

    past: tuple[State, ...] = ()
    future: tuple[State, ...] = ()
    cut: bool = False  # whether there were more before

    def step(self, now: State) -> Undo:
        """Return this after one more operation on `now`; what was taken back cannot be
        done again."""
        past = (*self.past, now)
        return Undo(past[-MAX_UNDO:], cut=self.cut or len(past) > MAX_UNDO)

    def back(self, now: State) -> tuple[Undo, State]:
        """Take one operation back."""
        return Undo(self.past[:-1], (*self.future, now), self.cut), self.past[-1]

    def forth(self, now: State) -> tuple[Undo, State]:
        """Do again the operation that was taken back last."""
        return Undo((*self.past, now), self.future[:-1], self.cut), self.future[-1]

    def on_frames(self, places: Places, count: int) -> Undo:
        """Return this with all states on other frames; see `State.on_frames`."""
        return Undo(
            tuple(state.on_frames(places, count) for state in self.past),
            tuple(state.on_frames(places, count) for state in self.future),
            self.cut,
        )


def _on_frames(layer: MaskLayer, places: Places, count: int) -> MaskLayer:
    """Move a layer to other frames; where some of them lack a mask, it is to be
    followed again."""

    def moved_of(values: Mapping[int, T]) -> dict[int, T]:
        return {
            places[frame]: value for frame, value in values.items() if frame in places
        }

    moved = replace(
        layer,
        keys=moved_of(layer.keys),
        track=moved_of(layer.track),
        score=moved_of(layer.score),
        corrected=frozenset(
            places[frame] for frame in layer.corrected if frame in places
        ),
        followed=frozenset(),
    )
    complete = len({*moved.keys, *moved.track}) == count
    if layer.rest or complete:
        return moved
    if moved.track and not moved.drawn:  # somewhere to follow it from
        first = min(moved.track)
        moved = replace(moved, keys={first: Key(found=moved.track[first], by=CLICKS)})
    return replace(moved, corrected=frozenset(moved.drawn), partial=True)


def _to_be_tracked(layer: MaskLayer, size: Size) -> MaskLayer:
    """Make the masks of a layer's drawn frames part of its track, from where they are
    to be followed."""
    keys = dict(layer.keys)
    track = dict(layer.track)
    for frame in layer.drawn:
        key = keys[frame]
        if key.found is None:
            # Work by hand lies over the track, which is about to hold its outcome: keep
            # what it lay over.
            below = unpack(layer.track.get(frame), size)
            keys[frame] = replace(key, found=pack(below))
        track[frame] = pack(mask_on(layer, frame, size))
    return replace(
        layer,
        keys=keys,
        track=track,
        score={**layer.score, **dict.fromkeys(layer.drawn, 1.0)},
        corrected=frozenset(),
        followed=frozenset(layer.to_follow),
        partial=True,
    )


def _described(region: Region, entry: Mapping[str, object], size: Size) -> Region:
    """Return a region with those values of a card that are allowed, in a clip of (width,
    height).

    A card shows a number for a margin that is chosen automatically. The margin stays so
    while the card says the same number.
    """
    given: dict[str, object] = {}
    for key in TEXTS:
        text = entry.get(key)
        if isinstance(text, str):
            given[key] = text[:MOST_TEXT]
    color = str(entry.get("color", ""))
    if re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        given["color"] = color
    margin = entry.get("margin")
    is_allowed = isinstance(margin, int) and 0 <= margin <= MAX_MARGIN
    if is_allowed and margin != region.effective_margin(size):
        given["margin"] = margin
    for key, most in (("strength", 1), ("picture_scale", MAX_SCALE)):
        value = entry.get(key)
        if isinstance(value, int | float) and 0 <= value <= most:
            given[key] = float(value)
    name = str(entry.get("name", region.name))[:MAX_NAME].strip()
    return replace(region, name=name or f"Region {region.label}", **given)
