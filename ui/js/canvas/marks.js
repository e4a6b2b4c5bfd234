// @ts-check
// Key frames and cuts below the film strip; the mark of a cut is where a shot begins.
import { fillWith, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { neighbourKey, readCuts, readKeys, sayCuts, shotEnds, writeCuts, writeKeys } from "./mark_lists.js";
import { makeMarkRow } from "./mark_row.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").MarkKind} MarkKind */

const SEVERAL = 24; // frames of a clip that may have several shots, so that the row is shown
/** @type {Record<string, (editor: import("../types").Editor) => string>} */
const SAY_CUTS = {
  auto: ({ scanning }) => (scanning ? "Looking for shots" : "Shots are looked for when the run begins"),
  found: () => "One shot",
  list: () => "One shot",
  beyond: ({ clip }) => "Some cuts are outside the clip: choose from 1 to " + ((clip?.count ?? 1) - 1),
  wrong: () => "The cuts under Long clips cannot be read",
};

/** @type {MarkKind["read"]} */
const readCutMarks = (editor) => {
  if (!editor.clip) return null;
  const { count } = editor.clip;
  const said = readCuts(hub.written.cuts, count, editor.found);
  const marked = said.frames.length > 0 && said.kind !== "beyond";
  const unsaid = !said.frames.length && ["auto", "found"].includes(said.kind);
  return {
    ...said,
    hidden: unsaid && count < SEVERAL,
    quiet: marked ? "" : SAY_CUTS[said.kind](editor),
    total: (cuts) => cuts + 1 + " shots",
    loose: (frame) => frame > 0,
  };
};

/**
 * Return the first frames of the shots but the first, as far as they are known.
 * @param {Editor} editor
 * @param {number} count frames of the clip
 */
const cutsOf = (editor, count) => readCuts(hub.written.cuts, count, editor.found).frames;

/** @type {MarkKind} */
const CUT_MARKS = {
  field: "cuts",
  read: readCutMarks,
  write: (editor, cuts) => writeCuts(cuts, editor.found),
  row: "rg-cuts",
  mark: "rg-cut-mark",
  middle: 0,
  last: (count) => count,
  where: "before ",
  name: "Cut",
  act: "Split shot",
  title: "Shots",
  icon: "cut",
  hint: "Split the shot before this frame, or join it again (D)",
  hintOfMark: "Drag, or press the arrow keys, to move this cut; Delete removes it",
  hintOfFixed: "",
};

/**
 * Make the row of cuts, the shots in words, and a line through the whole timeline for each cut.
 * @param {Editor} editor
 * @param {HTMLElement} field for the lines
 */
export const makeCutMarks = (editor, field) => {
  const words = make("p", { className: "rg-cut-words", role: "status" });
  const lines = make("div", "rg-cut-lines");
  const row = makeMarkRow(editor, CUT_MARKS, () => {
    const count = editor.clip?.count ?? 1;
    /** @param {HTMLElement} line @param {number} cut */
    const draw = (line, cut) => line.style.setProperty("--mark", String(cut / count));
    fillWith(lines, row.shown, () => make("i"), draw);
    words.textContent = row.shown.length ? sayCuts(row.shown) : "";
  });
  field.append(lines);
  return { row, words };
};

export const EVERY_FRAME = "Every frame is edited. Mark key frames to edit fewer.";
/** @type {Record<string, (count: number) => string>} */
const SAY_KEYS = {
  all: () => EVERY_FRAME,
  auto: () => "Chosen by how much changes when the run begins",
  beyond: (count) => "Some key frames are outside the clip: choose from 0 to " + (count - 1),
  wrong: () => "The key frames under Long clips cannot be read",
};

/** @type {MarkKind["read"]} */
const readKeyMarks = (editor) => {
  if (!editor.clip) return null;
  const { count } = editor.clip;
  const cuts = cutsOf(editor, count);
  const said = readKeys(hub.written.keyframes, count, cuts);
  const fixed = new Set(shotEnds(count, cuts));
  return {
    ...said,
    quiet: SAY_KEYS[said.kind]?.(count) ?? "",
    total: (marked) => marked + " / " + count,
    loose: (frame) => !fixed.has(frame),
  };
};

/** @type {MarkKind["write"]} */
const writeKeyMarks = (editor, frames) => {
  const count = editor.clip?.count ?? 0;
  return writeKeys(frames, count, cutsOf(editor, count));
};

/** @type {MarkKind} */
const KEY_MARKS = {
  field: "keyframes",
  read: readKeyMarks,
  write: writeKeyMarks,
  row: "rg-keys",
  mark: "rg-key-mark",
  middle: 0.5,
  last: (count) => count - 1,
  where: "",
  name: "Key frame",
  act: "Key frame",
  title: "Key frames",
  icon: "key",
  hint: "Make this frame a key frame, or no longer one (K)",
  hintOfMark: "Drag, or press the arrow keys, to move this key frame; Delete removes it",
  hintOfFixed: "The first and the last frame of a shot are always key frames",
};

/**
 * @param {Editor} editor
 * @param {() => void} changed is called when other frames are marked
 */
export const makeKeyMarks = (editor, changed) => {
  const row = makeMarkRow(editor, KEY_MARKS, changed);
  /** @param {number} side */
  const go = (side) => {
    const keys = readKeyMarks(editor);
    const held = row.track.contains(document.activeElement);
    if (!keys) return;
    editor.go(neighbourKey(keys.frames, editor.frame, side));
    /** @type {HTMLElement | null} */
    const mark = row.track.querySelector("[tabindex='0']");
    if (held) mark?.focus();
  };
  return { row, go };
};
