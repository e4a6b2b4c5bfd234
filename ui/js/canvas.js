// @ts-check
// The frame with its masks, and everything around it.
import { showAbove } from "./shared/dialog.js";
import { icon, isStacked, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { watchLooking, fitView } from "./shared/looking.js";
import { makeBubble } from "./canvas/bubble.js";
import { Content, Editor } from "./canvas/editor.js";
import { makeFinders } from "./canvas/finders.js";
import { makeFocusBox } from "./canvas/focus_box.js";
import { makeLoader } from "./canvas/frames.js";
import { makeHelp } from "./canvas/help.js";
import { listenToKeys } from "./canvas/keyboard.js";
import { makeMaskFiles } from "./canvas/mask_files.js";
import { makeMaskTools } from "./canvas/mask_tools.js";
import { makeNote } from "./canvas/note.js";
import { watchPointer } from "./canvas/pointer.js";
import { makePreviews } from "./canvas/preview.js";
import { accept, selection } from "./canvas/state.js";
import { makeSurface } from "./canvas/surface.js";
import { makeRefine } from "./canvas/refine.js";
import { makeTimeline } from "./canvas/timeline.js";
import { makeToolbar } from "./canvas/toolbar.js";
import { makeTrim } from "./canvas/trim.js";

/** @typedef {import("./types").CanvasView} CanvasView */
/** @typedef {import("./types").Trigger<"canvas">} Trigger */

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
 * Lay out an editor.
 * @param {Editor} editor
 * @param {Trigger} trigger
 * @returns {import("./canvas/editor.js").Parts}
 */
const layOut = (editor, trigger) => {
  const surface = makeSurface(editor);
  const heard = make("p", { className: "rg-heard", ariaLive: "polite" });
  const note = makeNote(editor);
  const chip = make("span", { className: "rg-chip", hidden: true }, "Finding the mask");
  const previews = makePreviews(editor);
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
    marks: [line.cuts.toggle, line.keys.toggle, line.legend],
  });
  const toolbar = makeToolbar(editor, surface, heard, refine.node);
  const bubble = makeBubble(editor, surface.node);
  const shown = [makeTrim(), toolbar.node, surface.node, bubble.node, line.node, note.node, finders.cost];
  const root = make("div", "rg-editor", ...shown, heard);
  const still = make("span", {
    className: "rg-chip rg-still",
    hidden: true,
    title: "A click shows the source",
  });
  surface.node.append(chip, still);
  Object.assign(root, { editor }); // for tests
  const views = { root, chip, still, surface, note, previews, bubble };
  return { ...views, finders, files, maskTools, line, focus, refine, toolbar };
};

/**
 * Do what people do to the picture, and what other components say.
 * @param {Editor} editor
 * @param {Trigger} trigger
 */
const listenToPage = (editor, trigger) => {
  const { root, surface, line, note, bubble, toolbar } = editor.parts;
  const help = makeHelp();
  const showHelp = () => showAbove(help);
  hub.on("help", showHelp);
  const giveUp = watchPointer(editor, surface.canvas);
  watchLooking(surface.canvas, giveUp);
  listenToKeys(editor, root, showHelp);
  const redraw = () => {
    surface.forget();
    line.draw();
  };
  hub.on("regions", () => {
    note.hintAnew();
    redraw();
  });
  hub.on("said", () => {
    note.hintAnew();
    line.draw();
  });
  hub.on("choose", (label) => {
    hub.active = label;
    hub.correcting = label > 0;
    editor.say("");
    redraw();
    // Whoever is at the list of regions writes there.
    if (document.activeElement?.closest(".rg-card")) bubble.close();
    editor.refresh();
  });
  hub.on("pressed", () => bubble.close());
  hub.on("method", (method) => {
    toolbar.node.inert = method?.regions === "ignored";
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
  });
  hub.on("save", () => trigger("save", {}));
  hub.on("stage", (name) => {
    if (name === "masks") requestAnimationFrame(surface.fit);
    else editor.play(false);
  });
};

/**
 * Show a try of one frame in its place, until its masks or words change or another frame is shown.
 * @param {Editor} editor
 */
const showStills = (editor) => {
  const { still } = editor.parts;
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
    still.textContent = words;
    editor.draw();
  };
  hub.on("still", (tried) => show(tried, "Try"));
  hub.on("live", (live) => {
    if (live && hub.attempt) show({ picture: live.frames[0], frame: hub.attemptFrame }, live.caption);
  });
  hub.on("pressed", drop);
  hub.on("running", (on) => {
    if (!on || !editor.still) return;
    drop();
    editor.say(""); // what was seen of the try before
  });
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

