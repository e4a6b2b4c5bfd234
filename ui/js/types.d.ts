// What the page tells the server, and what its components share; what the server sends is in `views.d.ts`.
// Nothing here is served.
import type {
  CanvasView,
  CardsView,
  ClipView,
  Cutting,
  DownloadView,
  EventNames,
  FocusView,
  LiveView,
  MaskFinders,
  MaskView,
  MethodView,
  PlayerView,
  Views,
  Weighted,
} from "./views";

export * from "./views";

// ---------------------------------------------------------------- Components

/** Draws a component; Gradio gives each its element, its value and the ways to send and to be told. */
export type Mount<Name extends keyof Views> = (
  element: HTMLElement,
  props: { value: Views[Name] },
  trigger: Trigger<Name>,
  watch: Watch,
) => void;

/** Sends an event of a component to the server. */
export type Trigger<Name> = Name extends keyof Events
  ? <Event extends keyof Events[Name]>(event: Event, data: Events[Name][Event]) => void
  : (event: never) => void;

/** Calls back whenever the server has changed a property. */
export type Watch = (property: "value", changed: () => void) => void;

type Nothing = Record<string, never>;

// ---------------------------------------------------------------- What the server is told

/** The events of each component, and their data. */
export interface Events {
  adapters: { choose: { key: string }; export: { key: string }; rename: { key: string; name: string } };
  addons: { choose: { added: Weighted[] } };
  canvas: {
    act: Act;
    hover: Act;
    scan: OfClip;
    track: OfClip & { frame?: number; again?: true };
    trim: { start: number; stride: number; frames: number };
    export: OfClip & { form: "png" | "coco" | "mkv" | "mp4" };
    save: Nothing;
  };
  cards: { prompts: Nothing };
  checks: { look: Nothing };
  control: { look: { kind: string; id: string | null | undefined; frame: number } };
  fetch: { fetch: Nothing; stop: Nothing };
  gallery: { pick: { name: string }; open: { path: string; name: string } };
  header: {
    /** A sign of life. */
    here: Nothing;
    /** Say what the page of this name holds, to go on with it here. */
    offer: { page: string };
    /** Bring back what this page had. */
    back: { gone: boolean; typed: CardsSaying | null };
  };
  history: {
    show: { key: string };
    compare: { a: string; b: string };
    remove: { key: string };
    use: { key: string };
  };
  hub_model: { fetch: { id: string }; use: { id: string }; stop: Nothing };
  method: { choose: { name: string; before: string } };
  quality: { choose: { name: string } };
  queue: { remove: { key: string } };
  recent: { list: Nothing; open: { key: string }; delete: { key: string }; path: { place: string } };
  result: { make: { key: string; name: string } };
  settings: { preset: { preset: string }; tuned: Nothing };
}

/** The clip that the page has open, and the revision of the masks it knows. */
export interface OfClip {
  id: string | null;
  have: number;
}

/** Both fail to check where the server listens to other events than these. */
type InNames<Names extends EventNames> = Names;
type InEvents<Names extends { [Component in keyof Events]: keyof Events[Component] }> = Names;
export type AllAreHeard = InNames<{ [Component in keyof Events]: keyof Events[Component] }>;
export type AllAreTold = InEvents<EventNames>;

/** One act on the masks or the regions; see `ui/handlers/masking.py`. */
export interface Act extends OfClip {
  act: ActName;
  /** Number by which the answer acknowledges it. */
  nonce: number;
  frame: number;
  label: number;
  at?: Place;
  inside?: boolean;
  begins?: boolean;
  path?: Place[] | string;
  radius?: number;
  erase?: boolean;
  from?: Place;
  to?: Place;
  how?: string;
  kind?: string;
  pixels?: number;
  all?: boolean;
  by?: string;
  other?: number;
  points?: ClickOn[];
  wanted?: number[];
  cards?: CardsSaying;
}

