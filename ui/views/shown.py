"""What the server sends to the page: the value of each component of `ui/js`, from which
`ui/js/views.d.ts` is written (`python -m tests.style.declare`).

A field with a default is left out of what is sent while it has it. Frames count from 0,
`indices` from 1; places are in pixels of the clip; pictures are data URLs; a `time` or a
`turn` only tells a view from the same one sent before.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Literal


def sent(value: Any) -> Any:
    """Return a value with all views in it as JSON holds them."""
    if isinstance(value, dict):
        return {key: sent(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [sent(part) for part in value]
    if not is_dataclass(value):
        return value
    told = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if field.default is MISSING or part != field.default:
            told[field.name] = sent(part)
    return told


@dataclass(frozen=True)
class Views:
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


@dataclass(frozen=True)
class AdaptersView:
    """Weights tuned on a clip."""

    chosen: str  # its key; "" for none
    none: str  # what is said where none is chosen
    groups: list[AdapterGroup]
    detail: str
    problem: str


@dataclass(frozen=True)
class AdapterGroup:
    """Tuned models under one title."""

    title: str
    entries: list[AdapterChoice]


@dataclass(frozen=True)
class AdapterChoice:
    """One tuned model."""

    key: str
    name: str
    own: bool  # tuned or brought by this page


@dataclass(frozen=True)
class AddonsView:
    """What can be added to a model, and what is."""

    loras: list[str]
    motions: list[str]
    pictures: list[str]
    readers: list[str]
    chosen: list[Weighted]
    time: float | None = None


@dataclass(frozen=True)
class Weighted:
    """A file that is added to a model."""

    name: str
    weight: float


@dataclass(frozen=True)
class CanvasGone:
    """A page whose clip is not there any more."""

    note: str
    gone: Literal[True]
    alarm: Literal[True]


@dataclass(frozen=True)
class CanvasView:
    """The open clip and its masks."""

    id: str
    rev: int  # of the masks
    clip: ClipView
    changes: dict[str, dict[str, MaskView]]  # masks by frame and label
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


@dataclass(frozen=True)
class ClipView:
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


@dataclass(frozen=True)
class MaskView:
    """The mask of a region on a frame."""

    runs: str  # lengths of runs, outside first; see `canvas/outline.js`
    points: list[list[float]]  # [x, y, whether it belongs to the region]
    key: bool
    by: str  # title of the model that found it
    score: float


@dataclass(frozen=True)
class MaskFinders:
    """Who finds masks, and who follows them."""

    choices: list[FinderView]
    trackers: list[TrackerView]
    tracker: str
    usual: str


@dataclass(frozen=True)
class TrackerView:
    """Who follows masks."""

    name: str
    title: str
    cost: str


@dataclass(frozen=True)
class FinderView(TrackerView):
    """Who finds masks."""

    hint: str
    previews: bool  # whether it is quick enough to show a mask before the click


ClickOn = tuple[float, float, int]
"""A click on a picture: x and y, 0 to 1 of its sides, and 1 on the thing, 0 beside
it."""


@dataclass(frozen=True)
class Cutting:
    """How the picture of a region is cut out."""

    label: int
    whole: str  # the picture that it is cut out of
    veil: str  # what lies over the rest of it; empty if all is used
    points: list[ClickOn]


@dataclass(frozen=True)
class CardsView:
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


@dataclass(frozen=True)
class RegionCard:
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


@dataclass(frozen=True)
class ChecksView:
    """Remarks at the fields."""

    pressed: int  # the number of the press of Run that found it; 0 for none
    focus: str
    remarks: list[Remark]


@dataclass(frozen=True)
class Remark:
    """What is said at a field."""

    field: str
    text: str
    hint: bool
    offers: list[str]
    words: list[UnknownWord]


@dataclass(frozen=True)
class UnknownWord:
    """A word that the model does not know, and those near it."""

    word: str
    near: list[str]


@dataclass(frozen=True)
class ControlView:
    """Control networks, and a frame as one would see it."""

    kinds: list[str]
    models: list[str]
    text: str
    picture: str


@dataclass(frozen=True)
class DownloadView:
    """A file to be saved, or why it could not be made."""

    path: str | None = None
    name: str | None = None
    failed: str | None = None
    time: float | None = None


@dataclass(frozen=True)
class FetchView:
    """The line that fetches a published SAM."""

    state: Literal["offer", "busy", "failed", "done"]
    title: str
    note: str | None = None
    size: int | None = None
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class FocusView:
    """Where a run works."""

    id: str  # of the clip
    how: str  # auto, on, each, off or boxes
    edits: bool  # whether any region becomes something else
    boxes: list[FocusBox]  # none where the whole frame is edited
    margins: dict[str, Margins]  # by label


@dataclass(frozen=True)
class FocusBox:
    """One box that a run works in."""

    path: str  # as `focus` takes it
    label: int  # its region; 0 for all
    gain: float  # how many times larger the model sees what is in it


Margins = tuple[int, int]
"""The margin that a card begins with and the one that a run in a box has, until
somebody changes it."""


@dataclass(frozen=True)
class GalleryView:
    """The examples."""

    chosen: str | None
    items: list[ExampleView]
    clip_mb: int  # megabytes that a clip of one's own may have
    project_mb: int


@dataclass(frozen=True)
class GalleryFailed:
    """Why a file cannot be opened; the examples stay as they are."""

    failed: str
    time: float


@dataclass(frozen=True)
class ExampleView:
    """An example: its frames before and after, its videos."""

    name: str
    title: str
    picture: str
    after: str
    videos: list[str]
    change: str
    hint: str


@dataclass(frozen=True)
class HeaderView:
    """Whether the server knows the page, what it may go on with, and what it has to be
    told."""

    known: bool
    offer: str | None = None
    notice: str = ""


@dataclass(frozen=True)
class HistoryView:
    """The runs of the page, and the keys of those that are shown."""

    shown: list[str]
    runs: list[PastRunView]
    note: str


@dataclass(frozen=True)
class PastRunView:
    """A run that ended well."""

    key: str
    title: str
    facts: str
    text: str
    picture: str
    clip: str  # its title; empty for the one that is open
    still: bool  # whether it is a try, which is shown in its place in the clip


@dataclass(frozen=True)
class HubView:
    """Models that may be fetched from the hub."""

    state: Literal["idle", "asked", "fetching", "stopped", "error", "done"]
    id: str
    text: str
    share: float | None = None
    models: list[ListingView] | None = None  # None leaves those that are shown
    drop: str | None = None  # where files are sent that are dropped; "" for nowhere
    here: str | None = None  # what this machine is
    turn: int | None = None


@dataclass(frozen=True)
class ListingView:
    """A published model, and what is known of it before it is fetched."""

    id: str
    title: str = ""
    good: str = ""  # what it is good for
    licence: str = ""
    size: str = ""  # of what is fetched
    memory: str = ""  # that it takes on a graphics card
    here: str = ""  # whether it fits here, and how long it takes


@dataclass(frozen=True)
class LiveView:
    """Pictures while a run goes on, of some frames."""

    caption: str  # what the frames are, for whom sees them
    frames: list[str]
    indices: list[int]
    heat: list[HeatStrip]


@dataclass(frozen=True)
class HeatStrip:
    """Attention on a region's words, as heat over the frames."""

    name: str
    caption: str
    color: str
    label: int
    frames: list[str]