/** @param {Editor} editor @param {CanvasView} view */
const openClip = (editor, { id, clip, tracking }) => {
  const { surface, line, still } = editor.parts;
  editor.play(false);
  for (const bitmap of [...editor.bitmaps, ...editor.thumbs]) bitmap?.close();
  Object.assign(editor, new Content(), { id, clip });
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
  document.body.style.setProperty("--of-clip", String(clip.width / clip.height));
  hub.tell("clip", clip);
  showStage(clip.made && !tracking ? "edit" : "masks");
};

/** @param {Editor} editor @param {string} note */
const showLost = (editor, note) => {
  Object.assign(editor, { pending: [], held: [], marked: new Set(), adding: 0, tracking: 0 });
  editor.say(note, true);
  editor.refresh();
  editor.draw();
  hub.tell("lost");
};

/**
 * Show the frame that was tracked last, unless somebody goes elsewhere meanwhile; at the end, where it began.
 * @param {Editor} editor
 */
const goAlong = (editor) => {
  const { tracking, followed, frame, led } = editor;
  if (!tracking) editor.stopping = false;
  if (editor.stopping) return;
  if (tracking > 0 && followed && (!led || led.at === frame)) {
    editor.led = { from: led?.from ?? frame, at: followed[3] };
    editor.go(followed[3]);
  } else if (!tracking && led) {
    editor.led = null;
    if (led.at === frame) editor.go(led.from);
  }
};

// Bring what was opened into view, with all that stands around it; where columns are stacked, a clip of one's own.
/** @param {Editor} editor @param {import("./types").ClipView} clip */
const bringIntoView = ({ parts: { surface } }, clip) => {
  requestAnimationFrame(() => {
    surface.fit();
    if (clip.own || !isStacked()) scrollTo(0, 0);
  });
};

/** @param {Editor} editor @param {CanvasView} value */
const redrawMasks = (editor, value) => {
  const same = JSON.stringify(value.feathers) === JSON.stringify(editor.painted);
  editor.painted = value.feathers;
  editor.parts.surface.forget(same ? Object.keys(value.changes) : undefined);
};

/**
 * Say what the view says: below the frame, at a field, or by going to a frame.
 * @param {Editor} editor
 * @param {CanvasView} value
 */
const sayAndGo = (editor, value) => {
  if (value.note !== null) {
    editor.say(value.note, value.alarm);
    if (value.unsure) editor.parts.note.offerBox();
    hub.tell("noted", value);
  }
  if (value.go !== undefined) editor.go(value.go);
  goAlong(editor);
};

/** @param {Editor} editor @param {CanvasView} value @param {Trigger} trigger */
const showView = (editor, value, trigger) => {
  const { line, bubble, previews } = editor.parts;
  const fresh = value.id !== editor.id;
  const before = editor.labels;
  if (typeof value.preview === "string" && !fresh && value.rev <= editor.rev) {
    previews.take(value.preview); // nothing else is new
    return;
  }
  if (fresh) openClip(editor, value);
  if (fresh) bubble.close();
  if (!accept(editor, value)) {
    editor.release(value, before.length);
    editor.refresh();
    line.draw();
    return;
  }
  if (fresh) {
    askForCuts(editor, value.clip, trigger);
    if (editor.tracking > 0) trigger("track", { id: editor.id, have: editor.rev, again: true });
    bringIntoView(editor, value.clip);
  }
  editor.looking = 0;
  editor.look();
  redrawMasks(editor, value);
  const active = selection(before, editor.labels, hub.active, fresh);
  if (active !== hub.active) {
    hub.tell("choose", active);
    hub.correcting = false; // nobody chose it
  }
  if (typeof value.preview === "string") previews.take(value.preview);
  editor.release(value, before.length);
  // Not before the last of fast clicks: one would land on the words.
  const answered = value.acknowledged.some((nonce) => editor.marked.delete(nonce));
  if (answered && !editor.pending.length) {
    editor.owesWords = true;
    editor.showWords();
  }
  sayAndGo(editor, value);
  editor.refresh();
  line.draw();
  hub.tell("masks");
};

/** @type {import("./types").Mount<"canvas">} */
export function mount(element, props, trigger, watch) {
  const editor = new Editor(trigger, (made) => layOut(made, trigger));
  hub.editor = editor;
  const { root } = editor.parts;
  const drop = makeDrop();
  element.replaceChildren(drop, root);
  editor.choose("add");
  listenToPage(editor, trigger);
  showStills(editor);
  follow(props, watch, (value) => {
    root.hidden = !value && !editor.clip;
    drop.hidden = !root.hidden;
    if (!value) return;
    if (value.gone) showLost(editor, value.note);
    else showView(editor, value, trigger);
  });
}
