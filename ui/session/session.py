"""What one open page works on, kept by the server: clip, regions, masks, words, undo. NumPy only."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from regrain.editing.errors import RequestError
from regrain.editing.media.labels import Labels, mask_of, open_regions
from regrain.editing.request.region import Region, default_color
from regrain.masks.draw import pack, unpack
from regrain.masks.models.finders import usual_tracker
from regrain.masks.track.corrections import Pass, plan
from regrain.ui.server.runs import RunThread
from regrain.ui.session.adapters import AdapterList
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import History
from regrain.ui.session.layers import CLICKS, Key, Mask, MaskLayer, State, encode_runs, mask_on
from regrain.ui.session.mask_models import usual_finder

MAX_REGIONS, MAX_TEXT, MAX_NAME, MAX_UNDO = 8, 1000, 40, 50
_MOST_TEXT = 20_000  # characters that are kept of what was typed, too long or not
REST = "Rest of the frame"
_KEPT_RUNS = 512  # run lengths of masks
MAX_MARGIN = 200  # pixels, on a card


class SessionExpired(RequestError):
    """The page shows what the server no longer has."""

    def __init__(self) -> None:
        super().__init__("page", "This page was idle for too long and its masks are gone. Reload it.")


class StaleEvent(RequestError):
    """The event was for a clip that the page has left; nothing is to be said about it."""

    def __init__(self) -> None:
        super().__init__("page", "the clip has changed; try again")


class Session:
    """One page's work; every method that changes it is to be called while `lock` is held.

    Args:
        opened: What is shown first.
        fallback: Who finds masks of points where no published SAM is at hand; one of `FINDERS`.
    """

    def __init__(self, opened: ClipSession, fallback: str = "sam") -> None:
        self.lock, self.stop, self.fallback = threading.RLock(), threading.Event(), fallback
        self.used = 0.0  # when its last event came
        self.left: float | None = None  # when the page went, by the clock of `Visits`
        self.seen = 0.0  # when it last said that it is open
        self.saved: Path | None = None
        self.refused = False  # the last run did not begin, and the page still says why
        self.exported: Path | None = None
        self.id = ""
        self._past: set[str] = set()
        self.run: RunThread | None = None  # the last one on this clip
        self.shelf, self.history = AdapterList(), History()
        self.open(opened, "")

    def open(self, opened: ClipSession, identity: str) -> None:
        """Begin anew on a clip; masks and words are its project's, if it has any."""
        self.end()
        if self.id != identity:
            self._past.add(self.id)
        self.run = None
        self.fields: tuple[object, ...] = ()  # what the page's fields said last, if it told
        self.opened, self.id, self.rev, self.tracking = opened, identity, 0, 0
        self.followed: tuple[int, int, float] | None = None  # frames tracked, of how many, seconds left
        self.shown = 0  # frame that the page showed last
        self.tracker = usual_tracker(opened.drawn)
        self.found: tuple[int, ...] | None = None  # its cuts: the first frames of shots; None: not looked for
        request = opened.request
        # Cards show a number, also for a region that has no prompt yet.
        regions = (replace(region, margin=region.effective_margin(self.size)) for region in request.regions)
        self.state = State(_project_layers(opened), {region.label: region for region in regions})
        self.source_prompt, self.method = request.source_prompt, request.method
        self.negative_prompt = request.negative_prompt
        self.prompt = "\n".join((request.prompt, *request.more_prompts))
        if opened.file is None:  # a bare clip says nothing of it
            self.shelf.take_project(request.adapter)
        self.changed = dict.fromkeys(range(len(opened.frames)), 0)
        self.acknowledged: deque[int] = deque(maxlen=32)
        self._undo: deque[State] = deque(maxlen=MAX_UNDO)
        self._redo: deque[State] = deque(maxlen=MAX_UNDO)
        self._followed: dict[int, frozenset[int]] = {}  # corrections that are being tracked
        self._run_lengths: dict[tuple[int, int], tuple[Key | None, bytes | None, str]] = {}

    def end(self) -> None:
        """Stop what goes on: tracking, a run."""
        self.stop.set()
        if self.run:
            self.run.stop()

    def check(self, identity: object, have: object) -> None:
        """Refuse a page that shows another clip or a later state than this.

        Raises:
            Gone: It does.
            Past: It is a clip that was left a moment ago.
        """
        if isinstance(identity, str) and identity != self.id and identity in self._past:
            raise StaleEvent
        if identity != self.id or not isinstance(have, int) or have > self.rev:
            raise SessionExpired

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the clip in pixels."""
        return self.opened.request.clip.size

    @property
    def finder(self) -> str:
        """Who finds masks of points unless a region chooses another."""
        return usual_finder(self.opened.drawn, self.fallback)

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
        self.commit(State({**self.state.layers, region.label: MaskLayer()}, regions))
        return region.label

    def add_rest(self) -> int:
        """Make a region of all that no other covers, below the others; its label. There is one at most.

        Raises:
            RequestError: There are as many regions as allowed.
        """
        if (label := self.rest) is not None:
            return label
        region = replace(self._new_region(self.state.regions, REST), margin=0)
        layers = {**self.state.layers, region.label: MaskLayer(rest=True)}
        self.commit(State(layers, {**self.state.regions, region.label: region}))
        return region.label

    @property
    def rest(self) -> int | None:
        """The label of the region of all that no other covers; None without one."""
        return next((label for label, layer in self.state.layers.items() if layer.rest), None)

    def check_space(self, known: Collection[int]) -> None:
        """Refuse one more region.

        Raises:
            RequestError: There are as many as allowed.
        """
        if len(known) >= MAX_REGIONS:
            raise RequestError("regions", f"At most {MAX_REGIONS} are allowed here. Delete one first.")

    def _new_region(self, known: Mapping[int, Region], name: str = "") -> Region:
        """A region that no other is like, called `name` where that is free."""
        self.check_space(known)
        label = next(n for n in range(1, 256) if n not in known)
        names = {region.name.casefold() for region in known.values()}
        numbered = (f"{name or 'Region'} {i}" for i in range(label, 300))
        name = next(n for n in (*([name] if name else []), *numbered) if n.casefold() not in names)
        used = {region.color for region in known.values()}
        colors = [default_color(n) for n in range(label, label + MAX_REGIONS)]
        color = next((color for color in colors if color not in used), colors[0])
        region = Region(name, label, color=color)
        return replace(region, margin=region.effective_margin(self.size))

    def add_found(self, labels: np.ndarray, names: Sequence[str], fit: Sequence[float]) -> list[str]:
        """Make regions of clusters that have a name and fit it; the names. One step to undo.

        Args:
            labels: uint8 [frames, height, width], cluster i + 1 is `names[i]`. fit: Above 1 where it fits.
        """
        wanted = [
            (number, name)
            for number, (name, how_well) in enumerate(zip(names, fit, strict=True), 1)
            if name and how_well > 1
        ]
        kept = wanted[: max(0, MAX_REGIONS - len(self.state.regions))]
        tracks = [
            {f: pack(mask) for f, mask in enumerate(labels == number) if mask.any()} for number, _ in kept
        ]
        return self.add_masks([name for _, name in kept], tracks, [name for _, name in kept], 0.8)

    def add_masks(
        self,
        names: Sequence[str],
        tracks: Sequence[Mapping[int, bytes]],
        sources: Sequence[str],
        score: float,
    ) -> list[str]:
        """Make a region of each track, the first uppermost, above the others; one step to undo.

        Args:
            names: Wished for; empty for the usual one.
            tracks: Packed masks by frame.
            sources: What each is now; may be empty.
            score: How sure the masks are, 0..1.

        Returns:
            The names they got.

        Raises:
            RequestError: There are more than are allowed.
        """
        layers, made, known = dict(self.state.layers), {}, self.state.regions
        for name, track, source in zip(names, tracks, sources, strict=True):
            region = replace(self._new_region({**made, **known}, name[:MAX_NAME].strip()), source=source)
            layers[region.label] = MaskLayer({}, track, dict.fromkeys(track, score))
            made[region.label] = region
        if made:
            self.commit(State(layers, {**made, **known}))
        return [region.name for region in made.values()]

    def delete_region(self, label: int) -> None:
        """Remove a region with its masks."""
        drop = lambda mapping: {key: value for key, value in mapping.items() if key != label}  # noqa: E731
        self.commit(State(drop(self.state.layers), drop(self.state.regions)))

    def set_feather(self, label: int, pixels: int) -> None:
        """Fade a region's edit out over so many pixels inside its edge; one step to undo."""
        self.layer(label)
        region = replace(self.state.regions[label], feather=pixels)
        self.commit(replace(self.state, regions={**self.state.regions, label: region}))

    def describe(
        self, source_prompt: object, entries: object, prompt: object = None, negative_prompt: object = None
    ) -> None:
        """Take words, colours and order over from the cards; masks and the set of regions stay."""
        known, described = self.state.regions, {}
        for entry in entries if isinstance(entries, list) else ():
            region = known.get(entry.get("label", 0)) if isinstance(entry, dict) else None
            if region:
                described[region.label] = _described(region, entry)
        self.state = replace(self.state, regions=described | {k: known[k] for k in known.keys() - described})
        if isinstance(source_prompt, str):
            self.source_prompt = source_prompt[:_MOST_TEXT]
        if isinstance(prompt, str):
            self.prompt = prompt[:_MOST_TEXT]
        if isinstance(negative_prompt, str):
            self.negative_prompt = negative_prompt[:_MOST_TEXT]

    # Masks

    def layer(self, label: int) -> MaskLayer:
        """The masks of a region.

        Raises:
            RequestError: There is no such region.
        """
        if label not in self.state.layers:
            raise RequestError("region", f"Number {label} does not exist. Choose another or add one.")
        return self.state.layers[label]

    def mask(self, label: int, frame: int) -> Mask:
        """Where a region is on a frame, bool [height, width]: work by hand over what was found or tracked."""
        return mask_on(self.state.layers[label], frame, self.size)

    def run_lengths(self, label: int, frame: int) -> str:
        """The mask as lengths of runs, row by row, outside first; empty where there is none."""
        layer = self.state.layers[label]
        key, track = layer.keys.get(frame), layer.track.get(frame)
        if key is None and track is None:
            return ""
        kept = self._run_lengths.get((label, frame))
        if kept is None or kept[0] is not key or kept[1] is not track:
            kept = (key, track, encode_runs(self.mask(label, frame)))
        self._run_lengths.pop((label, frame), None)  # the last ones used are kept
        self._run_lengths[label, frame] = kept
        if len(self._run_lengths) > _KEPT_RUNS:
            del self._run_lengths[next(iter(self._run_lengths))]
        return kept[2]

    def masked(self, label: int, frame: int) -> bool:
        """Whether a region has a mask on a frame."""
        layer = self.state.layers[label]
        key = layer.keys.get(frame)
        if key and key.edits:
            return bool(self.run_lengths(label, frame))
        return bool(layer.track.get(frame) if key is None or key.found is None else key.found)

    def unpack(self, packed: bytes | None) -> Mask:
        """A packed mask of this clip; an empty one for None."""
        return unpack(packed, self.size)

    def set_layer(self, label: int, layer: MaskLayer) -> None:
        """Replace the masks of a region; one step to undo."""
        self.commit(replace(self.state, layers={**self.state.layers, label: layer}))

    def set_key(self, label: int, frame: int, key: Key) -> None:
        """Replace what a person did to a region on a frame; one step to undo."""
        layer = self.layer(label)
        keys = {**layer.keys, frame: key}
        if not (key.points or key.edits or key.box):
            del keys[frame]
        self.set_layer(label, replace(layer, keys=keys, corrected=layer.corrected | {frame}))

    # Undo

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

    def join_steps(self) -> None:
        """Make one undo take the last two operations back."""
        self._undo.pop()

    def commit(self, state: State) -> None:
        """Take a state over; undo brings the present one back."""
        self._undo.append(self.state)
        self._redo.clear()
        self._restore(state)

    def _restore(self, state: State) -> None:
        old, now = self.state, state.regions
        # What was typed meanwhile, and the order, outlive an undo.
        kept = {
            label: replace(region, feather=now[label].feather)
            for label, region in old.regions.items()
            if label in now
        }
        order = [*kept]
        for place, label in enumerate(now):
            if label not in kept:  # it comes back to where it was
                order.insert(min(place, len(order)), label)
        self.state = replace(state, regions={label: kept.get(label, now[label]) for label in order})
        empty = MaskLayer()
        pairs = [(old.layers.get(n, empty), state.layers.get(n, empty)) for n in {*old.layers, *state.layers}]
        self.mark([f for f in self.changed if any(a is not b and a.differs(b, f) for a, b in pairs)])

    def mark(self, frames: Sequence[int]) -> None:
        """Begin a new revision, in which these frames changed."""
        self.rev += 1
        self.changed.update(dict.fromkeys(frames, self.rev))

    # Tracking

    def to_track(self, only_untracked: bool = False) -> list[int]:
        """Labels of regions that were drawn by hand and not followed since (or never to the end)."""
        return [
            label
            for label, layer in self.state.layers.items()
            if layer.drawn and (not layer.track or layer.partial if only_untracked else not layer.fresh)
        ]

    def begin_track(self, labels: Collection[int]) -> list[Pass]:
        """What is to be tracked of these regions: what corrections change, or else all of a region.

        From here on undo brings the old tracks of `labels` back.
        """
        before, count = self.state, len(self.opened.frames)
        layers, keys, corrected = dict(before.layers), {}, {}
        for label in before.regions:
            layer = layers[label]
            drawn = {frame: self.mask(label, frame) for frame in layer.drawn}
            for frame, mask in drawn.items():
                keys.setdefault(frame, {})[label] = mask
            if label in labels:
                corrected[label] = layer.drawn if layer.fresh or not layer.track else layer.corrected
                layers[label] = _to_be_tracked(layer, drawn, self.unpack)
        self._followed = {label: frozenset(frames) for label, frames in corrected.items()}
        self.commit(replace(before, layers=layers))

        def known(frame: int) -> dict[int, Mask]:
            return {label: mask_on(before.layers[label], frame, self.size) for label in before.regions}

        return plan(keys, corrected, known, count)

    def end_track(self, labels: Collection[int], finished: bool) -> None:
        """The tracker has seen all its frames, or was stopped before."""
        layers = dict(self.state.layers)
        for label in layers.keys() & set(labels):
            again = layers[label].corrected | self._followed.get(label, frozenset())
            change = {"partial": False} if finished else {"corrected": again}
            layers[label] = replace(layers[label], **change)
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