export type ActName =
  | "add"
  | "box"
  | "clear"
  | "delete"
  | "feather"
  | "focus"
  | "find"
  | "look"
  | "preview"
  | "picture"
  | "point"
  | "redo"
  | "reshape"
  | "rest"
  | "stop"
  | "stroke"
  | "tracker"
  | "undo"
  | "unpoint";

/** The further data of an act. */
export type ActData = Partial<Omit<Act, "act" | "nonce">>;

/** In pixels of the clip, [x, y]. */
export type Place = number[];

/** What the cards say; also the value that a run reads. */
export interface CardsSaying {
  id: string | null;
  have: number;
  /** "quick" for a try of one frame; "" for a whole run. */
  attempt: string;
  /** Which frame is tried, from 0. */
  attempt_frame: number;
  source_prompt: string;
  prompt: string;
  negative_prompt: string;
  regions: RegionWords[];
}

/** What a person says of a region. */
export interface RegionWords {
  label: number;
  name: string;
  color: string;
  source: string;
  prompt: string;
  negative: string;
  /** Pixels around its mask. */
  margin: number;
  /** 0 to 1. */
  strength: number;
  /** None where the region has no picture. */
  picture_scale?: number | null;
}

/** A region as the page holds it. */
export interface Region extends RegionWords {
  picture?: string | null;
}

export type MasksOfFrame = Record<string, MaskView>;

/** A click on a picture: x and y, 0 to 1 of its sides, and 1 on the thing, 0 beside it. */
export type ClickOn = Cutting["points"][number];

// ---------------------------------------------------------------- What components share and tell each other

export type Hub = import("./shared/hub.js").Hub;

/** Data by the name of what is told. */
export interface Told {
  /** Show the last try again, in its place in the clip. */
  again: void;
  act: { act: ActName; label: number; cards: CardsSaying } & Partial<Act>;
  add: void;
  attempt: void;
  /** A run was asked for that makes nonsense. */
  blocked: void;
  /** Other settings are chosen. */
  chosen: void;
  /** Take the words from the picture. */
  close: void;
  /** The pictures of the examples are there. */
  examples: void;
  /** Whether the picture has the screen alone. */
  full: boolean;
  compare: Player["mode"];
  edits: number;
  focus: FocusView | null;
  live: LiveView | null;
  margin: { label: number; margin: number };
  /** The picture is pressed. */
  pressed: void;
  rest: void;
  running: boolean;
  /** Words of a region are typed. */
  said: void;
  /** Open the card of a region. */
  show: number;
  still: { picture: string; frame: number };
  try: void;
  /** Show the settings. */
  unfold: void;
  view: void;
  choose: number;
  clip: ClipView;
  /** The menu of clips opens or closes. */
  clips: void;
  /** What is being opened. */
  opening: string;
  /** It could not be opened. */
  unopened: void;
  /** A recent project or a file of this machine was opened. */
  opened: void;
  frame: number;
  help: void;
  /** The server ended while a run went on. */
  interrupted: void;
  kept: void;
  look: void;
  lost: void;
  made: DownloadView;
  masks: void;
  method: MethodView;
  models: void;
  noted: CanvasView;
  offer: { title: string; goOn: () => void };
  open: void;
  /** A region without a picture was given one. */
  pictured: void;
  regions: void;
  save: void;
  stage: Stage;
  trim: Events["canvas"]["trim"];
  trimming: void;
  written: Partial<Written>;
  /** Take files of weights, or let a person choose one. */
  weights: FileList | null;
  wrote: void;
}

export type Deck = import("./cards/deck.js").Deck;

export interface Card {
  card: HTMLElement;
  region: Region;
  words: { node: HTMLElement; home: () => void };
  /** Show what few need of it, or its line alone. */
  open(on: boolean): void;
  /** Show the region's picture as the server says it. */
  show(picture: string | null | undefined): void;
  draw(): void;
  /** Say what the server answers. */
  note(told: CanvasView): void;
}

