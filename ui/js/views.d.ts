// What the server sends to the page. Written from `ui/views/shown.py` by
// `python -m tests.style.declare`; change that file, not this one.

/** The value of each component, which it draws; None shows nothing. */
export interface Views {
  adapters: AdaptersView;
  addons: AddonsView | null;
  canvas: CanvasView | CanvasGone | null;
  cards: CardsView | null;
  checks: ChecksView | null;
  control: ControlView | null;
  download: DownloadView | null;
  fetch: FetchView | null;
  focus: FocusView | null;
  gallery: GalleryView | GalleryFailed;
  header: HeaderView | null;
  history: HistoryView | null;
  how: null;
  hub_model: HubView | null;
  live: LiveView | null;
  losses: LossesView | null;
  method: MethodsView;
  notice: NoticeView | null;
  player: PlayerView | null;
  progress: ProgressView | null;
  prompt: PromptView | null;
  quality: QualityView | null;
  queue: QueueView | null;
  recent: RecentView;
  result: ResultView | null;
  settings: SettingsView;
  tabs: null;
  takes: NoticeView | null;
  tries: TriesView | null;
  vocabulary: VocabularyView | null;
}

/** Weights tuned on a clip. */
export interface AdaptersView {
  /** Its key; "" for none */
  chosen: string;
  /** What is said where none is chosen */
  none: string;
  groups: AdapterGroup[];
  detail: string;
  problem: string;
}

/** Tuned models under one title. */
export interface AdapterGroup {
  title: string;
  entries: AdapterChoice[];
}

/** One tuned model. */
export interface AdapterChoice {
  key: string;
  name: string;
  /** Tuned or brought by this page */
  own: boolean;
}

/** What can be added to a model, and what is. */
export interface AddonsView {
  loras: string[];
  motions: string[];
  pictures: string[];
  readers: string[];
  chosen: Weighted[];
  time?: number;
}

/** A file that is added to a model. */
export interface Weighted {
  name: string;
  weight: number;
}

/** A page whose clip is not there any more. */
export interface CanvasGone {
  note: string;
  gone: true;
  alarm: true;
}

/** The open clip and its masks. */
export interface CanvasView {
  id: string;
  /** Of the masks */
  rev: number;
  clip: ClipView;
  /** Masks by frame and label */
  changes: Record<string, Record<string, MaskView>>;
  /** By frame, the revision of masks that have changed and are not among the changes */
  wanting: Record<string, number>;
  /** By label, what a region is on each frame: `canvas/cells.js` */
  lanes: Record<string, string>;
  labels: number[];
  /** By label, which model finds its masks */
  finders: Record<string, string>;
  who: MaskFinders;
  /** Pixels by label */
  feathers: Record<string, number>;
  /** Labels to be tracked */
  stale: number[];
  /** The number of the tracking under way; 0 for none */
  tracking: number;
  /** How far tracking is: frames done and in all, seconds left, the frame that was tracked last */
  followed: number[] | null;
  /** First frames of shots; None while nobody has looked */
  found: number[] | null;
  /** Nonces of acts that are answered */
  acknowledged: number[];
  /** None leaves what is said */
  note: string | null;
  alarm: boolean;
  undo: boolean;
  redo: boolean;
  /** The note says so of a mask: a box would help */
  unsure?: boolean;
  /** The frame to go to */
  go?: number;
  /** How the picture of a region is cut out, in answer to an act about it */
  cutting?: Cutting;
  /** Lengths of the runs of the mask that a click would make, in answer to `preview` */
  preview?: string;
  gone?: null;
}

/** The open clip. */
export interface ClipView {
  title: string;
  /** Whether a visitor brought it */
  own: boolean;
  /** Whether it is a drawing, as the built-in model makes them */
  drawn: boolean;
  /** Of the file that frames were taken of: their number in all, the first, and every how manyth */
  total: number;
  start: number;
  stride: number;
  folder: string;
  count: number;
  /** In pixels of the copy that is shown */
  width: number;
  height: number;
  /** Of the clip itself, as people read it */
  size: string;
  fps: number;
  /** Frames that a clip may have */
  most: number;
  /** Of a stroke */
  most_places: number;
  /** Frames whose masks may be asked for at once */
  most_masks: number;
  strip: string;
  /** Whether a result ships with it */
  made: boolean;
}

