// @ts-check
// The editor of masks: what is known of the open clip, and all that can be done to it, some of it by the parts that
// show it. The server's masks are the truth; points and strokes show at once and wait for it.
import { hub } from "../shared/hub.js";
import { masksToAsk } from "./nearby.js";
import { frameOf, isBrush, progressOf } from "./state.js";

/** @typedef {import("../types").CanvasView} CanvasView */
/** @typedef {import("../types").Place} Place */
/** @typedef {import("../types").Waiting} Waiting */
/** @typedef {import("../types").ActName} ActName */
/** @typedef {import("../types").ActData} ActData */
/** @typedef {[act: ActName, data?: ActData, wait?: Partial<Waiting> | null]} Asked */

/**
 * @typedef {object} Parts
 * @property {HTMLElement} root
 * @property {HTMLElement} chip says what is awaited
 * @property {HTMLElement} still stands where a try of one frame is shown
 * @property {ReturnType<typeof import("./surface.js").makeSurface>} surface
 * @property {ReturnType<typeof import("./note.js").makeNote>} note
 * @property {ReturnType<typeof import("./preview.js").makePreviews>} previews
 * @property {ReturnType<typeof import("./finders.js").makeFinders>} finders
 * @property {ReturnType<typeof import("./mask_files.js").makeMaskFiles>} files
 * @property {ReturnType<typeof import("./mask_tools.js").makeMaskTools>} maskTools
 * @property {ReturnType<typeof import("./timeline.js").makeTimeline>} line
 * @property {ReturnType<typeof import("./focus_box.js").makeFocusBox>} focus
 * @property {ReturnType<typeof import("./refine.js").makeRefine>} refine
 * @property {ReturnType<typeof import("./toolbar.js").makeToolbar>} toolbar
 * @property {ReturnType<typeof import("./bubble.js").makeBubble>} bubble
 */

const PATIENCE = 2000; // milliseconds until masks are asked for again
const MARKS = ["point", "stroke", "box"]; // what goes to the selected region

/** What is known of a clip; at first, of one that has just been opened. */
export class Content {
  /** @type {string | null} */
  id = null;
  /** @type {import("../types").ClipView | null} */
  clip = null;
  rev = -1;
  /** From 0. */
  frame = 0;
  /** By frame and label. @type {(import("../types").MasksOfFrame | undefined)[]} */
  masks = [];
  /** By frame, the revision of those masks. @type {number[]} */
  revs = [];
  /** Frames whose masks have changed since, or are not here yet. @type {Set<number>} */
  wanted = new Set();
  /** By label, what it is on each frame; see cells.js. @type {CanvasView["lanes"]} */
  lanes = {};
  /** @type {(ImageBitmap | null | undefined)[]} */
  bitmaps = [];
  /** Small frames of a long clip. @type {(ImageBitmap | null | undefined)[]} */
  thumbs = [];
  /** Frames on the film. @type {number[]} */
  film = [];
  loaded = 0;
  /** When masks were asked for; 0 once they have come. */
  looking = 0;
  /** Points and strokes the server has not answered. @type {Waiting[]} */
  pending = [];
  /** Number of the wish for a new region, until it is answered. */
  adding = 0;
  /** What was done since. @type {Asked[]} */
  held = [];
  /** Numbers of the acts after which a region's words are shown. @type {Set<number>} */
  marked = new Set();
  /** @type {number[]} */
  labels = [];
  /** Cuts that were found: the first frames of shots, from 0. @type {CanvasView["found"]} */
  found = null;
  /** Whether the server looks for them. */
  scanning = false;
  /** The mask that a click would make. @type {{ begins: boolean, path: Path2D } | null} */
  preview = null;

  /** Return the frames whose masks are to be asked for now; none before an earlier answer. */
  masksDue() {
    const frames = masksToAsk(this);
    if (!frames.length || Date.now() - this.looking < PATIENCE) return [];
    this.looking = Date.now();
    return frames;
  }

  /** @param {number} nonce of the wish for a new region */
  beginRegion(nonce) {
    this.adding = nonce;
  }

  /** Keep what is for a region that is yet to come; return whether it is. @param {Asked} asked */
  holds(...asked) {
    if (!this.adding || !MARKS.includes(asked[0])) return false;
    this.held.push(asked);
    return true;
  }

  /**
   * Return what was held for a new region, once the server has answered the wish for it; nothing if there is none.
   * @param {CanvasView} view the answer
   * @param {number} count regions before it
   */
  released({ acknowledged }, count) {
    if (!this.adding || !acknowledged.includes(this.adding)) return [];
    const held = this.held.splice(0);
    this.adding = 0;
    return this.labels.length > count ? held : [];
  }
}

export class Editor extends Content {
  /** @type {import("../types").Tool} */
  tool = "add";
  /** Of the brush, in pixels of the clip. */
  radius = 12;
  /** Labels to be tracked. @type {number[]} */
  stale = [];
  /** Who can find masks (choices, usual) and follow them. @type {import("../types").MaskFinders | null} */
  who = null;
  tracking = 0;
  stopping = false;
  /** Where tracking began and to which frame it has led. @type {{ from: number, at: number } | null} */
  led = null;
  /** @type {CanvasView["followed"] | null} */
  followed = null;
  /** Being drawn. @type {import("../types").Stroke | null} */
  stroke = null;
  /** Being drawn. @type {import("../types").Box | null} */
  box = null;
  /** @type {Place | null} */
  hover = null;
  /** Moved by keys. @type {Place | null} */
  cursor = null;
  /** The timer that plays the clip; 0 while it stands. */
  playing = 0;
  hide = false;
  /** Whether a mask was made whose words nobody has seen. */
  owesWords = false;
  /** Pixels of the screen in one of the clip, of the whole picture. */
  fitted = 1;
  /** The same, magnified. */
  scale = 1;
  /** A try of one frame. @type {{ frame: number, picture: HTMLImageElement } | null} */
  still = null;
  undo = false;
  redo = false;
  /** By label. @type {Record<string, string>} */
  finders = {};
  /** By label. @type {Record<string, number>} */
  feathers = {};
  /** Those that are painted. @type {Record<string, number>} */
  painted = {};
  /** To be called when other frames are needed. */
  load = () => {};
  #nonce = 0;
  #trigger;