export type Stage = "masks" | "edit";

/** How the clip is looked at. */
export type Look = "masks" | Player["mode"];

/** How much a picture is magnified, and where its upper left corner lies, in shares of its sides. */
export interface View {
  zoom: number;
  x: number;
  y: number;
}

/** Texts of the fields that marks of the timeline write. */
export type Written = Record<"keyframes" | "cuts", string>;

export type Editor = import("./canvas/editor.js").Editor;

export type Tool = "add" | "remove" | "box" | "brush" | "erase";

/** What a click does: `known` is a point it takes back, `hit` the region it chooses. */
export interface Aim {
  does: "add" | "begin" | "choose" | "nothing" | "remove" | "unpoint";
  known?: number[];
  hit?: number;
}

/** A kind of marks below the film strip: what the field says, how it is written, what marks look like and are called. */
export interface MarkKind {
  field: keyof Written;
  /** Null where there is no clip. */
  read(editor: Editor): MarksRead | null;
  write(editor: Editor, frames: number[]): string;
  row: string;
  mark: string;
  /** 0.5 for marks of frames, 0 for those of their beginnings. */
  middle: number;
  /** The last frame that may be marked, from 1. */
  last(count: number): number;
  where: string;
  name: string;
  /** What marking a frame is called. */
  act: string;
  title: string;
  icon: "cut" | "key";
  hint: string;
  hintOfMark: string;
  hintOfFixed: string;
}

export interface MarksRead {
  kind: string;
  frames: number[];
  /** Said in place of marks; "" where marks are shown. */
  quiet: string;
  hidden?: boolean;
  total(marked: number): string;
  /** Whether a frame's mark may be changed. */
  loose(frame: number): boolean;
}

/** A row of marks. */
export interface MarkRow {
  node: HTMLElement;
  track: HTMLElement;
  marks: HTMLElement;
  quiet: HTMLElement;
  count: HTMLElement;
  toggle: HTMLButtonElement;
  kind: MarkKind;
  /** Frames whose marks are shown. */
  shown: number[];
  /** A mark that is being dragged, the frames before and now. */
  moving: { from: number; frames: number[]; before: number[] } | null;
  draw(): void;
  change(frames: number[]): void;
  /** Mark a frame, the one that is shown without it, or no longer. */
  toggleAt(frame?: number): void;
}

/** The source clip beside its edits. */
export interface Player {
  value: PlayerView;
  mode: "side" | "wipe" | "flip";
  /** Which edit is compared. */
  chosen: number;
  rebuilt: (Pane & { on: boolean }) | null;
  root: HTMLElement;
  stage: HTMLElement;
  source: Pane;
  edits: Pane[];
  /** The preview of a run. */
  coming: HTMLElement;
  /** Show what is chosen. */
  look?(): void;
  play: HTMLButtonElement;
  seek: HTMLInputElement;
  count: HTMLElement;
  /** Timer of the next look at the videos. */
  due?: number;
}

export interface Pane {
  box: HTMLElement;
  node: HTMLVideoElement;
  title: string;
}

/** What shows until the server has answered. */
export interface Waiting {
  nonce: number;
  frame: number;
  label: number;
  point?: number[];
  path?: Place[];
  radius?: number;
  erase?: boolean;
  box?: { from: Place; to: Place };
}

/** By label, the margin that a card begins with and the one that a run in a box has, until somebody changes it. */
export type Margins = FocusView["margins"];

export interface Stroke {
  path: Place[];
  radius: number;
  erase: boolean;
  frame: number;
  label: number;
}

export interface Box {
  from: Place;
  to: Place;
  how: string;
  /** Whether keys draw it: its other corner is the cursor. */
  held?: boolean;
}

declare global {
  interface Window {
    gradio_config: { root: string; api_prefix: string; app_id: number; dependencies: { inputs: number[] }[] };
  }
}