/** The mask of a region on a frame. */
export interface MaskView {
  /** Lengths of runs, outside first; see `canvas/outline.js` */
  runs: string;
  /** [x, y, whether it belongs to the region] */
  points: number[][];
  key: boolean;
  /** Title of the model that found it */
  by: string;
}

/** Who finds masks, and who follows them. */
export interface MaskFinders {
  choices: FinderView[];
  trackers: TrackerView[];
  tracker: string;
  usual: string;
}

/** Who follows masks. */
export interface TrackerView {
  name: string;
  title: string;
}

/** Who finds masks. */
export interface FinderView {
  name: string;
  title: string;
  cost: string;
  hint: string;
  /** Whether it is quick enough to show a mask before the click */
  previews: boolean;
}

/** How the picture of a region is cut out. */
export interface Cutting {
  label: number;
  /** The picture that it is cut out of */
  whole: string;
  /** What lies over the rest of it; empty if all is used */
  veil: string;
  points: [number, number, number][];
}

/** What the cards say. */
export interface CardsView {
  id: string;
  have: number;
  source_prompt: string;
  prompt: string;
  negative_prompt: string;
  /** Label of the region of all that no other covers; 0 for none */
  rest: number;
  /** Why the model looks at no pictures, empty if it does; None leaves what is known */
  blind: string | null;
  full: boolean;
  regions: RegionCard[];
  /** Another number each time that the words replace what was typed */
  anew?: number;
  /** Whether the model is told what to do, not what is seen in the end */
  instructs?: boolean;
  /** Some things that it can draw, where that is known */
  drawn?: string[];
}

/** What is said of a region. */
export interface RegionCard {
  label: number;
  name: string;
  color: string;
  source: string;
  prompt: string;
  negative: string;
  /** 0 to 1 */
  strength: number;
  /** None for the usual one */
  picture_scale: number | null;
  /** Pixels around its mask */
  margin: number;
  picture: string;
}

/** Remarks at the fields. */
export interface ChecksView {
  /** The number of the press of Run that found it; 0 for none */
  pressed: number;
  focus: string;
  remarks: Remark[];
}

/** What is said at a field. */
export interface Remark {
  field: string;
  text: string;
  hint: boolean;
  offers: string[];
  words: UnknownWord[];
}

/** A word that the model does not know, and those near it. */
export interface UnknownWord {
  word: string;
  near: string[];
}

/** Control networks, and a frame as one would see it. */
export interface ControlView {
  kinds: string[];
  models: string[];
  text: string;
  picture: string;
}

/** A file to be saved, or why it could not be made. */
export interface DownloadView {
  path?: string;
  name?: string;
  failed?: string;
  time?: number;
}

/** The line that fetches a published SAM. */
export interface FetchView {
  state: "offer" | "busy" | "failed" | "done";
  title: string;
  note?: string;
  size?: number;
  done?: number;
  total?: number;
}

/** Where a run works. */
export interface FocusView {
  /** Of the clip */
  id: string;
  /** Auto, on, each, off or boxes */
  how: string;
  /** Whether any region becomes something else */
  edits: boolean;
  /** None where the whole frame is edited */
  boxes: FocusBox[];
  /** By label */
  margins: Record<string, [number, number]>;
}

/** One box that a run works in. */
export interface FocusBox {
  /** As `focus` takes it */
  path: string;
  /** Its region; 0 for all */
  label: number;
  /** How many times larger the model sees what is in it */
  gain: number;
}

/** The examples. */
export interface GalleryView {
  chosen: string | null;
  items: ExampleView[];
  /** Megabytes that a clip of one's own may have */
  clip_mb: number;
  project_mb: number;
}

/** Why a file cannot be opened; the examples stay as they are. */
export interface GalleryFailed {
  failed: string;
  time: number;
}

/** An example: its frames before and after, its videos. */
export interface ExampleView {
  name: string;
  title: string;
  picture: string;
  after: string;
  videos: string[];
  change: string;
  hint: string;
}

/** Whether the server knows the page, what it may go on with, and what it has to be told. */
export interface HeaderView {
  known: boolean;
  offer?: string;
  notice?: string;
}

/** The runs of the page, and the keys of those that are shown. */
export interface HistoryView {
  shown: string[];
  runs: PastRunView[];
  note: string;
}

