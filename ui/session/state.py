"""Regions and their masks as one frozen value: a change makes another, and undo brings one back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from regrain.editing.errors import RequestError
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.request.region import MAX_SCALE, TEXTS, Region, default_color
from regrain.masks.draw import pack, unpack
from regrain.masks.track.corrections import Pass, plan
from regrain.ui.session.layers import CLICKS, Key, Mask, MaskLayer, mask_on

MAX_REGIONS, MAX_NAME, MAX_UNDO = 8, 40, 50
MOST_TEXT = 20_000  # characters that are kept of what was typed, too long or not
MAX_MARGIN = 200  # pixels, on a card
REST = "Rest of the frame"


@dataclass(frozen=True, eq=False)
class State:
    """All that undo brings back."""

    shape: tuple[int, int, int]  # frames, height and width of the clip
    layers: Mapping[int, MaskLayer] = field(default_factory=dict)  # masks by label
    # By label, in order: the earlier covers the later
    regions: Mapping[int, Region] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the clip in pixels."""
        return self.shape[2], self.shape[1]

    @property
    def rest(self) -> int | None:
        """The label of the region of all that no other covers; None without one."""
        return next((label for label, layer in self.layers.items() if layer.rest), None)

    # Regions

    def new_region(self, name: str = "") -> Region:
        """A region that no other is like, called `name` where that is free.

        Raises:
            RequestError: There are as many as allowed.
        """
        if len(self.regions) >= MAX_REGIONS:
            raise RequestError(
                "regions", f"At most {MAX_REGIONS} are allowed here. Delete one first."
            )
        label = next(n for n in range(1, 256) if n not in self.regions)
        names = {region.name.casefold() for region in self.regions.values()}
        numbered = (f"{name or 'Region'} {i}" for i in range(label, 300))
        name = next(n for n in (*([name] if name else []), *numbered) if n.casefold() not in names)
        used = {region.color for region in self.regions.values()}
        colors = [default_color(n) for n in range(label, label + MAX_REGIONS)]
        color = next((color for color in colors if color not in used), colors[0])
        region = Region(name, label, color=color)
        return replace(region, margin=region.effective_margin(self.size))

    def insert(self, region: Region, layer: MaskLayer, place: int = 0) -> State:
        """With one more region, at a place from the top."""
        regions = list(self.regions.items())
        regions.insert(place, (region.label, region))
        return replace(self, layers={**self.layers, region.label: layer}, regions=dict(regions))

    def delete(self, label: int) -> State:
        """Without a region and its masks."""
        drop = lambda mapping: {key: value for key, value in mapping.items() if key != label}  # noqa: E731
        return replace(self, layers=drop(self.layers), regions=drop(self.regions))

    def change_region(self, label: int, **values: Any) -> State:
        """With other values of a region; raises as `layer` does."""
        self.layer(label)
        return replace(
            self, regions={**self.regions, label: replace(self.regions[label], **values)}
        )

    def describe(self, entries: object) -> State:
        """With words, colours and order from the cards; masks and the set of regions stay."""
        described = {}
        for entry in entries if isinstance(entries, list) else ():
            region = self.regions.get(entry.get("label", 0)) if isinstance(entry, dict) else None
            if region:
                described[region.label] = _described(region, entry)
        others = {label: region for label, region in self.regions.items() if label not in described}
        return replace(self, regions=described | others)

    def keep_words(self, since: State) -> State:
        """With what was typed and the order in a later state, which outlive an undo."""
        kept = {
            label: replace(
                region, feather=self.regions[label].feather, picture=self.regions[label].picture
            )
            for label, region in since.regions.items()
            if label in self.regions
        }
        order = [*kept]
        for place, label in enumerate(self.regions):
            if label not in kept:  # it comes back to where it was
                order.insert(min(place, len(order)), label)
        return replace(
            self, regions={label: kept.get(label, self.regions[label]) for label in order}
        )

    # Masks

    def layer(self, label: int) -> MaskLayer:
        """The masks of a region; a RequestError if there is no such region."""
        if label not in self.layers:
            raise RequestError(
                "region", f"Number {label} does not exist. Choose another or add one."
            )
        return self.layers[label]

    def mask(self, label: int, frame: int) -> Mask:
        """Where a region is on a frame, bool [height, width]; see `mask_on`."""
        return mask_on(self.layers[label], frame, self.size)

    def masks(self, label: int) -> LazyFrames:
        """A region's masks, bool [frames, height, width], read by window; also of the rest of the frame."""
        rest = self.layers[label].rest
        layers = (
            [one for one in self.layers.values() if not one.rest] if rest else [self.layers[label]]
        )

        def read(start: int, stop: int) -> np.ndarray:
            masks = np.empty((stop - start, *self.shape[1:]), bool)
            for frame, mask in enumerate(masks, start):
                mask[:] = np.any([mask_on(layer, frame, self.size) for layer in layers], axis=0)
            return ~masks if rest else masks

        return LazyFrames(self.shape, bool, read)

    def with_layer(self, label: int, layer: MaskLayer) -> State:
        """With other masks of a region; raises as `layer` does."""
        self.layer(label)
        return replace(self, layers={**self.layers, label: layer})

    def changed_since(self, before: State) -> list[int]:
        """Frames on which a mask, or how sure it is, may differ."""
        empty, labels = MaskLayer(), {*before.layers, *self.layers}
        pairs = [(before.layers.get(n, empty), self.layers.get(n, empty)) for n in labels]
        pairs = [(old, new) for old, new in pairs if old is not new]
        return [
            frame
            for frame in range(self.shape[0])
            if any(old.differs(new, frame) for old, new in pairs)
        ]

    def on_frames(self, places: Mapping[int, int], count: int) -> State:
        """The same regions on `count` other frames; masks of those that stay go to their `places`."""
        layers = {label: _on_frames(layer, places, count) for label, layer in self.layers.items()}
        return replace(self, shape=(count, *self.shape[1:]), layers=layers)

    # Tracking

    def to_track(self, only_untracked: bool = False) -> list[int]:
        """Labels of regions that were drawn by hand and not followed since (or never to the end)."""
        return [
            label
            for label, layer in self.layers.items()
            if layer.drawn
            and (not layer.track or layer.partial if only_untracked else not layer.fresh)
        ]

    def begin_track(self, labels: Collection[int]) -> tuple[State, list[Pass]]:
        """What is to be tracked of these regions: what corrections change, or else all of a region.

        Returns:
            The state from which on undo brings their old tracks back, and the passes of the tracker.
        """
        layers, keys, corrected = dict(self.layers), {}, {}
        for label in self.regions:
            layer = layers[label]
            drawn = {frame: self.mask(label, frame) for frame in layer.drawn}
            for frame, mask in drawn.items():
                keys.setdefault(frame, {})[label] = mask
            if label in labels:
                corrected[label] = (
                    layer.drawn if layer.fresh or not layer.track else layer.corrected
                )
                layers[label] = _to_be_tracked(layer, drawn, frozenset(corrected[label]), self.size)

        def known(frame: int) -> dict[int, Mask]:
            return {label: mask_on(self.layers[label], frame, self.size) for label in self.regions}

        return replace(self, layers=layers), plan(keys, corrected, known, self.shape[0])

    def end_track(self, labels: Collection[int], finished: bool) -> State:
        """The tracker has seen all its frames, or was stopped before."""
        layers = dict(self.layers)
        for label in layers.keys() & set(labels):
            layer = layers[label]
            change = (
                {"partial": False} if finished else {"corrected": layer.corrected | layer.followed}
            )
            layers[label] = replace(layer, followed=frozenset(), **change)
        return replace(self, layers=layers)

    def tracked(self, label: int, frame: int, mask: Mask, confidence: float) -> State:
        """With one frame from the tracker; key frames stay as they were drawn."""
        layer = self.layers.get(label)
        if layer is None or frame in layer.drawn:
            return self
        track, score = {**layer.track, frame: pack(mask)}, {**layer.score, frame: float(confidence)}
        return self.with_layer(label, replace(layer, track=track, score=score))


