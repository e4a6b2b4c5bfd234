// @ts-check
// Keys of the canvas; those that are written into a field stay there.
import { hub } from "../shared/hub.js";
import { armDrag, fitView, isArmed, zoomByKey } from "../shared/looking.js";
import { clickAt, isTried, sendBox, sendStroke, strokeFrom } from "./pointer.js";
import { finderOf, isBrush, moveCursor } from "./state.js";

/** @typedef {import("../types").Editor} Editor */

const FIELDS = "input:not([type=range]), textarea, select, [contenteditable]";
const LEAP = 10; // frames
const CHANGES = ["enter", "i", "g", "w", "q", "f", "s"]; // masks
/** @type {Record<string, number[]>} */
const SIDES = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };

/** @param {Editor} editor */
const nextFinder = (editor) => {
  const choices = editor.who?.choices ?? [];
  const names = choices.map(({ name }) => name);
  const at = names.indexOf(finderOf(editor, hub.active) ?? "");
  const next = names[(at + 1) % names.length];
  if (names.length > 1) editor.ask("find", { by: next });
};

/**
 * @param {Editor} editor
 * @param {() => void} showHelp
 * @returns {Record<string, () => void>}
 */
const keysOf = (editor, showHelp) => {
  const { maskTools, line, files } = editor.parts;
  /** @param {number} by */
  const step = (by) => () => editor.go(editor.frame + by);
  return {
    v: () => editor.choose("add"),
    x: () => editor.choose(editor.tool === "add" ? "remove" : "add"),
    b: () => editor.choose("brush"),
    e: () => editor.choose("erase"),
    r: () => editor.choose("box"),
    i: () => maskTools.reshape("invert"),
    g: () => maskTools.featherNext(),
    "[": () => editor.resize(editor.radius * 0.85 - 0.5),
    "]": () => editor.resize(editor.radius * 1.15 + 0.5),
    "+": () => zoomByKey(1),
    "=": () => zoomByKey(1),
    "-": () => zoomByKey(-1),
    0: fitView,
    w: () => maskTools.reshape("grow"),
    q: () => maskTools.reshape("shrink"),
    f: () => maskTools.reshape("fill"),
    s: () => maskTools.reshape("drop"),
    ",": step(-1),
    ".": step(1),
    arrowleft: step(-1),
    arrowright: step(1),
    pageup: step(-LEAP),
    pagedown: step(LEAP),
    home: () => editor.go(0),
    end: () => editor.go(Infinity),
    k: () => line.keys.toggleAt(),
    d: () => line.cuts.toggleAt(),
    "<": () => line.goToKey(-1),
    ">": () => line.goToKey(1),
    " ": () => armDrag(true), // plays once it is let go, unless the picture was dragged meanwhile
    n: () => hub.tell("add"),
    m: () => files.show(),
    c: () => nextFinder(editor),
    h: () => {
      editor.hide = !editor.hide;
      editor.draw();
      editor.refresh();
    },
    "?": showHelp,
    escape: () => editor.letGo(),
  };
};

/**
 * Put a corner of a box down at first use, at the second the one across.
 * @param {Editor} editor
 * @param {import("../types").Place} cursor
 */
const useBox = (editor, cursor) => {
  const { box } = editor;
  editor.box = box ? null : { from: cursor, to: cursor, how: "find", held: true };
  if (box) sendBox(editor, { ...box, to: cursor });
  editor.draw();
};

/**
 * Use the tool at the cursor.
 * @param {Editor} editor
 * @param {import("../types").Place} cursor
 */
const useTool = (editor, cursor) => {
  if (editor.tracking > 0) editor.track();
  else if (editor.tool === "box") useBox(editor, cursor);
  else if (!isBrush(editor.tool)) clickAt(editor, cursor, false);
  else sendStroke(editor, strokeFrom(editor, cursor, editor.tool === "erase"));
};

/**
 * Choose a region and show its words, which take letters from now on; other keys stay with the picture.
 * @param {Editor} editor
 * @param {number} label
 */