  /**
   * @param {import("../types").Trigger<"canvas">} trigger
   * @param {(editor: Editor) => Parts} layOut makes what shows it
   */
  constructor(trigger, layOut) {
    super();
    this.#trigger = trigger;
    this.parts = layOut(this);
  }

  /**
   * Send an act to the server.
   * @param {ActName} act
   * @param {ActData} [data]
   * @param {Partial<Waiting> | null} [wait] what is shown until it is answered
   */
  ask(act, data = {}, wait = null) {
    if (this.id === null) {
      this.say("Open a clip first.", true);
      return;
    }
    if (hub.lost) {
      this.say("The server is away: nothing can be changed until it is back.", true);
      return;
    }
    if (this.holds(act, data, wait)) return;
    this.#nonce += 1;
    const nonce = this.#nonce;
    if (act === "add") {
      this.beginRegion(nonce);
      if (this.tool === "erase" || this.tool === "remove") this.choose("add"); // there is nothing to take away
    }
    const { id, rev: have, frame } = this;
    const label = hub.active;
    if (wait) this.pending.push({ nonce, frame, label, ...wait });
    // A stroke on a region that has its words only mends its mask.
    const hasWords = hub.regions.some((region) => region.label === label && region.prompt.trim());
    if (MARKS.includes(act) && !(act === "stroke" && hasWords)) this.marked.add(nonce);
    const said = { act, id, have, nonce, frame, label, ...data };
    if (act === "preview") {
      this.#trigger("hover", said); // nothing here looks different
      return;
    }
    this.#trigger("act", said);
    this.refresh();
    this.draw();
  }

  /** Send what was held for a new region; parameters as of `released`. @param {CanvasView} view @param {number} count */
  release(view, count) {
    for (const asked of this.released(view, count)) this.ask(...asked);
  }

  /** Ask for masks that are about to be shown and not here, one question at a time. */
  look() {
    const frames = this.masksDue();
    if (frames.length) this.ask("look", { wanted: frames });
  }

  /** Follow the regions through the clip, or stop that. */
  track() {
    if (this.tracking) {
      this.led = null;
      this.stopping = true;
      this.ask("stop");
    } else if (this.clip) {
      this.play(false);
      this.tracking = -1;
      this.refresh();
      this.#trigger("track", { id: this.id, have: this.rev, frame: this.frame });
    }
  }

  /** @param {number} frame */
  go(frame) {
    if (!this.clip) return;
    const { still, line } = this.parts;
    this.frame = frameOf(this, frame);
    still.hidden = this.still?.frame !== this.frame;
    this.load();
    this.look();
    this.draw();
    line.draw();
    this.refresh();
  }

  /** @param {boolean} on */
  play(on) {
    clearInterval(this.playing);
    const { clip } = this;
    const next = () => clip && this.go((this.frame + 1) % clip.count);
    this.playing = on && clip ? setInterval(next, 1000 / clip.fps) : 0;
    this.refresh();
    this.parts.line.playing(Boolean(this.playing));
    this.draw();
  }

  /** Show what may be done now, and what is awaited. */
  refresh() {
    const { root, chip, toolbar, finders, maskTools, refine, focus, bubble } = this.parts;
    const asking = this.pending.length > 0;
    for (const part of [toolbar, finders, maskTools, refine, focus, bubble]) part.refresh();
    chip.hidden = !asking && !(this.tracking > 0);
    chip.textContent = asking ? "Finding the mask" : progressOf(this.followed);
    root.dataset.tracking = String(Boolean(this.tracking));
  }

  /** Draw the frame with its masks, once for all that has changed. */
  draw() {
    this.parts.surface.draw();
  }

  /** Return the shapes of the masks on the frame that is shown. */
  shapes() {
    return this.parts.surface.shapes();
  }

  /** @param {import("../types").Tool} tool */
  choose(tool) {
    this.parts.toolbar.choose(tool);
    this.showWords();
  }

  /** Show the words of a region that has been given a mask; while a brush is held, they wait: it goes on beside it. */
  showWords() {
    if (!this.owesWords || isBrush(this.tool)) return;
    this.owesWords = false;
    this.parts.bubble.open();
  }

  /** Put the tool down and let the chosen region go: the next click begins one. */
  letGo() {
    this.stroke = null;
    this.box = null;
    this.cursor = null;
    this.owesWords = false;
    this.parts.bubble.close();
    this.choose("add");
    if (hub.active) hub.tell("choose", 0);
  }

  /** @param {number} radius of the brush */
  resize(radius) {
    this.parts.toolbar.resize(radius);
  }

  /** @param {string} text without one, what a click does now @param {boolean} [alarm] */
  say(text, alarm) {
    this.parts.note.say(text, alarm);
  }

  /** The mouse has moved over the picture, or left it. */
  hovered() {
    this.parts.note.hintAnew();
    this.parts.previews.hovered();
  }
}