@dataclass(frozen=True, eq=False)
class Undo:
    """States before and after the present one, the nearest last."""

    past: tuple[State, ...] = ()
    future: tuple[State, ...] = ()
    cut: bool = False  # whether there were more before

    def step(self, now: State) -> Undo:
        """After one more operation on `now`; what was taken back can no longer be done again."""
        past = (*self.past, now)
        return Undo(past[-MAX_UNDO:], cut=self.cut or len(past) > MAX_UNDO)

    def back(self, now: State) -> tuple[Undo, State]:
        """One operation taken back."""
        return Undo(self.past[:-1], (*self.future, now), self.cut), self.past[-1]

    def on_frames(self, places: Mapping[int, int], count: int) -> Undo:
        """All of them on other frames; see `State.on_frames`."""
        past, future = (
            tuple(one.on_frames(places, count) for one in each) for each in (self.past, self.future)
        )
        return Undo(past, future, self.cut)

    def forth(self, now: State) -> tuple[Undo, State]:
        """One that was taken back done again."""
        return Undo((*self.past, now), self.future[:-1], self.cut), self.future[-1]


def _on_frames(layer: MaskLayer, places: Mapping[int, int], count: int) -> MaskLayer:
    """A layer on other frames; where some of them lack a mask, it is to be followed again."""
    parts = {
        name: {
            places[frame]: value for frame, value in getattr(layer, name).items() if frame in places
        }
        for name in ("keys", "track", "score")
    }
    corrected = frozenset(places[frame] for frame in layer.corrected if frame in places)
    moved = replace(layer, **parts, corrected=corrected, followed=frozenset())
    if layer.rest or len({*moved.keys, *moved.track}) == count:
        return moved
    if moved.track and not moved.drawn:  # somewhere to follow it from
        first = min(moved.track)
        moved = replace(moved, keys={first: Key(found=moved.track[first], by=CLICKS)})
    return replace(moved, corrected=frozenset(moved.drawn), partial=True)


