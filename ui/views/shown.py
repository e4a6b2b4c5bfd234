"""What the server sends to the page: the value of each component of `ui/js`, from which
`ui/js/views.d.ts` is written (`python -m tests.style.declare`).

A field with a default is left out of what is sent while it has it. Frames count from 0,
`indices` from 1; places are in pixels of the clip; pictures are data URLs; a `time` or a
`turn` only tells a view from the same one sent before.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, dataclass_transform


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class View:
    """A value that the page shows; each kind of them is a frozen dataclass."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)


def sent(value: Any) -> Any:
    """Return a value with all views in it as JSON holds them."""
    if isinstance(value, dict):
        return {key: sent(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [sent(part) for part in value]
    if not isinstance(value, View):
        return value
    told = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if field.default is MISSING or part != field.default:
            told[field.name] = sent(part)
    return told


class Views(View):
    """The value of each component, which it draws; None shows nothing."""

    adapters: AdaptersView
    addons: AddonsView | None
    canvas: CanvasView | CanvasGone | None
    cards: CardsView | None
    checks: ChecksView | None
    control: ControlView | None
    download: DownloadView | None
    fetch: FetchView | None
    focus: FocusView | None
    gallery: GalleryView | GalleryFailed
    header: HeaderView | None
    history: HistoryView | None
    how: None
    hub_model: HubView | None
    live: LiveView | None
    losses: LossesView | None
    method: MethodsView
    notice: NoticeView | None
    player: PlayerView | None
    progress: ProgressView | None
    prompt: PromptView | None
    quality: QualityView | None
    queue: QueueView | None
    recent: RecentView
    result: ResultView | None
    settings: SettingsView
    tabs: None
    takes: NoticeView | None
    tries: TriesView | None
    vocabulary: VocabularyView | None


class AdaptersView(View):
    """Weights tuned on a clip."""

    chosen: str  # its key; "" for none
    none: str  # what is said where none is chosen
    groups: list[AdapterGroup]
    detail: str
    problem: str


class AdapterGroup(View):
    """Tuned models under one title."""

    title: str
    entries: list[AdapterChoice]


class AdapterChoice(View):
    """One tuned model."""

    key: str
    name: str
    own: bool  # tuned or brought by this page


class AddonsView(View):
    """What can be added to a model, and what is."""

    loras: list[str]
    motions: list[str]
    pictures: list[str]
    readers: list[str]
    chosen: list[Weighted]
    time: float | None = None


class Weighted(View):
    """A file that is added to a model."""

    name: str
    weight: float


class CanvasGone(View):
    """A page whose clip is not there any more."""

    note: str
    gone: Literal[True]
    alarm: Literal[True]


class CanvasView(View):
    """The open clip and its masks."""

    id: str
    rev: int  # of the masks
    clip: ClipView
    changes: MasksShown  # masks by frame and label
    # By frame, the revision of masks that have changed and are not among the changes
    wanting: dict[str, int]
    lanes: dict[str, str]  # by label, what a region is on each frame: `canvas/cells.js`
    labels: list[int]
    finders: dict[str, str]  # by label, which model finds its masks
    who: MaskFinders
    feathers: dict[str, float]  # pixels by label
    stale: list[int]  # labels to be tracked
    tracking: int  # the number of the tracking under way; 0 for none
    # How far tracking is: frames done and in all, seconds left, the frame that was
    # tracked last
    followed: list[float] | None
    found: list[int] | None  # first frames of shots; None while nobody has looked
    acknowledged: list[int]  # nonces of acts that are answered
    note: str | None  # None leaves what is said
    alarm: bool
    undo: bool
    redo: bool
    unsure: bool = False  # the note says so of a mask: a box would help
    go: int | None = None  # the frame to go to
    # How the picture of a region is cut out, in answer to an act about it
    cutting: Cutting | None = None
    # Lengths of the runs of the mask that a click would make, in answer to `preview`
    preview: str | None = None
    gone: None = None


class ClipView(View):
    """The open clip."""

    title: str
    own: bool  # whether a visitor brought it
    drawn: bool  # whether it is a drawing, as the built-in model makes them
    # Of the file that frames were taken of: their number in all, the first, and every
    # how manyth
    total: int
    start: int
    stride: int
    folder: str
    count: int
    # In pixels of the copy that is shown
    width: int
    height: int
    size: str  # of the clip itself, as people read it
    fps: float
    most: int  # frames that a clip may have
    most_places: int  # of a stroke
    most_masks: int  # frames whose masks may be asked for at once
    strip: str
    made: bool  # whether a result ships with it


class MaskView(View):
    """The mask of a region on a frame."""

    runs: str  # lengths of runs, outside first; see `canvas/outline.js`
    points: list[list[float]]  # [x, y, whether it belongs to the region]
    key: bool
    by: str  # title of the model that found it


MasksShown = dict[str, dict[str, MaskView]]


class MaskFinders(View):
    """Who finds masks, and who follows them."""

    choices: list[FinderView]
    trackers: list[TrackerView]
    tracker: str
    usual: str


class TrackerView(View):
    """Who follows masks."""

    name: str
    title: str


class FinderView(TrackerView):
    """Who finds masks."""

    cost: str
    hint: str
    previews: bool  # whether it is quick enough to show a mask before the click


ClickOn = tuple[float, float, int]
"""A click on a picture: x and y, 0 to 1 of its sides, and 1 on the thing, 0 beside
it."""


class Cutting(View):
    """How the picture of a region is cut out."""

    label: int
    whole: str  # the picture that it is cut out of
    veil: str  # what lies over the rest of it; empty if all is used
    points: list[ClickOn]


class CardsView(View):
    """What the cards say."""

    id: str
    have: int
    source_prompt: str
    prompt: str
    negative_prompt: str
    rest: int  # label of the region of all that no other covers; 0 for none
    # Why the model looks at no pictures, empty if it does; None leaves what is known
    blind: str | None
    full: bool
    regions: list[RegionCard]
    # Another number each time that the words replace what was typed
    anew: float | None = None
    # Whether the model is told what to do, not what is seen in the end
    instructs: bool = False
    # Some things that it can draw, where that is known
    drawn: list[str] | None = None


class RegionCard(View):
    """What is said of a region."""

    label: int
    name: str
    color: str
    source: str
    prompt: str
    negative: str
    strength: float  # 0 to 1
    picture_scale: float | None  # None for the usual one
    margin: int  # pixels around its mask
    picture: str


class ChecksView(View):
    """Remarks at the fields."""

    pressed: int  # the number of the press of Run that found it; 0 for none
    focus: str
    remarks: list[Remark]


class Remark(View):
    """What is said at a field."""

    field: str
    text: str
    hint: bool
    offers: list[str]
    words: list[UnknownWord]


class UnknownWord(View):
    """A word that the model does not know, and those near it."""

    word: str
    near: list[str]


class ControlView(View):
    """Control networks, and a frame as one would see it."""

    kinds: list[str]
    models: list[str]
    text: str
    picture: str


class DownloadView(View):
    """A file to be saved, or why it could not be made."""

    path: str | None = None
    name: str | None = None
    failed: str | None = None
    time: float | None = None


class FetchView(View):
    """The line that fetches a published SAM."""

    state: Literal["offer", "busy", "failed", "done"]
    title: str
    note: str | None = None
    size: int | None = None
    done: int | None = None
    total: int | None = None


class FocusView(View):
    """Where a run works."""

    id: str  # of the clip
    how: str  # auto, on, each, off or boxes
    edits: bool  # whether any region becomes something else
    boxes: list[FocusBox]  # none where the whole frame is edited
    margins: dict[str, Margins]  # by label


class FocusBox(View):
    """One box that a run works in."""

    path: str  # as `focus` takes it
    label: int  # its region; 0 for all
    gain: float  # how many times larger the model sees what is in it


Margins = tuple[int, int]
"""The margin that a card begins with and the one that a run in a box has, until
somebody changes it."""


class GalleryView(View):
    """The examples."""

    chosen: str | None
    items: list[ExampleView]
    clip_mb: int  # megabytes that a clip of one's own may have
    project_mb: int


class GalleryFailed(View):
    """Why a file cannot be opened; the examples stay as they are."""

    failed: str
    time: float


class ExampleView(View):
    """An example: its frames before and after, its videos."""

    name: str
    title: str
    picture: str
    after: str
    videos: list[str]
    change: str
    hint: str


class HeaderView(View):
    """Whether the server knows the page, what it may go on with, and what it has to be
    told."""

    known: bool
    offer: str | None = None
    notice: str = ""


class HistoryView(View):
    """The runs of the page, and the keys of those that are shown."""

    shown: list[str]
    runs: list[PastRunView]
    note: str


class PastRunView(View):
    """A run that ended well."""

    key: str
    title: str
    facts: str
    text: str
    picture: str
    clip: str  # its title; empty for the one that is open
    still: bool  # whether it is a try, which is shown in its place in the clip


class HubView(View):
    """Models that may be fetched from the hub."""

    state: Literal["idle", "asked", "fetching", "stopped", "error", "done"]
    id: str
    text: str
    share: float | None = None
    models: list[ListingView] | None = None  # None leaves those that are shown
    drop: str | None = None  # where files are sent that are dropped; "" for nowhere
    here: str | None = None  # what this machine is
    turn: int | None = None


class ListingView(View):
    """A published model, and what is known of it before it is fetched."""

    id: str
    title: str = ""
    good: str = ""  # what it is good for
    licence: str = ""
    size: str = ""  # of what is fetched
    memory: str = ""  # that it takes on a graphics card
    here: str = ""  # whether it fits here, and how long it takes


class LiveView(View):
    """Pictures while a run goes on, of some frames."""

    caption: str  # what the frames are, for whom sees them
    frames: list[str]
    indices: list[int]
    heat: list[HeatStrip]


class HeatStrip(View):
    """Attention on a region's words, as heat over the frames."""

    name: str
    caption: str
    color: str
    label: int
    frames: list[str]


Plot = list[list[float]]


class LossesView(View):
    """The falling loss of a tuning."""

    total: int
    text: str
    dots: Plot  # [step, loss]
    line: Plot


class MethodsView(View):
    """The choice of a method."""

    chosen: str
    methods: list[MethodView]
    # By name, why the chosen model cannot be used with a method; None leaves what is
    # known
    lacks: dict[str, str] | None
    changes: list[ChangeView]


class ChangeView(View):
    """A kind of change, and the example that shows it."""

    name: str
    title: str
    example: str


class MethodView(View):
    """A method: what it does and uses."""

    name: str
    title: str
    paper: str
    say: str
    regions: Literal["needed", "taken", "ignored"]
    source_prompt: bool
    several: bool
    binds: bool
    uses: list[str]  # names of its inputs
    changes: list[str]  # names of what it changes well


class NoticeView(View):
    """A sentence."""

    text: str
    duplicate: str = ""  # address that copies the Space of the page; "" elsewhere


class PlayerView(View):
    """The source clip beside its edits."""

    source: str
    edits: list[EditView]
    reconstruction: str | None
    width: int
    height: int
    frames: int
    fps: float
    names: list[str] | None  # what the two videos are called where edits are compared
    unfinished: str | None = None
    caption: str | None = None
    note: str | None = None
    # A try of one frame: its picture, and which frame it is
    still: str | None = None
    at: int | None = None
    begins: bool = False  # whether a run begins: what is shown stays


class EditView(View):
    """A video of an edit, and its prompt."""

    prompt: str
    path: str


class ProgressView(View):
    """How far a run is."""

    state: Literal["running", "stopped", "error", "done"]
    text: str
    detail: str
    stages: list[StageBar]
    windows: WindowsBar | None = None
    asked: bool = False  # whether it waits for its turn
    field: str | None = None  # that an error is about
    time: float | None = None


class StageBar(View):
    """A stage of a run."""

    name: str
    share: float
    now: bool
    long: bool


class WindowsBar(View):
    """How many windows of a run are done, and which share of all work."""

    text: str
    done: int
    share: float


class PromptView(View):
    """The composed prompts in pieces."""

    prompts: list[list[PromptPiece]]


class PromptPiece(View):
    """A piece of a prompt; those of a region carry its label."""

    text: str
    label: int | None = None
    color: str | None = None
    kept: bool | None = None


class QualityView(View):
    """The choice of a quality."""

    chosen: str
    qualities: list[QualityChoice]


class QualityChoice(View):
    """One quality."""

    name: str
    title: str
    detail: str
    hint: str


class QueueView(View):
    """Runs of the page that wait for the one that goes on."""

    jobs: list[WaitingRun]
    note: str
    time: float


class WaitingRun(View):
    """A run that waits."""

    key: str
    title: str
    text: str


class RecentView(View):
    """The projects of this machine."""

    folder: str  # in which they stay; "" where nothing does
    paths: bool  # whether files may be opened by their path
    any_size: bool
    items: list[RecentProject]
    failed: str
    unkept: str  # why nothing stays; "" where nothing is to
    time: float | None = None


class RecentProject(View):
    """A project of this machine."""

    key: str
    title: str
    picture: str
    size: str
    used: str
    problem: str


class ResultView(View):
    """A result: in plain words, as pictures, to take away."""

    key: str
    facts: list[FactView]
    figures: list[Figure]
    attention: AttentionView | None
    words: WordsView | None
    areas: AreasView | None
    warnings: list[str]
    whole: str
    files: list[ResultFile]
    makes: list[FileToMake]


class FactView(View):
    """An answer to whether the edit worked."""

    name: str
    value: str
    text: str
    doubt: bool


class Figure(View):
    """A measured figure."""

    name: str
    value: str


class ResultFile(View):
    """A file that was written, and the name under which it is saved."""

    name: str
    path: str
    saves: str


class FileToMake(View):
    """A file that is made when somebody wants it."""

    name: str
    title: str
    hint: str
    kind: str  # what is being made, said meanwhile


class WordsView(View):
    """Attention on each word of source and edit."""

    indices: list[int]
    source: list[WordMaps]
    edit: list[WordMaps]


class WordMaps(View):
    """Attention on a word, as heat over some frames."""

    word: str
    frames: list[str]


class AreasView(View):
    """The area that the edit was kept to."""

    indices: list[int]
    steps: list[AreaStep]


class AreaStep(View):
    """That of one step."""

    step: int
    frames: list[str]


class AttentionView(View):
    """Maps to be laid over the clip."""

    heading: str
    captions: list[str]
    indices: list[int]
    maps: list[AttentionMap]


class AttentionMap(View):
    """The attention on the words of a region."""

    name: str
    caption: str
    color: str
    label: int
    parts: list[str]
    sheet: str  # a column per frame, and two rows per part: before and after


Typed = dict[str, float | str | bool]
"""Parameters by name, as they stand in their fields."""


class SettingsView(View):
    """The parameters of the chosen method, the seed, and what the model predicts."""

    method: str
    parameters: dict[str, Parameter]  # by name
    # as the fields show them with nothing given but the preset
    usual: Typed
    # by method, what differs from that
    given: dict[str, Typed]
    seed: float | str  # a number, or what was typed
    seed_words: str  # when a seed is of use
    seeded: bool  # it is
    prediction: str  # one of those offered
    silent: bool  # the model does not say what it predicts
    variants: int
    # Of what was typed, the last that it knows; None: it takes the place of all
    turn: int | None
    time: float


class Parameter(View):
    """A parameter of a method, from its one declaration."""

    title: str
    description: str
    type: str  # of its value: boolean, integer, number, string
    group: str  # the heading below which it stands
    enum: list[str] | None = None  # what may be chosen
    minimum: float | None = None
    maximum: float | None = None
    reach: float | None = None  # where its slider ends
    hint: str | None = None  # what may be typed


class TriesView(View):
    """What is said of a run before it."""

    text: str
    long: bool | None = None


class VocabularyView(View):
    """The words that the built-in model knows."""

    note: str
    groups: list[WordGroup]


class WordGroup(View):
    """Words under one title."""

    title: str
    words: list[str]
