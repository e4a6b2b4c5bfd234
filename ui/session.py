"""What one open page works on, kept by the server: clip, regions, key frames, masks, undo log. NumPy only."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from editing.errors import RequestError
from editing.labels import read_regions
from editing.prompts import Composed, compose
from editing.request import MAX_PROMPTS, EditRequest, Region, default_color
from masks.draw import BrushStroke as Hint
from ui.clips import Opened
from ui.layers import FINDERS, Key, Layer, Mask, State, Stroke, brushed, encode_runs, pack, unpack
from ui.methods import uses

MAX_REGIONS, MAX_TEXT, MAX_NAME = 8, 200, 40
MAX_UNDO, MAX_POINTS, MAX_PATH = 50, 64, 4000
ROOM, MAX_ROOM = 1 / 16, 200  # of a new region, in shares of the shorter side; what a card allows, in pixels
Segment = Callable[..., Mask]


class Gone(RequestError):
    """The page shows what the server no longer has."""

    def __init__(self) -> None:
        super().__init__("page", "This page was left alone for too long and its masks are gone; reload it.")


class Past(RequestError):
    """The event was for a clip that the page has left; nothing is to be said about it."""

    def __init__(self) -> None:
        super().__init__("page", "")


class Session:
    """One page's work; every method that changes it is to be called while `lock` is held.

    Args:
        opened: What is shown first.
        finder: Who finds masks of points where nobody else is chosen; one of `FINDERS`.
    """

    def __init__(self, opened: Opened, finder: str = "sam") -> None:
        self.lock, self.stop, self.finder = threading.RLock(), threading.Event(), finder
        self.used = 0.0  # when its last event came
        self.left: object = None  # set by `Sessions` when the page has gone
        self.saved: Path | None = None
        self._past: set[object] = set()
        self.open(opened, "")

    def open(self, opened: Opened, identity: str) -> None:
        """Begin anew on a clip; masks and words are its project's, if it has any."""
        self.stop.set()
        self._past.add(getattr(self, "id", None))
        self.opened, self.id, self.rev, self.tracking = opened, identity, 0, 0
        request = opened.request
        layers, count = {}, len(opened.frames)
        whole = read_regions(opened.masks, count, request.clip.size) if opened.masks else {}
        labels = None if request.labels is None else np.asarray(request.labels)
        for region in request.regions if labels is not None else ():
            inside = whole.get(region.label, labels == region.label)
            track = {f: pack(mask) for f, mask in enumerate(inside) if mask.any()}
            keys = {f: Key(found=track[f]) for f in region.drawn if f in track}
            layers[region.label] = Layer(keys, track, dict.fromkeys(track, 1.0))
        self.state = State(layers, {region.label: region for region in request.regions})
        self.source_prompt, self.method = request.source_prompt, request.method
        self.prompt = "\n".join((request.prompt, *request.more_prompts))
        self.changed = dict.fromkeys(range(len(opened.frames)), 0)
        self.acknowledged: deque[int] = deque(maxlen=32)
        self._undo: deque[State] = deque(maxlen=MAX_UNDO)
        self._redo: deque[State] = deque(maxlen=MAX_UNDO)
        self._runs: dict[tuple[int, int], tuple[Key | None, bytes | None, str]] = {}

    def check(self, identity: object, have: object) -> None:
        """Refuse a page that shows another clip or a later state than this.

        Raises:
            Gone: It does.
            Past: It is a clip that was left a moment ago.
        """
        if identity != self.id and identity in self._past:
            raise Past
        if identity != self.id or not isinstance(have, int) or have > self.rev:
            raise Gone

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the clip."""
        return self.opened.request.clip.size

    @property
    def can(self) -> dict[str, bool]:
        """Whether there is something to undo and to redo."""
        return {"undo": bool(self._undo), "redo": bool(self._redo)}

    # Regions

    def add_region(self) -> int:
        """Make an empty region on top of the others; its label.

        Raises:
            RequestError: There are as many as allowed.
        """
        region = self._new_region(self.state.regions)
        regions = {region.label: region, **self.state.regions}
        self._commit(State({**self.state.layers, region.label: Layer()}, regions))
        return region.label

    def _new_region(self, known: Mapping[int, Region], name: str = "") -> Region:
        """A region that no other is like, called `name` where that is free."""
        if len(known) >= MAX_REGIONS:
            raise RequestError("regions", f"{MAX_REGIONS} regions are allowed here; delete one first")
        label = next(n for n in range(1, 256) if n not in known)
        names = {region.name.casefold() for region in known.values()}
        numbered = (f"{name or 'Region'} {i}" for i in range(label, 300))
        name = next(n for n in (*([name] if name else []), *numbered) if n.casefold() not in names)
        used = {region.color for region in known.values()}
        colors = [default_color(n) for n in range(label, label + MAX_REGIONS)]
        color = next((color for color in colors if color not in used), colors[0])
        # In the drawn world things are told by their outline: a rabbit's ears need room.
        margin = round(ROOM * min(self.size)) if self.opened.drawn else 0
        return Region(name, label, color=color, margin=margin)

    def to_discover(self, model: str) -> EditRequest:
        """The clip and its words, for whoever looks for things in it.

        Raises:
            RequestError: Nobody said what the clip shows, or there is no room for more regions.
        """
        if not self.source_prompt.strip():
            raise RequestError("The clip shows", "empty; things are found by these words; say what is there")
        if len(self.state.regions) >= MAX_REGIONS:
            raise RequestError("regions", f"{MAX_REGIONS} regions are allowed here; delete one first")
        base = self.opened.request
        return EditRequest(
            base.clip, None, (), self.source_prompt, model=model, size=base.size, method=base.method
        )

    def add_found(self, labels: np.ndarray, names: Sequence[str], fit: Sequence[float]) -> list[str]:
        """Make regions of clusters that have a name and fit it; the names. One step to undo.

        Args:
            labels: uint8 [frames, height, width], cluster i + 1 is `names[i]`. fit: Above 1 where it fits.
        """
        layers, regions, made = dict(self.state.layers), dict(self.state.regions), []
        for number, (name, how_well) in enumerate(zip(names, fit, strict=True), 1):
            if not name or how_well <= 1 or len(regions) >= MAX_REGIONS:
                continue
            region = replace(self._new_region(regions, name), source=name)
            track = {f: pack(mask) for f, mask in enumerate(labels == number) if mask.any()}
            layers[region.label] = Layer({}, track, dict.fromkeys(track, 0.8))
            regions = {region.label: region, **regions}
            made.append(region.name)
        if made:
            self._commit(State(layers, regions))
        return made

    def delete_region(self, label: int) -> None:
        """Remove a region with its masks."""
        drop = lambda mapping: {key: value for key, value in mapping.items() if key != label}  # noqa: E731
        self._commit(State(drop(self.state.layers), drop(self.state.regions)))

    def describe(self, source_prompt: object, entries: object, prompt: object = None) -> None:
        """Take words, colours and order over from the cards; masks and the set of regions stay."""
        known, described = self.state.regions, {}
        for entry in entries if isinstance(entries, list) else ():
            region = known.get(entry.get("label", 0)) if isinstance(entry, dict) else None
            if region:
                described[region.label] = _described(region, entry)
        self.state = replace(self.state, regions=described | {k: known[k] for k in known.keys() - described})
        if isinstance(source_prompt, str):
            self.source_prompt = source_prompt[: 4 * MAX_TEXT]
        if isinstance(prompt, str):
            self.prompt = prompt[: MAX_PROMPTS * MAX_TEXT]

    # Masks

    def mask(self, label: int, frame: int) -> Mask:
        """Where a region is on a frame: strokes over what the points found, or else over the track."""
        layer = self.state.layers[label]
        key = layer.keys.get(frame, Key())
        mask = self._unpack(layer.track.get(frame) if key.found is None else key.found)
        return brushed(mask, key.strokes) if key.strokes else mask

    def runs(self, label: int, frame: int) -> str:
        """The mask as lengths of runs, row by row, outside first; empty where there is none."""
        layer = self.state.layers[label]
        key, track = layer.keys.get(frame), layer.track.get(frame)
        if key is None and track is None:
            return ""
        kept = self._runs.get((label, frame))
        if kept is None or kept[0] is not key or kept[1] is not track:
            kept = self._runs[label, frame] = (key, track, encode_runs(self.mask(label, frame)))
        return kept[2]

    def point(self, label: int, frame: int, at: tuple[float, float], inside: bool, segment: Segment) -> bool:
        """Add a point and find the mask anew; whether one was found."""
        key = self._layer(label).keys.get(frame, Key())
        if len(key.points) >= MAX_POINTS:
            raise RequestError("points", f"{MAX_POINTS} on a frame are enough; use the brush")
        before = self.mask(label, frame)
        return self._segment(label, frame, replace(key, points=(*key.points, (*at, inside))), before, segment)

    def remove_point(self, label: int, frame: int, at: tuple[float, float], segment: Segment) -> bool:
        """Take a point back; the others find the mask anew."""
        key = self._layer(label).keys.get(frame, Key())
        points = tuple(point for point in key.points if point[:2] != at)
        return self._segment(label, frame, replace(key, points=points), None, segment)

    def stroke(self, label: int, frame: int, stroke: Stroke, segment: Segment) -> None:
        """Brush or erase on a frame; where colours are asked, the stroke is also a hint to them."""
        key = self._layer(label).keys.get(frame, Key())
        before, key = self.mask(label, frame), replace(key, strokes=(*key.strokes, stroke))
        if self.finder_of(label) == "sam":
            self._set_key(label, frame, key)
        else:
            self._segment(label, frame, key, before, segment)

    def finder_of(self, label: int) -> str:
        """Who finds the masks of a region."""
        return self._layer(label).by or self.finder

    def find_by(self, label: int, frame: int, finder: str, segment: Segment) -> None:
        """Let somebody else find the masks of a region, on this frame at once.

        Raises:
            RequestError: There is no such finder here.
        """
        allowed = FINDERS if self.finder == "sam" else {self.finder: ""}
        if finder not in allowed:
            raise RequestError("finder", f"{finder[:20]!r} was given; allowed: {', '.join(allowed)}")
        layer = replace(self._layer(label), by=finder)
        self._commit(replace(self.state, layers={**self.state.layers, label: layer}))
        key = layer.keys.get(frame, Key())
        if key.points or (key.strokes and finder == "grabcut"):
            self._segment(label, frame, key, None, segment)
            self._undo.pop()  # one step back undoes both

    def clear(self, label: int) -> None:
        """Take all masks of a region away."""
        self._commit(replace(self.state, layers={**self.state.layers, label: Layer()}))

    def undo(self) -> None:
        """Take the last operation back; words typed since stay."""
        if self._undo:
            self._redo.append(self.state)
            self._restore(self._undo.pop())

    def redo(self) -> None:
        """Do what was taken back again."""
        if self._redo:
            self._undo.append(self.state)
            self._restore(self._redo.pop())

    # Tracking

    def to_track(self, only_untracked: bool = False) -> list[int]:
        """Labels of regions that were drawn by hand and not followed since (or never to the end)."""
        return [
            label
            for label, layer in self.state.layers.items()
            if layer.drawn and (not layer.track or layer.partial if only_untracked else not layer.fresh)
        ]

    def begin_track(self, labels: Collection[int]) -> dict[int, dict[int, Mask]]:
        """Key frames of all regions that have any, by frame and label, the uppermost first.

        From here on undo brings the old tracks of `labels` back.
        """
        layers, keys = dict(self.state.layers), {}
        for label in self.state.regions:
            layer = layers[label]
            drawn = {frame: self.mask(label, frame) for frame in layer.drawn}
            for frame, mask in drawn.items():
                keys.setdefault(frame, {})[label] = mask
            if label in labels:
                track = {**layer.track, **{frame: pack(mask) for frame, mask in drawn.items()}}
                score = {**layer.score, **dict.fromkeys(drawn, 1.0)}
                layers[label] = replace(layer, track=track, score=score, fresh=True, partial=True)
        self._commit(replace(self.state, layers=layers))
        return keys

    def end_track(self, labels: Collection[int], finished: bool) -> None:
        """The tracker has seen all frames, or was stopped before."""
        change = {"partial": False} if finished else {"fresh": False}
        layers = {
            label: replace(layer, **change) if label in labels else layer
            for label, layer in self.state.layers.items()
        }
        self.state = replace(self.state, layers=layers)

    def set_tracked(self, label: int, frame: int, mask: Mask, confidence: float) -> None:
        """Take one frame over from the tracker; key frames stay as they were drawn."""
        layer = self.state.layers.get(label)
        if layer is None or frame in layer.drawn:
            return
        layer = replace(
            layer,
            track={**layer.track, frame: pack(mask)},
            score={**layer.score, frame: float(confidence)},
        )
        self.state = replace(self.state, layers={**self.state.layers, label: layer})
        self.mark([frame])

    # The run

    @property
    def composed(self) -> tuple[Composed, ...]:
        """The prompts a run would use, one per edit."""
        regions = () if uses(self.method).regions == "ignored" else tuple(self.state.regions.values())
        return tuple(compose(self.source_prompt, own, regions) for own in self._own_prompts(self.method))

    def request(
        self,
        params: Mapping[str, object],
        method: str,
        model: str,
        seed: object = 0,
        loras: tuple[str, ...] = (),
    ) -> EditRequest:
        """What is asked for now.

        Raises:
            RequestError: No region, a text too long, a region with words and no mask, a bad parameter.
        """
        wanted = uses(method).regions
        drawn = {label for label in self.state.layers if any(self._drawn(label))}
        regions = [r for r in self.state.regions.values() if r.label in drawn or r.prompt.strip()]
        if wanted == "ignored":
            regions = []
        if not regions and wanted == "needed":
            raise RequestError("regions", "none yet; click a thing in the frame first")
        for region in regions:
            if region.label not in drawn:
                raise RequestError(f"regions.{region.name}.mask", "it has none; click the thing or paint it")
        check_lengths(regions)
        prompt, *more = self._own_prompts(method)
        labels = np.zeros((len(self.opened.frames), *self.size[::-1]), np.uint8)
        for region in reversed(regions):
            for frame in range(len(labels)):
                labels[frame][self.mask(region.label, frame)] = region.label
        for region in regions:
            if not (labels == region.label).any():
                said = "it lies wholly under the regions above it; move it up, or erase there"
                raise RequestError(f"regions.{region.name}.mask", said)
        return replace(
            self.opened.request,
            regions=tuple(
                replace(r, prompt=r.prompt.strip(), drawn=tuple(sorted(self.state.layers[r.label].drawn)))
                for r in regions
            ),
            labels=labels if regions else None,
            source_prompt=self.source_prompt,
            prompt=prompt,
            more_prompts=tuple(more),
            method=method,
            params=dict(params),
            model=model,
            loras=loras,
            seed=seed,  # type: ignore[arg-type]  # checked there
        )

    def overlapping(self, request: EditRequest) -> dict[int, np.ndarray] | None:
        """Whole masks of a request's regions by label, bool [frames, height, width]; None: none overlap."""
        frames = range(len(self.opened.frames))
        whole = {r.label: np.stack([self.mask(r.label, f) for f in frames]) for r in request.regions}
        return whole if sum(mask.sum() for mask in whole.values()) > np.sum(request.labels != 0) else None

    def _own_prompts(self, method: str) -> tuple[str, ...]:
        """What was typed for the whole frame, a line per edit; a project's own speaks of its own words.

        An empty first line stands for the prompt composed from the regions, where there are any with words.
        """
        if uses(method).regions != "needed":
            first, *more = (line.strip() for line in self.prompt.split("\n"))
            more = [line for line in more if line]
            words = any(region.prompt.strip() for region in self.state.regions.values())
            composes = words and uses(method).regions == "taken"
            return tuple(more) if more and not (first or composes) else (first, *more)
        base = self.opened.request
        words = lambda regions: [(r.label, r.source, r.prompt.strip()) for r in regions]  # noqa: E731
        same = words(base.regions) == words(self.state.regions.values())
        return (base.prompt if same and self.source_prompt == base.source_prompt else "",)

    def _drawn(self, label: int) -> Iterable[bool]:
        layer = self.state.layers[label]
        return (bool(self.mask(label, frame).any()) for frame in {*layer.keys, *layer.track})

    def _layer(self, label: int) -> Layer:
        if label not in self.state.layers:
            raise RequestError("region", f"{label} is not there; choose one, or make a new one")
        return self.state.layers[label]

    def _segment(self, label: int, frame: int, key: Key, before: Mask | None, segment: Segment) -> bool:
        found, by = np.zeros(self.size[::-1], bool), self.finder_of(label)
        hints = [_hint(stroke) for stroke in key.strokes] if by == "grabcut" else []
        # Colours begin anew from all clicks: what they found before would bind them.
        base = before if by != "grabcut" else None
        if base is None:
            base = self._unpack(self._layer(label).track.get(frame))
        positive = any(inside for *_, inside in key.points) or any(not hint.erase for hint in hints)
        if positive or ((key.points or hints) and base.any()):
            points = np.array([point[:2] for point in key.points], np.float32).reshape(-1, 2)
            inside = np.array([int(point[2]) for point in key.points], int)
            previous = base if base.any() else None
            image = np.array(self.opened.frames[frame])
            answer = segment(image, points, inside, previous=previous, method=by, strokes=hints)
            found = np.asarray(answer, bool)
        self._set_key(label, frame, replace(key, found=pack(found) if found.any() else None, by=by))
        return bool(found.any()) or not key.points

    def _set_key(self, label: int, frame: int, key: Key) -> None:
        layer = self._layer(label)
        keys = {**layer.keys, frame: key}
        if not (key.points or key.strokes):
            del keys[frame]
        layer = replace(layer, keys=keys)
        layer = replace(layer, fresh=not layer.drawn)
        self._commit(replace(self.state, layers={**self.state.layers, label: layer}))

    def _commit(self, state: State) -> None:
        self._undo.append(self.state)
        self._redo.clear()
        self._restore(state)

    def _restore(self, state: State) -> None:
        old, now = self.state, state.regions
        # What was typed meanwhile, and the order, outlive an undo.
        kept = {label: region for label, region in old.regions.items() if label in now}
        order = [*kept]
        for place, label in enumerate(now):
            if label not in kept:  # it comes back to where it was
                order.insert(min(place, len(order)), label)
        self.state = replace(state, regions={label: kept.get(label, now[label]) for label in order})
        empty = Layer()
        pairs = [(old.layers.get(n, empty), state.layers.get(n, empty)) for n in {*old.layers, *state.layers}]
        self.mark([f for f in self.changed if any(a is not b and a.differs(b, f) for a, b in pairs)])

    def mark(self, frames: Sequence[int]) -> None:
        """Begin a new revision, in which these frames changed."""
        self.rev += 1
        self.changed.update(dict.fromkeys(frames, self.rev))

    def _unpack(self, packed: bytes | None) -> Mask:
        return unpack(packed, self.size)


def _hint(stroke: Stroke) -> Hint:
    """The stroke in the coordinates of the mask tools, which count from the centre of a pixel."""
    return Hint(tuple((x - 0.5, y - 0.5) for x, y in stroke.path), stroke.radius, stroke.erase)


def check_lengths(regions: Iterable[Region]) -> None:
    """Refuse words that are too many for any model.

    Raises:
        RequestError: Naming the region and the text.
    """
    for region in regions:
        for key in ("prompt", "source"):
            if (count := len(getattr(region, key))) > MAX_TEXT:
                said = f"{count} characters given; allowed are {MAX_TEXT}; shorten it"
                raise RequestError(f"regions.{region.name}.{key}", said)


def _described(region: Region, entry: Mapping[str, Any]) -> Region:
    text = {key: entry[key] for key in ("prompt", "source") if isinstance(entry.get(key), str)}
    name, color = str(entry.get("name", region.name))[:MAX_NAME].strip(), str(entry.get("color", ""))
    if re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        text["color"] = color
    margin = entry.get("margin")
    if isinstance(margin, int) and 0 <= margin <= MAX_ROOM:
        text["margin"] = margin
    return replace(region, name=name or f"Region {region.label}", **text)