/** A run that ended well. */
export interface PastRunView {
  key: string;
  title: string;
  facts: string;
  text: string;
  picture: string;
  /** Its title; empty for the one that is open */
  clip: string;
  /** Whether it is a try, which is shown in its place in the clip */
  still: boolean;
}

/** Models that may be fetched from the hub. */
export interface HubView {
  state: "idle" | "asked" | "fetching" | "stopped" | "error" | "done";
  id: string;
  text: string;
  share?: number;
  /** None leaves those that are shown */
  models?: ListingView[];
  /** Where files are sent that are dropped; "" for nowhere */
  drop?: string;
  /** What this machine is */
  here?: string;
  turn?: number;
}

/** A published model, and what is known of it before it is fetched. */
export interface ListingView {
  id: string;
  title?: string;
  /** What it is good for */
  good?: string;
  licence?: string;
  /** Of what is fetched */
  size?: string;
  /** That it takes on a graphics card */
  memory?: string;
  /** Whether it fits here, and how long it takes */
  here?: string;
}

/** Pictures while a run goes on, of some frames. */
export interface LiveView {
  /** What the frames are, for whom sees them */
  caption: string;
  frames: string[];
  indices: number[];
  heat: HeatStrip[];
}

/** Attention on a region's words, as heat over the frames. */
export interface HeatStrip {
  name: string;
  caption: string;
  color: string;
  label: number;
  frames: string[];
}

/** The falling loss of a tuning. */
export interface LossesView {
  total: number;
  text: string;
  /** [step, loss] */
  dots: number[][];
  line: number[][];
}

/** The choice of a method. */
export interface MethodsView {
  chosen: string;
  methods: MethodView[];
  /** By name, why the chosen model cannot be used with a method; None leaves what is known */
  lacks: Record<string, string> | null;
  changes: ChangeView[];
}

/** A kind of change, and the example that shows it. */
export interface ChangeView {
  name: string;
  title: string;
  example: string;
}

/** A method: what it does and uses. */
export interface MethodView {
  name: string;
  title: string;
  paper: string;
  say: string;
  regions: "needed" | "taken" | "ignored";
  source_prompt: boolean;
  several: boolean;
  binds: boolean;
  /** Names of its inputs */
  uses: string[];
  /** Names of what it changes well */
  changes: string[];
}

/** A sentence. */
export interface NoticeView {
  text: string;
  /** Address that copies the Space of the page; "" elsewhere */
  duplicate?: string;
}

/** The source clip beside its edits. */
export interface PlayerView {
  source: string;
  edits: EditView[];
  reconstruction: string | null;
  width: number;
  height: number;
  frames: number;
  fps: number;
  /** What the two videos are called where edits are compared */
  names: string[] | null;
  unfinished?: string;
  caption?: string;
  note?: string;
  /** A try of one frame: its picture, and which frame it is */
  still?: string;
  at?: number;
  /** Whether a run begins: what is shown stays */
  begins?: boolean;
}

/** A video of an edit, and its prompt. */
export interface EditView {
  prompt: string;
  path: string;
}

/** How far a run is. */
export interface ProgressView {
  state: "running" | "stopped" | "error" | "done";
  text: string;
  detail: string;
  stages: StageBar[];
  windows?: WindowsBar;
  /** Whether it waits for its turn */
  asked?: boolean;
  /** That an error is about */
  field?: string;
  time?: number;
}

/** A stage of a run. */
export interface StageBar {
  name: string;
  share: number;
  now: boolean;
  long: boolean;
}

/** How many windows of a run are done, and which share of all work. */
export interface WindowsBar {
  text: string;
  done: number;
  share: number;
}

/** The composed prompts in pieces. */
export interface PromptView {
  prompts: PromptPiece[][];
}

/** A piece of a prompt; those of a region carry its label. */
export interface PromptPiece {
  text: string;
  label?: number;
  color?: string;
  kept?: boolean;
}

/** The choice of a quality. */
export interface QualityView {
  chosen: string;
  qualities: QualityChoice[];
}

/** One quality. */
export interface QualityChoice {
  name: string;
  title: string;
  detail: string;
  hint: string;
}

/** Runs of the page that wait for the one that goes on. */
export interface QueueView {
  jobs: WaitingRun[];
  note: string;
  time: number;
}

/** A run that waits. */
export interface WaitingRun {
  key: string;
  title: string;
  text: string;
}

