// @ts-check
// The frame with its masks, and everything around it.
import { icon, isStacked, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { makeFinders } from "./canvas/finders.js";
import { makeLoader } from "./canvas/frames.js";
import { makeHelp } from "./canvas/help.js";
import { listenToKeys } from "./canvas/keyboard.js";
import { makeMaskFiles } from "./canvas/mask_files.js";
import { makeMaskTools } from "./canvas/mask_tools.js";
import { watchPointer } from "./canvas/pointer.js";
import { accept, frameOf, newContent, newEditor, progressOf, selection } from "./canvas/state.js";
import { makeSurface } from "./canvas/surface.js";
import { goAlong, makeAsk, makeLook, makeNote, makeTrack, release } from "./canvas/talk.js";
import { makeTimeline } from "./canvas/timeline.js";
import { makeToolbar } from "./canvas/toolbar.js";
import { makeTrim } from "./canvas/trim.js";

/** @typedef {import("./types").Editor} Editor */
/** @typedef {import("./types").CanvasView} CanvasView */
/** @typedef {import("./types").Trigger<"canvas">} Trigger */
/** @typedef {ReturnType<typeof lay>} Parts */

// Frames of a clip in which cuts are sought: of examples, which are short and of one shot, only long ones.
const LEAST_SCANNED = 8;
const LEAST_SCANNED_OF_EXAMPLE = 24;
const SCAN_AFTER = 600; // milliseconds
const BRUSH = 1 / 28; // of the longer side of a clip

const makeDrop = () => {
  const about = { className: "rg-drop", type: "button", onclick: () => hub.tell("open") };
  const title = make("strong", {}, "Drop a clip here, or choose one");
  const hint = make("span", {}, "mp4, mov, webm, gif, or a project saved as zip");
  return make("button", about, icon("open"), title, hint);
};

/**
 * Lay out the editor, and give it what its parts can do.
 * @param {Editor} editor
 * @param {Trigger} trigger
 */
const lay = (editor, trigger) => {
  const surface = makeSurface(editor);
  const heard = make("p", { className: "rg-heard", ariaLive: "polite" });
  const note = makeNote(editor);
  const chip = make("span", { className: "rg-chip", hidden: true }, "Finding the mask");
  editor.ask = makeAsk(editor, trigger);
  editor.track = makeTrack(editor, trigger);
  editor.look = makeLook(editor);
  const toolbar = makeToolbar(editor, surface, heard);
  const finders = makeFinders(editor);
  const files = makeMaskFiles(editor, trigger);
  const maskTools = makeMaskTools(editor, files.node);
  const line = makeTimeline(editor);
  const help = makeHelp();
  const below = make("div", "rg-below", note, finders.node);
  const parts = [toolbar.node, surface.node, below, finders.cost, maskTools.node, line.node];
  const root = make("div", "rg-editor", makeTrim(), ...parts, heard, help, files.dialog);
  surface.node.append(chip);
  Object.assign(root, { editor }); // for tests
  editor.refresh = () => {
    const asking = editor.pending.length > 0;
    toolbar.refresh();
    finders.refresh();
    maskTools.refresh();
    chip.hidden = !asking && !(editor.tracking > 0);
    chip.textContent = asking ? "Finding the mask" : progressOf(editor.followed);
    root.dataset.tracking = String(Boolean(editor.tracking));
  };
  const showHelp = () => help.showModal();
  hub.on("help", showHelp);
  watchPointer(editor, surface.canvas);
  listenToKeys(editor, root, surface.canvas, showHelp);
  editor.choose("add");
  return { editor, root, surface, line, bars: [toolbar.node, maskTools.node] };
};

/** @param {Parts} parts */
const addPlaying = ({ editor, line }) => {
  editor.go = (frame) => {
    if (!editor.clip) return;
    editor.frame = frameOf(editor, frame);
    editor.load();
    editor.look();
    editor.draw();
    line.draw();
    editor.refresh();
  };
  editor.play = (on) => {
    clearInterval(editor.playing);
    const { clip } = editor;
    const next = () => clip && editor.go((editor.frame + 1) % clip.count);
    editor.playing = on && clip ? setInterval(next, 1000 / clip.fps) : 0;
    line.playing(Boolean(editor.playing));
    editor.draw();
  };
};

/**
 * Do what other components say.
 * @param {Parts} parts
 * @param {Trigger} trigger
 */
const listenToPage = ({ editor, surface, line, bars }, trigger) => {
  const redraw = () => {
    surface.forget();
    line.draw();
  };
  hub.on("regions", () => {
    editor.hintAnew();
    redraw();
  });
  hub.on("choose", (label) => {
    hub.active = label;
    editor.say("");
    redraw();
    editor.refresh();
  });
  hub.on("method", (method) => {
    for (const bar of bars) bar.inert = method?.regions === "ignored";
    line.draw();
  });
  hub.on("written", (said) => {
    Object.assign(hub.written, said);
    line.draw();
  });
  hub.on("act", ({ act, ...data }) => editor.ask(act, data));
  hub.on("trim", (part) => trigger("trim", part));
  hub.on("wrote", () => {
    line.draw();
    trigger("written", {});
  });
  hub.on("save", () => trigger("save", {}));
  hub.on("stage", (name) => {
    if (name === "masks") requestAnimationFrame(surface.fit);
    else editor.play(false);
  });
};

/**
 * Ask for the cuts of the clip that is open, once it can be worked on.
 * @param {Editor} editor
 * @param {import("./types").Clip} clip
 * @param {Trigger} trigger
 */
const askForCuts = (editor, clip, trigger) => {
  const { id, found } = editor;
  const least = clip.own ? LEAST_SCANNED : LEAST_SCANNED_OF_EXAMPLE;
  editor.scanning = found === null && clip.count >= least;
  if (!editor.scanning) return;
  setTimeout(() => {
    if (editor.id === id) trigger("scan", { id, have: editor.rev });
  }, SCAN_AFTER);
};

/** @param {Parts} parts @param {CanvasView} view */
const openClip = ({ editor, surface, line }, { id, clip, tracking }) => {
  editor.play(false);
  for (const bitmap of [...editor.bitmaps, ...editor.thumbs]) bitmap?.close();
  Object.assign(editor, { id, clip, ...newContent() });
  hub.hidden.clear();
  surface.forget();
  editor.resize(Math.max(clip.width, clip.height) * BRUSH);
  editor.load = makeLoader(editor, clip, (frame) => {
    if (frame === editor.frame) editor.draw();
    line.film();
  });
  editor.load();
  surface.fit();
  hub.clip = clip;
  hub.tell("clip", clip);
  showStage(clip.made && !tracking ? "edit" : "masks");
};

/** @param {Editor} editor @param {string} note */
const showLost = (editor, note) => {
  Object.assign(editor, { pending: [], held: [], adding: 0, tracking: 0 });
  editor.say(note, true);
  editor.refresh();
  editor.draw();
  hub.tell("lost");
};

// Bring what was opened into view, with all that stands around it; a clip of one's own where columns are stacked.
const bringIntoView = ({ surface }, clip) => {
  requestAnimationFrame(() => {
    surface.fit();
    const tabs = document.querySelector("#tabs");
    if (clip.own && isStacked()) tabs?.scrollIntoView({ block: "start" });
  });
};

/** @param {Parts} parts @param {CanvasView} value */
const redrawMasks = ({ editor, surface }, value) => {
  const same = JSON.stringify(value.feathers) === JSON.stringify(editor.painted);
  editor.painted = value.feathers;
  surface.forget(same ? Object.keys(value.changes) : undefined);
};

/**
 * Say what the view says: below the frame, at a field, or by going to a frame.
 * @param {Editor} editor
 * @param {CanvasView} value
 */
const sayAndGo = (editor, value) => {
  if (value.note !== null) {
    editor.say(value.note, value.alarm);
    hub.tell("noted", value);
  }
  if (value.field) hub.tell("wrong", value);
  if (value.go !== undefined) editor.go(value.go);
  goAlong(editor);
};

/** @param {Parts} parts @param {CanvasView} value @param {Trigger} trigger */
const showView = (parts, value, trigger) => {
  const { editor, line } = parts;
  const fresh = value.id !== editor.id;
  const before = editor.labels;
  if (fresh) openClip(parts, value);
  if (!accept(editor, value)) {
    release(editor, value, before.length);
    editor.refresh();
    line.draw();
    return;
  }
  if (fresh) {
    askForCuts(editor, value.clip, trigger);
    if (editor.tracking > 0) trigger("track", { id: editor.id, have: editor.rev, again: true });
    bringIntoView(parts, value.clip);
  }
  editor.looking = 0;
  editor.look();
  redrawMasks(parts, value);
  const active = selection(before, editor.labels, hub.active, fresh);
  if (active !== hub.active) hub.tell("choose", active);
  release(editor, value, before.length);
  sayAndGo(editor, value);
  editor.refresh();
  line.draw();
  hub.tell("masks");
};

/** @type {import("./types").Mount<"canvas">} */
export function mount(element, props, trigger, watch) {
  const editor = newEditor();
  hub.editor = editor;
  const parts = lay(editor, trigger);
  const drop = makeDrop();
  element.replaceChildren(drop, parts.root);
  addPlaying(parts);
  listenToPage(parts, trigger);
  follow(props, watch, (value) => {
    parts.root.hidden = !value && !editor.clip;
    drop.hidden = !parts.root.hidden;
    if (!value) return;
    if (value.gone) showLost(editor, value.note);
    else showView(parts, value, trigger);
  });
}
