// Keys of the canvas; those that are written into a field stay there.
import { hub } from "../shared/hub.js";
import { clickAt, sendBox, sendStroke, strokeFrom } from "./pointer.js";
import { finderOf, isBrush, moveCursor } from "./state.js";

const FIELDS = "input:not([type=range]), textarea, select, [contenteditable], dialog[open]";
const LEAP = 10; // frames
const SIDES = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };

const nextFinder = (editor) => {
  const names = (editor.who?.choices ?? []).map(({ name }) => name);
  const next = names[(names.indexOf(finderOf(editor, hub.active)) + 1) % names.length];
  if (names.length > 1) editor.ask("find", { by: next });
};

const keysOf = (editor, showHelp) => {
  const step = (by) => () => editor.go(editor.frame + by);
  return {
    v: () => editor.choose("add"),
    x: () => editor.choose(editor.tool === "add" ? "remove" : "add"),
    b: () => editor.choose("brush"),
    e: () => editor.choose("erase"),
    r: () => editor.choose("box"),
    i: () => editor.reshape("invert"),
    g: () => editor.featherNext(),
    "[": () => editor.resize(editor.radius * 0.85 - 0.5),
    "]": () => editor.resize(editor.radius * 1.15 + 0.5),
    "+": () => editor.reshape("grow"),
    "-": () => editor.reshape("shrink"),
    f: () => editor.reshape("fill"),
    s: () => editor.reshape("drop"),
    ",": step(-1),
    ".": step(1),
    arrowleft: step(-1),
    arrowright: step(1),
    pageup: step(-LEAP),
    pagedown: step(LEAP),
    home: () => editor.go(0),
    end: () => editor.go(Infinity),
    k: () => editor.toggleKey(),
    d: () => editor.toggleCut(),
    "<": () => editor.goToKey(-1),
    ">": () => editor.goToKey(1),
    " ": () => editor.play(!editor.playing),
    n: () => hub.tell("add"),
    m: () => editor.showFiles(),
    t: () => editor.track(),
    c: () => nextFinder(editor),
    h: () => {
      editor.hide = !editor.hide;
      editor.draw();
    },
    "?": showHelp,
    escape: () => {
      editor.stroke = editor.box = editor.cursor = null;
      editor.choose("add");
    },
  };
};

// The first use of the box puts a corner down, the second the one across.
const useBox = (editor) => {
  const { box, cursor } = editor;
  editor.box = box ? null : { from: cursor, to: cursor, how: "find", held: true };
  if (box) sendBox(editor, { ...box, to: cursor });
  editor.draw();
};

const useTool = (editor) => {
  if (editor.tracking > 0) editor.track();
  else if (editor.tool === "box") useBox(editor);
  else if (!isBrush(editor.tool)) clickAt(editor, editor.cursor, false);
  else sendStroke(editor, strokeFrom(editor, editor.cursor, editor.tool === "erase"));
};

// What a key does here; null for nothing.
const actOf = (editor, canvas, keys, event, key) => {
  const { target, shiftKey } = event;
  if (shiftKey && SIDES[key])
    return () => {
      editor.cursor = moveCursor(editor, SIDES[key]);
      editor.draw();
    };
  if (key === "enter" && editor.cursor && target === canvas) return () => useTool(editor);
  if ((key === " " || key === "enter") && target.closest("button, a, summary")) return null;
  if (editor.labels.includes(Number(key))) return () => hub.tell("choose", Number(key));
  return target.type === "range" && key.startsWith("arrow") ? null : keys[key];
};

export const listenToKeys = (editor, root, canvas, showHelp) => {
  const keys = keysOf(editor, showHelp);
  const press = (event) => {
    if (!root.isConnected) return document.removeEventListener("keydown", press);
    const key = event.key.toLowerCase(),
      typed = event.getModifierState("AltGraph"), // some keyboards have [ and ] there
      commands = !typed && (event.ctrlKey || event.metaKey);
    if (event.target.closest(FIELDS) || document.body.dataset.stage === "edit") return;
    let act = null;
    if (commands && "zy".includes(key))
      act = () => editor.ask(event.shiftKey || key === "y" ? "redo" : "undo");
    else if (!commands && (typed || !event.altKey) && editor.clip)
      act = actOf(editor, canvas, keys, event, key);
    if (!act) return;
    event.preventDefault();
    act();
  };
  document.addEventListener("keydown", press);
};