/** The projects of this machine. */
export interface RecentView {
  /** In which they stay; "" where nothing does */
  folder: string;
  /** Whether files may be opened by their path */
  paths: boolean;
  any_size: boolean;
  items: RecentProject[];
  failed: string;
  /** Why nothing stays; "" where nothing is to */
  unkept: string;
  time?: number;
}

/** A project of this machine. */
export interface RecentProject {
  key: string;
  title: string;
  picture: string;
  size: string;
  used: string;
  problem: string;
}

/** A result: in plain words, as pictures, to take away. */
export interface ResultView {
  key: string;
  facts: FactView[];
  figures: Figure[];
  attention: AttentionView | null;
  words: WordsView | null;
  areas: AreasView | null;
  warnings: string[];
  whole: string;
  files: ResultFile[];
  makes: FileToMake[];
}

/** An answer to whether the edit worked. */
export interface FactView {
  name: string;
  value: string;
  text: string;
  doubt: boolean;
}

/** A measured figure. */
export interface Figure {
  name: string;
  value: string;
}

/** A file that was written, and the name under which it is saved. */
export interface ResultFile {
  name: string;
  path: string;
  saves: string;
}

/** A file that is made when somebody wants it. */
export interface FileToMake {
  name: string;
  title: string;
  hint: string;
  /** What is being made, said meanwhile */
  kind: string;
}

/** Attention on each word of source and edit. */
export interface WordsView {
  indices: number[];
  source: WordMaps[];
  edit: WordMaps[];
}

/** Attention on a word, as heat over some frames. */
export interface WordMaps {
  word: string;
  frames: string[];
}

/** The area that the edit was kept to. */
export interface AreasView {
  indices: number[];
  steps: AreaStep[];
}

/** That of one step. */
export interface AreaStep {
  step: number;
  frames: string[];
}

/** Maps to be laid over the clip. */
export interface AttentionView {
  heading: string;
  captions: string[];
  indices: number[];
  maps: AttentionMap[];
}

/** The attention on the words of a region. */
export interface AttentionMap {
  name: string;
  caption: string;
  color: string;
  label: number;
  parts: string[];
  /** A column per frame, and two rows per part: before and after */
  sheet: string;
}

/** The parameters of the chosen method, the seed, and what the model predicts. */
export interface SettingsView {
  method: string;
  /** By name */
  parameters: Record<string, Parameter>;
  /** As the fields show them with nothing given but the preset */
  usual: Record<string, number | string | boolean>;
  /** By method, what differs from that */
  given: Record<string, Record<string, number | string | boolean>>;
  /** A number, or what was typed */
  seed: number | string;
  /** When a seed is of use */
  seed_words: string;
  /** It is */
  seeded: boolean;
  /** One of those offered */
  prediction: string;
  /** The model does not say what it predicts */
  silent: boolean;
  variants: number;
  /** Of what was typed, the last that it knows; None: it takes the place of all */
  turn: number | null;
  time: number;
}

/** A parameter of a method, from its one declaration. */
export interface Parameter {
  title: string;
  description: string;
  /** Of its value: boolean, integer, number, string */
  type: string;
  /** The heading below which it stands */
  group: string;
  /** What may be chosen */
  enum?: string[];
  minimum?: number;
  maximum?: number;
  /** Where its slider ends */
  reach?: number;
  /** What may be typed */
  hint?: string;
}

/** What is said of a run before it. */
export interface TriesView {
  text: string;
  long?: boolean;
}

/** The words that the built-in model knows. */
export interface VocabularyView {
  note: string;
  groups: WordGroup[];
}

/** Words under one title. */
export interface WordGroup {
  title: string;
  words: string[];
}

/** The events of components to which the server listens. */
export interface EventNames {
  adapters: "choose" | "rename" | "export";
  addons: "choose";
  canvas: "act" | "hover" | "scan" | "track" | "trim" | "save" | "export";
  cards: "prompts";
  checks: "look";
  control: "look";
  fetch: "fetch" | "stop";
  gallery: "pick" | "open";
  header: "here" | "offer" | "back";
  history: "show" | "compare" | "remove" | "use";
  hub_model: "fetch" | "stop" | "use";
  method: "choose";
  quality: "choose";
  queue: "remove";
  recent: "list" | "open" | "delete" | "path";
  result: "make";
  settings: "preset" | "tuned";
}