@dataclass(frozen=True)
class LossesView:
    """The falling loss of a tuning."""

    total: int
    text: str
    dots: list[list[float]]  # [step, loss]
    line: list[list[float]]


@dataclass(frozen=True)
class MethodsView:
    """The choice of a method."""

    chosen: str
    methods: list[MethodView]
    # By name, why the chosen model cannot be used with a method; None leaves what is
    # known
    lacks: dict[str, str] | None
    changes: list[ChangeView]


@dataclass(frozen=True)
class ChangeView:
    """A kind of change, and the example that shows it."""

    name: str
    title: str
    example: str


@dataclass(frozen=True)
class MethodView:
    """A method: what it does and uses."""

    name: str
    title: str
    paper: str
    say: str
    regions: Literal["needed", "taken", "ignored"]
    source_prompt: bool
    several: bool
    binds: bool
    uses: list[MethodInput]
    changes: list[str]  # names of what it changes well


@dataclass(frozen=True)
class MethodInput:
    """An input, and whether a method uses it."""

    name: str
    used: bool


@dataclass(frozen=True)
class NoticeView:
    """A sentence."""

    text: str
    duplicate: str = ""  # address that copies the Space of the page; "" elsewhere


@dataclass(frozen=True)
class PlayerView:
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


@dataclass(frozen=True)
class EditView:
    """A video of an edit, and its prompt."""

    prompt: str
    path: str


@dataclass(frozen=True)
class ProgressView:
    """How far a run is."""

    state: Literal["running", "stopped", "error", "done"]
    text: str
    detail: str
    stages: list[StageBar]
    windows: WindowsBar | None = None
    asked: bool = False  # whether it waits for its turn
    field: str | None = None  # that an error is about
    time: float | None = None


