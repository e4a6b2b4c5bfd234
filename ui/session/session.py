"""What one open page works on, kept by the server: clip, regions, masks, words, undo. NumPy only."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple, cast

from regrain.editing.errors import RequestError
from regrain.editing.media.labels import Labels, mask_of, open_regions
from regrain.masks.draw import pack
from regrain.masks.models.finders import usual_tracker
from regrain.ui.server.runs import RunThread
from regrain.ui.session.adapters import AdapterList
from regrain.ui.session.clips import ClipSession
from regrain.ui.session.history import MAX_RUNS, History
from regrain.ui.session.layers import CLICKS, Key, Mask, MaskLayer, run_lengths
from regrain.ui.session.mask_models import usual_finder
from regrain.ui.session.state import MAX_NAME, MOST_TEXT, REST, State, Undo

_OF_ALL_PARTS = ("source_prompt", "prompt", "negative_prompt", "method", "tracker", "fields")
_KEPT_RUNS = 512  # run lengths of masks


class SessionExpired(RequestError):
    """The page shows what the server no longer has."""

    def __init__(self) -> None:
        super().__init__(
            "page", "This page was idle for too long and its masks are gone. Reload it."
        )


class StaleEvent(RequestError):
    """The event was for a clip that the page has left; nothing is to be said about it."""

    def __init__(self) -> None:
        super().__init__("page", "the clip has changed; try again")


class Computed(NamedTuple):
    """What the cache has of a whole run of several windows."""

    asks: tuple[object, ...]  # what it was asked, see `Session.asks`
    layers: Mapping[int, MaskLayer]  # its masks
    left: float  # share of its frames that the cache lacks
    seconds: float  # of the same again, once it lacks none


class Session:
    """One page's work. Hold `lock` while calling what changes it.

    `fallback` is the mask model that answers clicks where no published SAM is at hand: `sam` or `cuts`.
    """

    def __init__(self, opened: ClipSession, fallback: str = "sam") -> None:
        self.lock, self.stop, self.fallback = threading.RLock(), threading.Event(), fallback
        self.refused = False  # the last run did not begin, and the page still says why
        self.saved: Path | None = None  # folders of the last project and masks that were downloaded
        self.exported: Path | None = None
        self.runs: list[RunThread] = []  # on this clip, but for those that ended before the last
        self.shelf, self.history = AdapterList(), History()
        self.id, self._past = "", set[str]()
        self.open(opened, "")

    def open(self, opened: ClipSession, identity: str) -> None:
        """Begin anew on a clip; masks and words are its project's, if it has any."""
        self.end()
        if self.id != identity:
            self._past.add(self.id)
        self.runs = []
        self.fields: tuple[object, ...] = ()  # values of the page's fields, once it has sent them
        self.opened, self.id, self.rev, self.tracking = opened, identity, 0, 0
        # Frames tracked, of how many, seconds left, and the last of them
        self.followed: tuple[int, int, float, int] | None = None
        self.tracked: tuple[int, ...] = ()  # labels that are tracked, or were last
        self.trouble: Exception | None = None  # what ended that early
        self.shown = 0  # frame that the page showed last
        self.tracker = usual_tracker(opened.drawn)
        self.computed: list[Computed] = []  # the last first
        self.found: tuple[int, ...] | None = (
            None  # its cuts: the first frames of shots; None: not looked for
        )
        request = opened.request
        self.state, self._undo = _project_state(opened), Undo()
        self.source_prompt, self.method = request.source_prompt, request.method
        self.negative_prompt = request.negative_prompt
        self.prompt = "\n".join((request.prompt, *request.more_prompts))
        if opened.file is None:  # a bare clip says nothing of it
            self.shelf.take_project(request.adapter)
        self.changed = dict.fromkeys(range(len(opened.frames)), 0)
        self.acknowledged: deque[int] = deque(maxlen=32)
        self._run_lengths = lru_cache(_KEPT_RUNS)(partial(run_lengths, size=self.state.size))

    def open_part(self, opened: ClipSession, identity: str) -> None:
        """Go on with other frames of the same file: masks of those that stay, all words, undo."""
        old, count = self.opened, len(opened.frames)
        numbers = opened.used
        places = {
            frame: numbers.index(number)
            for frame, number in enumerate(old.used)
            if number in numbers
        }
        state, undo = self.state.on_frames(places, count), self._undo.on_frames(places, count)
        same = {name: getattr(self, name) for name in _OF_ALL_PARTS}
        self.open(opened, identity)
        self.state, self._undo = state, undo
        vars(self).update(same)

    def end(self) -> None:
        """Stop what goes on: tracking, runs."""
        self.stop.set()
        for run in reversed(self.going):
            run.stop()

    @property
    def going(self) -> list[RunThread]:
        """The run that goes on, and those that wait, in their order."""
        return sorted((run for run in self.runs if not run.over), key=lambda run: run.turn.start)

    @property
    def run(self) -> RunThread | None:
        """The run that goes on, or else the last one on this clip."""
        return next(iter(self.going), max(self.runs, key=lambda run: run.turn.start, default=None))

    def asks(self, fields: object) -> tuple[object, ...]:
        """All that a run depends on but for clip and masks; `fields` are the page's."""
        words = (
            self.source_prompt,
            self.prompt,
            self.negative_prompt,
            [*self.state.regions.values()],
        )
        return *words, self.method, self.shelf.path, fields

    def note_computed(self, new: Computed) -> None:
        """Keep what the cache has of a run, unless it has more of the same."""
        if not (known := self.computed_of(*new[:2])) or new.left <= known.left:
            self.computed = [new, *(one for one in self.computed if one is not known)][:MAX_RUNS]

    def computed_of(
        self, asks: tuple[object, ...], layers: Mapping[int, MaskLayer]
    ) -> Computed | None:
        """What the cache has of a run; None if nothing is known."""
        return next((one for one in self.computed if one[:2] == (asks, layers)), None)

    def check(self, identity: object, have: object) -> None:
        """Refuse a page that shows another clip or a later state than this.

        Raises:
            SessionExpired: It does.
            StaleEvent: It is a clip that was left a moment ago.
        """
        if isinstance(identity, str) and identity != self.id and identity in self._past:
            raise StaleEvent
        if identity != self.id or not isinstance(have, int) or have > self.rev:
            raise SessionExpired

    @property
    def finder(self) -> str:
        """The mask model that answers clicks unless a region chooses another."""
        return usual_finder(self.opened.drawn, self.fallback)

    # Regions and words

    def add_region(self) -> int:
        """Make an empty region on top of the others; its label. Raises as `State.new_region` does."""
        region = self.state.new_region()
        self.commit(self.state.insert(region, MaskLayer()))
        return region.label

    def add_rest(self) -> int:
        """Make a region of all that no other covers, below the others; its label. There is one at most.

        Raises:
            RequestError: There are as many regions as allowed.
        """
        if (label := self.state.rest) is not None:
            return label
        region = replace(self.state.new_region(REST), margin=0)
        self.commit(self.state.insert(region, MaskLayer(rest=True), len(self.state.regions)))
        return region.label

    def add_masks(
        self,
        names: list[str],
        tracks: Iterable[Mapping[int, bytes]],
        sources: list[str],
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
        state, made = self.state, []
        for place, (name, track, source) in enumerate(zip(names, tracks, sources, strict=True)):
            region = replace(state.new_region(name[:MAX_NAME].strip()), source=source)
            state = state.insert(region, MaskLayer({}, track, dict.fromkeys(track, score)), place)
            made.append(region.name)
        if made:
            self.commit(state)
        return made

    def describe(self, words: object) -> None:
        """Take words, colours and order over as the cards send them; masks and the set of regions stay."""
        if not isinstance(words, dict):
            return
        self.state = self.state.describe(words.get("regions"))
        for name in ("source_prompt", "prompt", "negative_prompt"):
            if isinstance(text := words.get(name), str):
                setattr(self, name, text[:MOST_TEXT])

    # Masks

    def run_lengths(self, label: int, frame: int) -> str:
        """A mask as `layers.run_lengths` has it; the last ones are kept."""
        layer = self.state.layers[label]
        return self._run_lengths(layer.keys.get(frame), layer.track.get(frame))

    def masked(self, label: int, frame: int) -> bool:
        """Whether a region has a mask on a frame."""
        layer = self.state.layers[label]
        key = layer.keys.get(frame)
        if key and key.edits:
            return bool(self.run_lengths(label, frame))
        return bool(layer.track.get(frame) if key is None or key.found is None else key.found)

    # Changes

    def commit(self, state: State) -> None:
        """Take a state over; undo brings the present one back."""
        self._undo = self._undo.step(self.state)
        self._restore(state)

    def undo(self) -> None:
        """Take the last operation back; words typed since stay."""
        if self._undo.past:
            self._undo, state = self._undo.back(self.state)
            self._restore(state)

    def redo(self) -> None:
        """Do what was taken back again."""
        if self._undo.future:
            self._undo, state = self._undo.forth(self.state)
            self._restore(state)

    @property
    def can(self) -> dict[str, bool]:
        """Whether there is something to undo and to redo."""
        return {"undo": bool(self._undo.past), "redo": bool(self._undo.future)}

    @property
    def cut(self) -> bool:
        """Whether undo has come to its end, though more was done."""
        return self._undo.cut and not self._undo.past

    def _restore(self, state: State) -> None:
        self.state, before = state.keep_words(self.state), self.state
        self.mark(state.changed_since(before))

    def set_tracked(self, label: int, frame: int, mask: Mask, confidence: float) -> None:
        """Take one frame over from the tracker, which is no step to undo; see `State.tracked`."""
        state = self.state.tracked(label, frame, mask, confidence)
        if state is not self.state:
            self.state = state
            self.mark([frame])

    def mark(self, frames: Sequence[int]) -> None:
        """Begin a new revision, in which these frames changed."""
        self.rev += 1
        self.changed.update(dict.fromkeys(frames, self.rev))


def _project_state(opened: ClipSession) -> State:
    """The regions and masks a project comes with."""
    width, height = size = opened.request.clip.size
    # Cards show a number, also for a region that has no prompt yet.
    regions = {r.label: replace(r, margin=r.effective_margin(size)) for r in opened.request.regions}
    return State((len(opened.frames), height, width), _project_layers(opened), regions)


def _project_layers(opened: ClipSession) -> dict[int, MaskLayer]:
    request = opened.request
    if request.labels is None:
        return {}
    whole = (
        open_regions(opened.masks, len(opened.frames), request.clip.size) if opened.masks else {}
    )
    layers = {}
    for region in request.regions:
        inside = whole.get(region.label) or mask_of(cast(Labels, request.labels), region.label)
        track = {f: pack(mask) for f, mask in enumerate(inside) if mask.any()}
        keys = {f: Key(found=track[f]) for f in region.drawn if f in track}
        keys |= {f: Key(found=track[f], by=CLICKS) for f in region.clicked if f in track}
        layers[region.label] = MaskLayer(keys, track, dict.fromkeys(track, 1.0))
    return layers