def _project_layers(opened: ClipSession) -> dict[int, MaskLayer]:
    """The masks a project comes with, by label."""
    request = opened.request
    if request.labels is None:
        return {}
    whole = open_regions(opened.masks, len(opened.frames), request.clip.size) if opened.masks else {}
    layers = {}
    for region in request.regions:
        inside = whole.get(region.label) or mask_of(cast(Labels, request.labels), region.label)
        track = {f: pack(mask) for f, mask in enumerate(inside) if mask.any()}
        keys = {f: Key(found=track[f]) for f in region.drawn if f in track}
        keys |= {f: Key(found=track[f], by=CLICKS) for f in region.clicked if f in track}
        layers[region.label] = MaskLayer(keys, track, dict.fromkeys(track, 1.0))
    return layers


def _to_be_tracked(
    layer: MaskLayer, drawn: Mapping[int, Mask], unpack: Callable[[bytes | None], Mask]
) -> MaskLayer:
    """A layer whose drawn frames are part of its track from now on."""
    # Work by hand lies over the track, which is about to hold its outcome: what it lay over is kept.
    keys = {
        frame: replace(key, found=pack(unpack(layer.track.get(frame))))
        if frame in drawn and key.found is None
        else key
        for frame, key in layer.keys.items()
    }
    track = {**layer.track, **{frame: pack(mask) for frame, mask in drawn.items()}}
    score = {**layer.score, **dict.fromkeys(drawn, 1.0)}
    return replace(layer, keys=keys, track=track, score=score, corrected=frozenset(), partial=True)


def _described(region: Region, entry: Mapping[str, Any]) -> Region:
    texts = ((key, entry.get(key)) for key in ("prompt", "source", "negative"))
    text: dict[str, Any] = {key: value[:_MOST_TEXT] for key, value in texts if isinstance(value, str)}
    name, color = str(entry.get("name", region.name))[:MAX_NAME].strip(), str(entry.get("color", ""))
    if re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        text["color"] = color
    margin = entry.get("margin")
    if isinstance(margin, int) and 0 <= margin <= MAX_MARGIN:
        text["margin"] = margin
    strength = entry.get("strength")
    if isinstance(strength, int | float) and 0 <= strength <= 1:
        text["strength"] = float(strength)
    return replace(region, name=name or f"Region {region.label}", **text)
