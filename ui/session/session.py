"""The work of one open page, kept by the server: clip, regions, masks, words, undo.
NumPy only."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

from regrain.editing.errors import RequestError
from regrain.editing.media.labels import Labels, mask_of
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_files import open_regions
from regrain.editing.models.files.location import BUILT_IN_MODEL
from regrain.editing.request.boxes import check_focus, read_focus
from regrain.masks.draw import pack_copy
from regrain.masks.models.finders import usual, usual_tracker
from regrain.ui.server.runs import RunThread
from regrain.ui.session.clips import MAX_FRAMES, OpenedClip
from regrain.ui.session.kept_project import KeptProject
from regrain.ui.values.adapters import AdapterList
from regrain.ui.values.cutout import Cutout
from regrain.ui.values.fields import Fields
from regrain.ui.values.focus import edges_of_regions
from regrain.ui.values.history import History
from regrain.ui.values.layers import CLICKS, Key, Mask, MaskLayer, run_lengths
from regrain.ui.values.plates import Carrier, focus_in, region_in
from regrain.ui.values.state import MAX_NAME, MOST_TEXT, REST, State, Undo

_KEPT_RUNS = 512  # run lengths of masks


class StaleEvent(RequestError):
    """The event was for a clip that the page has left; nothing is to be said about
    it."""

    def __init__(self) -> None:
        super().__init__("page", "the clip has changed; try again")


@dataclass(eq=False, kw_only=True)
class Words:
    """Words and choices for a clip."""

    source_prompt: str
    prompt: str  # a line per edit
    negative_prompt: str
    method: str
    focus: str  # see `editing.request.boxes`
    tracker: str

    @property
    def words(self) -> dict[str, str]:
        """All of them by name."""
        return {name: getattr(self, name) for name in Words.__dataclass_fields__}


def first_words(opened: OpenedClip) -> Words:
    """Return the words that a clip's project begins with."""
    request = opened.request
    return Words(
        source_prompt=request.source_prompt,
        prompt="\n".join((request.prompt, *request.more_prompts)),
        negative_prompt=request.negative_prompt,
        method=request.method,
        focus=focus_in(
            request.focus, len(request.clip), request.clip.size, opened.size
        ),
        tracker=usual_tracker(opened.drawn),
    )


@dataclass(eq=False, kw_only=True)
class ClipWork(Words):
    """A page's work on one clip; opening another begins with a new one.

    Masks and words are those of the clip's project, if it has one.
    """

    opened: OpenedClip
    id: str  # tells this clip from those that the page had before
    rev: int = 0  # grows with every change of masks
    # frame to the revision of its last change
    changed: dict[int, int] = field(init=False)
    shown: int = 0  # frame that the page showed last
    acknowledged: deque[int] = field(default_factory=lambda: deque(maxlen=32))  # events
    fields: Fields | None = None  # of the page, once it has sent them
    # Of a clip that is larger than its copy; None of any other
    carrier: Carrier | None = field(init=False)
    state: State = field(init=False)  # regions and masks, in pixels of the copy
    steps: Undo = field(default_factory=Undo)
    # Tracking
    # first label that is tracked now; 0 for none
    tracking: int = 0
    tracked: tuple[int, ...] = ()  # labels that are tracked, or were last
    # Frames tracked, of how many, seconds left, and the last of them
    followed: tuple[int, int, float, int] | None = None
    trouble: Exception | None = None  # the error that ended it early
    # Runs
    # without those that ended before the last
    runs: list[RunThread] = field(default_factory=list)
    found: tuple[int, ...] | None = None  # first frames of shots; None: not looked for
    # What a finder of masks was asked last, its answer, and whether that is doubtful: a
    # click takes over what was shown before it
    answer: tuple[tuple[object, ...], bytes | None, bool] = ((), None, False)
    # By the file of a region's picture, how that was cut out of another
    cutouts: dict[str, Cutout] = field(default_factory=dict)
    # By the key of a run in the history, what it was asked
    made: dict[str, object] = field(default_factory=dict)
    kept: KeptProject | None = None  # where it is kept, once it is
    returned: bool = False  # it came back from there
    notice: str = ""  # what the page is still to be told about that
    unkept: bool = False  # it could not be written; the page was told
    filled: str = ""  # the model for which the page's fields were filled last

    def __post_init__(self) -> None:
        self.changed = dict.fromkeys(range(len(self.opened.frames)), 0)
        opened = self.opened
        clip = opened.request.clip
        width, height = size = opened.size
        is_copy = size != clip.size
        self.carrier = Carrier(clip, opened.frames) if is_copy else None
        self.state = State(
            (len(opened.frames), height, width),
            _project_layers(opened),
            {
                region.label: region_in(region, clip.size, size)
                for region in opened.request.regions
            },
        )
        self._run_lengths = lru_cache(_KEPT_RUNS)(
            partial(run_lengths, size=self.state.size)
        )
        self.edges_of = lru_cache(MAX_FRAMES)(
            partial(edges_of_regions, size=self.state.size)
        )