@dataclass(frozen=True)
class StageBar:
    """A stage of a run."""

    name: str
    share: float
    now: bool
    long: bool


@dataclass(frozen=True)
class WindowsBar:
    """How many windows of a run are done, and which share of all work."""

    text: str
    done: int
    share: float


@dataclass(frozen=True)
class PromptView:
    """The composed prompts in pieces."""

    prompts: list[list[PromptPiece]]


@dataclass(frozen=True)
class PromptPiece:
    """A piece of a prompt; those of a region carry its label."""

    text: str
    label: int | None = None
    color: str | None = None
    kept: bool | None = None


@dataclass(frozen=True)
class QualityView:
    """The choice of a quality."""

    chosen: str
    qualities: list[QualityChoice]


@dataclass(frozen=True)
class QualityChoice:
    """One quality."""

    name: str
    title: str
    detail: str
    hint: str


@dataclass(frozen=True)
class QueueView:
    """Runs of the page that wait for the one that goes on."""

    jobs: list[WaitingRun]
    note: str
    time: float


@dataclass(frozen=True)
class WaitingRun:
    """A run that waits."""

    key: str
    title: str
    text: str


@dataclass(frozen=True)
class RecentView:
    """The projects of this machine."""

    folder: str  # in which they stay; "" where nothing does
    paths: bool  # whether files may be opened by their path
    any_size: bool
    items: list[RecentProject]
    failed: str
    unkept: str  # why nothing stays; "" where nothing is to
    time: float | None = None


@dataclass(frozen=True)
class RecentProject:
    """A project of this machine."""

    key: str
    title: str
    picture: str
    size: str
    used: str
    problem: str


@dataclass(frozen=True)
class ResultView:
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


@dataclass(frozen=True)
class FactView:
    """An answer to whether the edit worked."""

    name: str
    value: str
    text: str
    doubt: bool


@dataclass(frozen=True)
class Figure:
    """A measured figure."""

    name: str
    value: str


@dataclass(frozen=True)
class ResultFile:
    """A file that was written, and the name under which it is saved."""

    name: str
    path: str
    saves: str


@dataclass(frozen=True)
class FileToMake:
    """A file that is made when somebody wants it."""

    name: str
    title: str
    hint: str
    kind: str  # what is being made, said meanwhile


@dataclass(frozen=True)
class WordsView:
    """Attention on each word of source and edit."""

    indices: list[int]
    source: list[WordMaps]
    edit: list[WordMaps]


@dataclass(frozen=True)
class WordMaps:
    """Attention on a word, as heat over some frames."""

    word: str
    frames: list[str]


@dataclass(frozen=True)
class AreasView:
    """The area that the edit was kept to."""

    indices: list[int]
    steps: list[AreaStep]


@dataclass(frozen=True)
class AreaStep:
    """That of one step."""

    step: int
    frames: list[str]


@dataclass(frozen=True)
class AttentionView:
    """Maps to be laid over the clip."""

    heading: str
    captions: list[str]
    indices: list[int]
    maps: list[AttentionMap]


@dataclass(frozen=True)
class AttentionMap:
    """The attention on the words of a region."""

    name: str
    caption: str
    color: str
    label: int
    parts: list[str]
    sheet: str  # a column per frame, and two rows per part: before and after


@dataclass(frozen=True)
class SettingsView:
    """The parameters of the chosen method, the seed, and what the model predicts."""

    method: str
    parameters: dict[str, Parameter]  # by name
    # as the fields show them with nothing given but the preset
    usual: dict[str, float | str | bool]
    # by method, what differs from that
    given: dict[str, dict[str, float | str | bool]]
    seed: float | str  # a number, or what was typed
    seed_words: str  # when a seed is of use
    seeded: bool  # it is
    prediction: str  # one of those offered
    silent: bool  # the model does not say what it predicts
    variants: int
    # Of what was typed, the last that it knows; None: it takes the place of all
    turn: int | None
    time: float


@dataclass(frozen=True)
class Parameter:
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


@dataclass(frozen=True)
class TriesView:
    """What is said of a run before it."""

    text: str
    long: bool | None = None


@dataclass(frozen=True)
class VocabularyView:
    """The words that the built-in model knows."""

    note: str
    groups: list[WordGroup]


@dataclass(frozen=True)
class WordGroup:
    """Words under one title."""

    title: str
    words: list[str]
