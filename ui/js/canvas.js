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

// Frames of a clip in which cuts are sought: of examples, which are short and of one shot, only long ones.
const LEAST_SCANNED = 8,
  SCANNED = 24;
const SCAN_AFTER = 600; // milliseconds

const makeDrop = () => {
  const about = { className: "rg-drop", type: "button", onclick: () => hub.tell("open") },
    title = make("strong", {}, "Drop a clip here, or choose one");
  const hint = make("span", {}, "mp4, mov, webm, gif, or a project saved as zip");
  return make("button", about, icon("open"), title, hint);
};

const lay = (editor, trigger) => {
  const surface = makeSurface(editor),
    heard = make("p", { className: "rg-heard", ariaLive: "polite" }),
    note = makeNote(editor),
    chip = make("span", { className: "rg-chip", hidden: true }, "Finding the mask");
  editor.ask = makeAsk(editor, trigger);
  editor.track = makeTrack(editor, trigger);
  editor.look = makeLook(editor);
  const toolbar = makeToolbar(editor, surface, heard),
    finders = makeFinders(editor),
    files = makeMaskFiles(editor, trigger),
    maskTools = makeMaskTools(editor, files.node),
    line = makeTimeline(editor),
    help = makeHelp();
  const below = make("div", "rg-below", note, finders.node),
    parts = [toolbar.node, surface.node, below, finders.cost, maskTools.node, line.node],
    root = make("div", "rg-editor", makeTrim(), ...parts, heard, help, files.dialog);
  surface.node.append(chip);
  root.editor = editor;
  editor.refresh = () => {
    toolbar.refresh();
    finders.refresh();
    maskTools.refresh();
    chip.hidden = !editor.pending.length && !(editor.tracking > 0);
    chip.textContent = editor.pending.length ? "Finding the mask" : progressOf(editor.followed);
    root.dataset.tracking = String(Boolean(editor.tracking));
  };
  const showHelp = () => help.showModal();
  hub.on("help", showHelp);
  watchPointer(editor, surface.canvas);
  listenToKeys(editor, root, surface.canvas, showHelp);
  editor.choose("add");
  return { editor, root, surface, line, bars: [toolbar.node, maskTools.node] };
};

const addPlaying = ({ editor, line }) => {
  editor.go = (frame) => {
    if (!editor.clip) return;
    editor.frame = frameOf(editor, frame);
    editor.load();
    editor.look();
    editor.draw();
    line.draw();
    editor.refresh();
    hub.tell("scrub");
  };
  editor.play = (on) => {
    clearInterval(editor.playing);
    const next = () => editor.go((editor.frame + 1) % editor.clip.count);
    editor.playing = on && editor.clip ? setInterval(next, 1000 / editor.clip.fps) : 0;
    line.playing(Boolean(editor.playing));
    editor.draw();
    hub.tell("scrub");
  };
};

// What others in the page say.
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

// Ask for the cuts of the clip that is open, once it can be worked on.
const askForCuts = (editor, trigger) => {
  const { id, clip, found } = editor;
  editor.scanning = found === null && clip.count >= LEAST_SCANNED && (clip.own || clip.count >= SCANNED);
  if (!editor.scanning) return;
  setTimeout(() => {
    if (editor.id === id) trigger("scan", { id, have: editor.rev });
  }, SCAN_AFTER);
};

const openClip = ({ editor, surface, line }, { id, clip, tracking }) => {
  editor.play(false);
  for (const bitmap of [...editor.bitmaps, ...editor.thumbs]) bitmap?.close();
  Object.assign(editor, { id, clip, ...newContent() });
  hub.hidden.clear();
  surface.forget();
  editor.resize(Math.max(clip.width, clip.height) / 28);
  editor.load = makeLoader(editor, (frame) => {
    if (frame === editor.frame) editor.draw();
    line.film();
  });
  editor.load();
  surface.fit();
  hub.clip = clip;
  hub.tell("clip", clip);
  showStage(clip.made && !tracking ? "edit" : "masks");
};

const showLost = (editor, note) => {
  Object.assign(editor, { pending: [], held: [], adding: 0, tracking: 0 });
  editor.say(note, true);
  editor.refresh();
  editor.draw();
  hub.tell("lost");
};

const showView = (parts, value, trigger) => {
  const { editor, surface, line } = parts,
    fresh = value.id !== editor.id,
    before = editor.labels;
  if (fresh) openClip(parts, value);
  if (!accept(editor, value)) {
    release(editor, value, before.length);
    editor.refresh();
    line.draw();
    return;
  }
  if (fresh) {
    askForCuts(editor, trigger);
    if (editor.tracking > 0) trigger("track", { id: editor.id, have: editor.rev, again: true });
    // With all that stands around it; a clip of one's own is brought into view where columns are stacked.
    requestAnimationFrame(() => {
      surface.fit();
      if (editor.clip.own && isStacked()) document.querySelector("#tabs").scrollIntoView({ block: "start" });
    });
  }
  editor.looking = 0;
  editor.look();
  const same = JSON.stringify(value.feathers) === JSON.stringify(editor.painted);
  editor.painted = value.feathers;
  surface.forget(same ? Object.keys(value.changes) : undefined);
  const active = selection(before, editor.labels, hub.active, fresh);
  if (active !== hub.active) hub.tell("choose", active);
  release(editor, value, before.length);
  if (value.note !== null) {
    editor.say(value.note, value.alarm);
    hub.tell("noted", value);
  }
  if (value.field) hub.tell("wrong", value);
  if (value.go !== undefined) editor.go(value.go);
  goAlong(editor);
  editor.refresh();
  line.draw();
  hub.tell("masks");
};

export function mount(element, props, trigger, watch) {
  const editor = (hub.editor = newEditor()),
    parts = lay(editor, trigger),
    drop = makeDrop();
  element.replaceChildren(drop, parts.root);
  addPlaying(parts);
  listenToPage(parts, trigger);
  follow(props, watch, (value) => {
    parts.root.hidden = !value && !editor.clip;
    drop.hidden = !parts.root.hidden;
    if (value?.gone) showLost(editor, value.note);
    else if (value) showView(parts, value, trigger);
  });
}