def _to_be_tracked(
    layer: MaskLayer, drawn: Mapping[int, Mask], followed: frozenset[int], size: tuple[int, int]
) -> MaskLayer:
    """A layer whose drawn frames are part of its track from now on."""
    # Work by hand lies over the track, which is about to hold its outcome: what it lay over is kept.
    keys = {
        frame: replace(key, found=pack(unpack(layer.track.get(frame), size)))
        if frame in drawn and key.found is None
        else key
        for frame, key in layer.keys.items()
    }
    track = {**layer.track, **{frame: pack(mask) for frame, mask in drawn.items()}}
    score = {**layer.score, **dict.fromkeys(drawn, 1.0)}
    change = {"corrected": frozenset(), "followed": followed, "partial": True}
    return replace(layer, keys=keys, track=track, score=score, **change)


def _described(region: Region, entry: Mapping[str, Any]) -> Region:
    given = {key: value[:MOST_TEXT] for key in TEXTS if isinstance(value := entry.get(key), str)}
    name, color = (
        str(entry.get("name", region.name))[:MAX_NAME].strip(),
        str(entry.get("color", "")),
    )
    if re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        given["color"] = color
    margin, strength, scale = (entry.get(key) for key in ("margin", "strength", "picture_scale"))
    if isinstance(margin, int) and 0 <= margin <= MAX_MARGIN:
        given["margin"] = margin
    if isinstance(strength, int | float) and 0 <= strength <= 1:
        given["strength"] = float(strength)
    if isinstance(scale, int | float) and 0 <= scale <= MAX_SCALE:
        given["picture_scale"] = float(scale)
    return replace(region, name=name or f"Region {region.label}", **given)