class Session(ClipWork):
    """One page's work. Hold `lock` while calling what changes it.

    Args:
        opened: The first clip.
        fallback: The mask model that answers clicks where no published SAM is at hand:
            `sam` or `cuts`.
    """

    def __init__(self, opened: OpenedClip, fallback: str = "sam") -> None:
        self.lock = threading.RLock()
        self.stop = threading.Event()  # set to end the tracking that goes on
        self.fallback = fallback
        self.refused = False  # the last run did not begin, and the page still says why
        self.saved: Path | None = None  # folder of the last project that was downloaded
        self.exported: Path | None = None  # and of the last masks
        self.chosen_model = BUILT_IN_MODEL  # last; new videos of one's own have it
        self.adapters = AdapterList()
        self.history = History()
        self._past: set[str] = set()  # identities of clips that the page has left
        self._begin(opened, "")

    def open(self, opened: OpenedClip, identity: str) -> None:
        """Begin anew on a clip; masks and words are its project's, if it has any."""
        self.end()
        self.let_go()
        if self.id != identity:
            self._past.add(self.id)
            self.history.shown = ()
        self._begin(opened, identity)

    def _begin(self, opened: OpenedClip, identity: str) -> None:
        # every field of the work has its first value again
        super().__init__(opened=opened, id=identity, **vars(first_words(opened)))
        self.adapters.take_project(opened.request.adapter)

    def open_part(self, opened: OpenedClip, identity: str) -> None:
        """Go on with other frames of the same file: masks of those that stay, all
        words, undo."""
        numbers = opened.used
        places = {
            frame: numbers.index(number)
            for frame, number in enumerate(self.opened.used)
            if number in numbers
        }
        before = copy.copy(self)
        self.kept = None
        chosen = self.adapters.chosen
        self.open(opened, identity)
        self.adapters.chosen = chosen
        self.state = before.state.on_frames(places, len(opened.frames))
        self.steps = before.steps.on_frames(places, len(opened.frames))
        vars(self).update(before.words)
        if read_focus(before.focus).kind == "boxes":
            self.focus = "on"  # boxes hold for their own frames alone: found anew
        self.fields = before.fields
        self.filled = before.filled
        self.kept = before.kept

    def end(self) -> None:
        """Stop what goes on: tracking, runs."""
        self.stop.set()
        for run in reversed(self.going):
            run.stop()

    @property
    def kept_values(self) -> tuple[object, ...]:
        """The values that are kept of it, by which a change is told."""
        return (
            self.opened,
            self.state,
            self.steps,
            self.words,
            self.found,
            self.fields,
            self.history.runs,
            self.adapters.chosen,
            tuple(self.adapters.entries.values()),
        )

    def take_notice(self) -> str:
        """Return what the page is still to be told, once."""
        notice = self.notice
        self.notice = ""
        return notice

    def let_go(self) -> None:
        """Let another process have the folder in which the work is kept."""
        if self.kept:
            self.kept.lock.release()

    @property
    def going(self) -> list[RunThread]:
        """The run that goes on, and those that wait, in their order."""
        return [run for run in self.runs if not run.over]

    @property
    def run(self) -> RunThread | None:
        """The run that goes on, or else the last one on this clip."""
        if going := self.going:
            return going[0]
        return self.runs[-1] if self.runs else None

    def check(self, identity: object, have: object) -> None:
        """Refuse a page that shows another clip or a later state than this.

        Raises:
            RequestError: It does.
            StaleEvent: It is a clip that was left a moment ago.
        """
        if isinstance(identity, str) and identity != self.id and identity in self._past:
            raise StaleEvent
        if identity != self.id or not isinstance(have, int) or have > self.rev:
            raise RequestError(
                "page",
                "This page was idle for too long and its masks are gone. Reload it.",
            )

    @property
    def finder(self) -> str:
        """The mask model that answers clicks unless a region chooses another: on real
        clips a SAM, or cuts."""
        return self.fallback if self.opened.drawn else usual(drawn=False).name

    # Regions and words

    def add_region(self) -> int:
        """Make an empty region below the others, see `State.insert`; returns its label.
        Raises as `State.new_region` does."""
        region = self.state.new_region()
        self.commit(self.state.insert(region, MaskLayer()))
        return region.label

    def add_rest(self) -> int:
        """Make a region of all that no other covers, below the others; there is one at
        most.

        Returns:
            Its label.

        Raises:
            RequestError: There are as many regions as allowed.
        """
        if self.state.rest is not None:
            return self.state.rest
        region = replace(self.state.new_region(REST), margin=0)
        self.commit(self.state.insert(region, MaskLayer(rest=True)))
        return region.label

    def add_masks(
        self,
        names: list[str],
        tracks: Iterable[Mapping[int, bytes]],
    ) -> list[str]:
        """Make a region of each track, the first uppermost, below the others; one step
        to undo.

        Args:
            names: Wished for; an empty one stands for the usual.
            tracks: Packed masks by frame.

        Returns:
            The names they got.

        Raises:
            RequestError: There are more than are allowed.
        """
        state = self.state
        made = []
        for name, track in zip(names, tracks, strict=True):
            region = state.new_region(name[:MAX_NAME].strip())
            layer = MaskLayer({}, track, dict.fromkeys(track, 1.0))
            state = state.insert(region, layer)
            made.append(region.name)
        self.commit(state)
        return made

    def describe(self, words: object) -> None:
        """Take words, colours and order over as the cards send them; masks and the set
        of regions stay."""
        if not isinstance(words, dict):
            return
        self.state = self.state.describe(words.get("regions"))
        for name in ("source_prompt", "prompt", "negative_prompt"):
            text = words.get(name)
            if isinstance(text, str):
                setattr(self, name, text[:MOST_TEXT])

    # Masks

    def run_lengths(self, label: int, frame: int) -> str:
        """Return a mask as `layers.run_lengths` does; the last ones are kept."""
        layer = self.state.layers[label]
        return self._run_lengths(layer.keys.get(frame), layer.track.get(frame))

    def masks(self, label: int) -> LazyFrames:
        """Return a region's masks as large as the clip; see `State.masks`."""
        return self.state.masks(label, self.carrier)

    def masked(self, label: int, frame: int) -> bool:
        """Return whether a region has a mask on a frame."""
        layer = self.state.layers[label]
        key = layer.keys.get(frame)
        if key and key.edits:
            return bool(self.run_lengths(label, frame))
        if key and key.found is not None:
            return bool(key.found)
        return bool(layer.track.get(frame))

    # Changes

    def choose_focus(self, text: str) -> None:
        """Take over where an edit is to work, in a new revision; a RequestError if
        `focus` does not take it."""
        check_focus(text, len(self.opened.frames), self.opened.size)
        self.focus = text
        self.mark([])

    def commit(self, state: State) -> None:
        """Take a state over; undo brings the present one back."""
        self.steps = self.steps.step(self.state)
        self._restore(state)

    def undo(self) -> None:
        """Take the last operation back; words typed since stay."""
        if self.steps.past:
            self.steps, state = self.steps.back(self.state)
            self._restore(state)

    def redo(self) -> None:
        """Do what was taken back again."""
        if self.steps.future:
            self.steps, state = self.steps.forth(self.state)
            self._restore(state)

    def _restore(self, state: State) -> None:
        before = self.state
        self.state = state.keep_words(before)
        self.mark(state.changed_since(before))

    def set_tracked(
        self, label: int, frame: int, mask: Mask, confidence: float
    ) -> None:
        """Take one frame over from the tracker, which is no step to undo; see
        `State.tracked`."""
        state = self.state.tracked(label, frame, mask, confidence)
        if state is not self.state:
            self.state = state
            self.mark([frame])

    def mark(self, frames: Sequence[int]) -> None:
        """Begin a new revision, in which these frames changed."""
        self.rev += 1
        self.changed.update(dict.fromkeys(frames, self.rev))


def _project_layers(opened: OpenedClip) -> dict[int, MaskLayer]:
    """Return the masks of a project's regions by label: tracked, and made by a person
    on key frames."""
    request = opened.request
    if request.labels is None:
        return {}
    whole = {}
    if opened.masks:
        whole = open_regions(
            opened.masks,
            len(opened.frames),
            request.clip.size,
            beside=request.clip.names,
        )
    layers = {}
    for region in request.regions:
        masks = whole.get(region.label) or mask_of(
            cast(Labels, request.labels), region.label
        )
        track = {
            frame: pack_copy(mask, opened.size)
            for frame, mask in enumerate(masks)
            if mask.any()
        }
        keys = {at: Key(found=track[at]) for at in region.drawn if at in track}
        for at in region.clicked:
            if at in track:
                keys[at] = Key(found=track[at], by=CLICKS)
        layers[region.label] = MaskLayer(keys, track, dict.fromkeys(track, 1.0))
    return layers