const chooseByKey = ({ parts }, label) => {
  hub.tell("choose", label);
  parts.bubble.open(false);
};

let held = 0; // how often the key that moves the cursor has repeated

/** @param {Editor} editor @param {number[]} side @param {boolean} repeats */
const goWithCursor = (editor, side, repeats) => {
  held = repeats ? held + 1 : 0;
  editor.cursor = moveCursor(editor, side, held);
  editor.draw();
};

/**
 * Return what a key does here, if anything.
 * @param {Editor} editor
 * @param {Record<string, () => void>} keys
 * @param {KeyboardEvent} event
 */
const actOf = (editor, keys, event) => {
  const key = event.key.toLowerCase();
  const target = /** @type {HTMLInputElement} */ (event.target);
  const { cursor } = editor;
  const presses = key === " " || key === "enter";
  if (event.shiftKey && SIDES[key]) return () => goWithCursor(editor, SIDES[key], event.repeat);
  if (presses && target.closest("button, a, summary")) return null;
  if (key === "enter" && cursor) return () => useTool(editor, cursor);
  if (key === " " && isArmed()) return () => {}; // it repeats
  if (editor.labels.includes(Number(key))) return () => chooseByKey(editor, Number(key));
  if (target.type === "range" && key.startsWith("arrow")) return null;
  return keys[key];
};

/**
 * Return the act that Ctrl with a key is, if it is one.
 * @param {Editor} editor
 * @param {KeyboardEvent} event
 */
const commandOf = (editor, event) => {
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return null;
  const redoes = event.shiftKey || key === "y";
  return () => editor.ask(redoes ? "redo" : "undo");
};

/**
 * Tell whether a key is none of the picture's: it is written into a field, or something else is in front.
 * @param {KeyboardEvent} event
 * @param {boolean} undoes whether it may undo, which an untouched field leaves to the mask
 * @param {Editor} editor
 */
const isElsewhere = ({ target, key }, undoes, { parts }) => {
  const field = target instanceof Element && target.closest(FIELDS);
  const takesIt = field && !(undoes && parts.bubble.isUntouched(field));
  const atMasks = document.body.dataset.stage !== "edit" || key === "?";
  return takesIt || document.querySelector("dialog[open]") || !atMasks;
};

/**
 * Bring the masks back where a try stands: keys act on what is seen. Return whether the key has done all it does: it
 * would have changed a mask that was not seen.
 * @param {Editor} editor
 * @param {KeyboardEvent} event
 * @param {boolean} undoes
 */
const bringsBack = (editor, { key }, undoes) => {
  if (!isTried(editor)) return false;
  hub.tell("pressed");
  return undoes || CHANGES.includes(key.toLowerCase());
};

/**
 * @param {Editor} editor
 * @param {HTMLElement} root
 * @param {() => void} showHelp
 */
export const listenToKeys = (editor, root, showHelp) => {
  const keys = keysOf(editor, showHelp);
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    if (!root.isConnected) {
      document.removeEventListener("keydown", press);
      return;
    }
    const typed = event.getModifierState("AltGraph"); // some keyboards have [ and ] there
    const commands = !typed && (event.ctrlKey || event.metaKey);
    if (isElsewhere(event, commands, editor)) return;
    if (!commands && !event.altKey && editor.parts.bubble.takes(event)) return;
    const usable = editor.clip && (typed || !event.altKey);
    const actHere = () => (usable ? actOf(editor, keys, event) : null);
    const act = commands ? commandOf(editor, event) : actHere();
    if (!act) return;
    event.preventDefault();
    if (bringsBack(editor, event, commands)) return;
    act();
  };
  document.addEventListener("keydown", press);
  document.addEventListener("keyup", ({ key }) => {
    if (key !== " " || !isArmed()) return;
    const dragged = armDrag(false);
    if (!dragged && editor.clip) editor.play(!editor.playing);
  });
};
