// @ts-check
// The frame with its masks, and everything around it.
import { button, icon, isStacked, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { watchLooking, fitView } from "./shared/looking.js";
import { makeBubble } from "./canvas/bubble.js";
import { makeFinders } from "./canvas/finders.js";
import { makeFocusBox } from "./canvas/focus_box.js";
import { makeLoader } from "./canvas/frames.js";
import { makeHelp } from "./canvas/help.js";
import { listenToKeys } from "./canvas/keyboard.js";
import { makeMaskFiles } from "./canvas/mask_files.js";
import { makeMaskTools } from "./canvas/mask_tools.js";
import { watchPointer } from "./canvas/pointer.js";
import { makePreviews } from "./canvas/preview.js";
import { accept, frameOf, newContent, newEditor, progressOf, selection } from "./canvas/state.js";
import { makeSurface } from "./canvas/surface.js";
import { goAlong, makeAsk, makeLook, makeNote, makeTrack, release } from "./canvas/talk.js";
import { makeRefine } from "./canvas/refine.js";
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
  const preview = makePreviews(editor);
  const finders = makeFinders(editor);
  const files = makeMaskFiles(editor, trigger);
  const maskTools = makeMaskTools(editor);
  const line = makeTimeline(editor);
  const focus = makeFocusBox(editor, surface.node);
  const refine = makeRefine(editor, {
    focus: focus.nodes,
    shape: maskTools.nodes,
    finders: [finders.node],
    files: [files.node],
    marks: [...line.marks, line.legend],
  });
  const toolbar = makeToolbar(editor, surface, heard, refine.node);
  const help = makeHelp();
  const bubble = makeBubble(editor, surface.node);
  const parts = [makeTrim(), toolbar.node, surface.node, line.node, note, finders.cost];
  const root = make("div", "rg-editor", ...parts, heard, help, files.dialog);
  const back = button("rg-link", "Show the source", undefined, "Or click the picture");
  const still = make("span", { className: "rg-chip rg-still", hidden: true }, make("span"), back);
  surface.node.append(chip, still);
  Object.assign(root, { editor }); // for tests
  editor.refresh = () => {
    const asking = editor.pending.length > 0;
    toolbar.refresh();
    finders.refresh();
    maskTools.refresh();
    refine.refresh();
    focus.refresh();
    bubble.refresh();
    chip.hidden = !asking && !(editor.tracking > 0);
    chip.textContent = asking ? "Finding the mask" : progressOf(editor.followed);
    root.dataset.tracking = String(Boolean(editor.tracking));
  };
  const showHelp = () => help.showModal();
  hub.on("help", showHelp);
  const giveUp = watchPointer(editor, surface.canvas);
  watchLooking(surface.canvas, giveUp);
  listenToKeys(editor, root, showHelp);
  editor.choose("add");
  return { editor, root, surface, line, bubble, still, preview, bars: [toolbar.node] };
};

/** @param {Parts} parts */
const addPlaying = ({ editor, line, still }) => {
  editor.go = (frame) => {
    if (!editor.clip) return;
    editor.frame = frameOf(editor, frame);
    still.hidden = editor.still?.frame !== editor.frame;
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
    editor.refresh();
    line.playing(Boolean(editor.playing));
    editor.draw();
  };
};

/**
 * Do what other components say.
 * @param {Parts} parts
 * @param {Trigger} trigger
 */
const listenToPage = ({ editor, surface, line, bubble, bars }, trigger) => {
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
    hub.correcting = true;
    editor.say("");
    redraw();
    // Whoever is at the list of regions writes there.
    const atList = document.activeElement?.closest(".rg-card");
    if (atList) bubble.close();
    else bubble.open();
    editor.refresh();
  });
  hub.on("pressed", () => bubble.close());
  hub.on("method", (method) => {
    for (const bar of bars) bar.inert = method?.regions === "ignored";
    line.draw();
  });
  hub.on("written", (said) => {
    Object.assign(hub.written, said);
    line.draw();
    editor.refresh();
  });
  hub.on("act", ({ act, ...data }) => editor.ask(act, data));
  hub.on("trim", (part) => trigger("trim", part));
  hub.on("wrote", () => {
    line.draw();
    editor.refresh();
    trigger("written", {});
  });
  hub.on("save", () => trigger("save", {}));
  hub.on("stage", (name) => {
    if (name === "masks") requestAnimationFrame(surface.fit);
    else editor.play(false);
  });
};

/**
 * Show a try of one frame in its place, until its masks or words change or another frame is shown.
 * @param {Parts} parts
 */
const showStills = ({ editor, still }) => {
  const [said] = still.getElementsByTagName("span");
  const drop = () => {
    editor.still = null;
    still.hidden = true;
    editor.draw();
  };
  /** @param {{ picture: string, frame: number }} tried @param {string} words */
  const show = async ({ picture, frame }, words) => {
    const image = new Image();
    image.src = picture;
    await image.decode();
    editor.still = { frame, picture: image };
    still.hidden = frame !== editor.frame;
    said.textContent = words;
    editor.draw();
  };
  hub.on("still", (tried) => show(tried, "Try"));
  hub.on("live", (live) => {
    if (live && hub.attempt) show({ picture: live.frames[0], frame: hub.attemptFrame }, live.caption);
  });
  hub.on("pressed", drop);
  still.querySelector("button")?.addEventListener("click", drop);
};

/**
 * Ask for the cuts of the clip that is open, once it can be worked on.
 * @param {Editor} editor
 * @param {import("./types").ClipView} clip
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
const openClip = ({ editor, surface, line, still }, { id, clip, tracking }) => {
  editor.play(false);
  for (const bitmap of [...editor.bitmaps, ...editor.thumbs]) bitmap?.close();
  Object.assign(editor, { id, clip, ...newContent() });
  hub.hidden.clear();
  hub.correcting = false;
  fitView();
  editor.still = null;
  still.hidden = true;
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
/** @param {Parts} parts @param {import("./types").ClipView} clip */
const bringIntoView = ({ surface }, clip) => {
  requestAnimationFrame(() => {
    surface.fit();
    const top = document.querySelector(".rg-top");
    if (clip.own && isStacked()) top?.scrollIntoView({ block: "start" });
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
    if (value.unsure) editor.offerBox();
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
  if (typeof value.preview === "string" && !fresh && value.rev <= editor.rev) {
    parts.preview(value.preview); // nothing else is new
    return;
  }
  if (fresh) openClip(parts, value);
  if (fresh) parts.bubble.close();
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
  if (active !== hub.active) {
    hub.tell("choose", active);
    hub.correcting = false; // nobody chose it
  }
  if (typeof value.preview === "string") parts.preview(value.preview);
  release(editor, value, before.length);
  // Not before the last of fast clicks: one would land on the words.
  const answered = value.acknowledged.some((nonce) => editor.marked.delete(nonce));
  if (answered && !editor.pending.length) parts.bubble.open();
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
  showStills(parts);
  follow(props, watch, (value) => {
    parts.root.hidden = !value && !editor.clip;
    drop.hidden = !parts.root.hidden;
    if (!value) return;
    if (value.gone) showLost(editor, value.note);
    else showView(parts, value, trigger);
  });
}
