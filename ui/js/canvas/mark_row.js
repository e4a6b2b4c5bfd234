// @ts-check
// A row below the film strip with marks of frames, to be dragged, moved by keys and removed.
import { fillWith, iconButton, make, takeKey } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { nearest } from "../shared/numbers.js";
import { moveMark, toggleMark } from "./mark_lists.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").MarkRow} MarkRow */

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -Infinity, End: Infinity };
const MARK_KEYS = { ...STEPS, Delete: "remove", Backspace: "remove" };
/** @type {Record<string, number>} */
const REACH = { mouse: 12, pen: 16, touch: 24 }; // pixels of the screen around a mark

/** @param {MarkRow} row @param {Editor} editor @param {KeyboardEvent} event */
const pressMark = (row, editor, event) => {
  const target = /** @type {Element} */ (event.target);
  /** @type {HTMLElement | null} */
  const mark = target.closest(".rg-mark");
  const frames = row.kind.read(editor)?.frames;
  if (!mark || !frames || !editor.clip) return;
  const by = takeKey(event, MARK_KEYS);
  const from = Number(mark.dataset.frame);
  if (!by) return;
  if (by === "remove") {
    row.toggleAt(from);
    row.toggle.focus();
    return;
  }
  const at = frames.indexOf(from);
  const moved = moveMark(frames, from, from + Number(by), editor.clip.count);
  row.change(moved);
  editor.go(moved[at]);
};

/**
 * Drag the nearest mark in reach; a press elsewhere goes to that frame.
 * @param {MarkRow} row
 * @param {Editor} editor
 */
const watchMarks = (row, editor) => {
  const { track, kind } = row;
  const box = () => track.getBoundingClientRect();
  const count = () => editor.clip?.count ?? 1;
  /** @param {number} x */
  const across = (x) => ((x - box().left) / box().width) * count();
  /** @param {number} x */
  const markAt = (x) => Math.floor(across(x) + 0.5 - kind.middle);
  /** @param {number} x */
  const frameAt = (x) => Math.floor(across(x));
  // The loose mark in reach, if there is one.
  /** @param {PointerEvent} event @param {number[]} loose */
  const heldBy = ({ clientX, pointerType }, loose) => {
    const place = across(clientX) - kind.middle;
    const from = loose[nearest(loose, place)];
    const off = (Math.abs(from - place) / count()) * box().width;
    return off <= REACH[pointerType] ? from : undefined;
  };
  track.addEventListener("pointerdown", (event) => {
    const said = kind.read(editor);
    if (!said) return;
    const { frames, loose } = said;
    const from = heldBy(event, row.shown.filter(loose));
    row.moving = from === undefined ? null : { from, frames, before: frames };
    editor.play(false);
    track.setPointerCapture(event.pointerId);
    editor.go(from ?? frameAt(event.clientX));
  });
  track.addEventListener("pointermove", ({ clientX, pointerId }) => {
    if (!track.hasPointerCapture(pointerId)) return;
    const { moving } = row;
    if (!moving) {
      editor.go(frameAt(clientX));
      return;
    }
    const { before, from } = moving;
    moving.frames = moveMark(before, from, markAt(clientX), count());
    editor.go(moving.frames[before.indexOf(from)]);
  });
  /** @param {PointerEvent} event */
  const end = ({ type }) => {
    const { moving } = row;
    row.moving = null;
    const moved = moving && String(moving.frames) !== String(moving.before);
    if (moved && type === "pointerup") row.change(moving.frames);
    row.draw();
  };
  track.addEventListener("pointerup", end);
  track.addEventListener("pointercancel", end);
};

// A mark that can be moved is a slider.
/** @param {import("../types").MarkKind} kind @param {number} number @param {number} count */
const looseMark = (kind, number, count) => ({
  className: `rg-mark ${kind.mark} `,
  title: kind.hintOfMark,
  role: "slider",
  ariaLabel: kind.name,
  ariaValueMin: 2,
  ariaValueMax: kind.last(count),
  ariaValueNow: number,
  ariaValueText: `${kind.where}frame ${number} of ${count}`,
});

/** @param {import("../types").MarkKind} kind @param {number} number */
const fixedMark = (kind, number) => ({
  className: `rg-mark ${kind.mark} rg-fixed`,
  title: kind.hintOfFixed,
  role: "img",
  ariaLabel: `${kind.name} ${number}, always one`,
  ariaValueMin: null,
  ariaValueMax: null,
  ariaValueNow: null,
  ariaValueText: null,
});

/**
 * @param {HTMLElement} mark
 * @param {import("../types").MarkKind} kind
 * @param {number} frame
 * @param {number} count frames of the clip
 * @param {boolean} loose
 * @param {boolean} reachable by the Tab key
 */
const drawMark = (mark, kind, frame, count, loose, reachable) => {
  const number = frame + 1;
  Object.assign(mark, loose ? looseMark(kind, number, count) : fixedMark(kind, number));
  mark.tabIndex = reachable ? 0 : -1;
  if (!loose) mark.removeAttribute("tabindex");
  mark.dataset.frame = String(frame);
  mark.style.setProperty("--mark", String((frame + kind.middle) / count));
};

/** @param {MarkRow} row @param {Editor} editor */
const drawMarkRow = (row, editor) => {
  const said = row.kind.read(editor);
  row.node.hidden = said?.hidden ?? !said;
  row.node.dataset.marked = String(Boolean(said && !said.quiet));
  row.shown = [];
  if (!said || !editor.clip) return;
  const { count } = editor.clip;
  const frames = row.moving?.frames ?? said.frames;
  const loose = frames.filter(said.loose);
  const next = loose[nearest(loose, editor.frame)];
  row.node.dataset.kind = said.kind;
  row.quiet.textContent = said.quiet;
  row.count.textContent = said.quiet ? "" : said.total(frames.length);
  if (!said.quiet) row.shown = frames;
  /** @param {HTMLElement} mark @param {number} frame */
  const draw = (mark, frame) => drawMark(mark, row.kind, frame, count, said.loose(frame), frame === next);
  fillWith(row.marks, row.shown, () => make("span"), draw);
  row.toggle.ariaPressed = String(frames.includes(editor.frame));
  row.toggle.disabled = !said.loose(editor.frame);
};

/**
 * @param {Editor} editor
 * @param {import("../types").MarkKind} kind
 * @param {() => void} changed is called when other frames are marked
 */
export const makeMarkRow = (editor, kind, changed) => {
  const quiet = make("span", "rg-marks-quiet");
  const marks = make("div", "rg-marks-shown");
  const count = make("span", "rg-count");
  const about = { className: "rg-marks-track", role: "group", ariaLabel: kind.title };
  const track = make("div", about, quiet, marks);
  const toggleHere = () => row.toggleAt();
  const toggle = iconButton("rg-tool rg-small", kind.icon, kind.hint, toggleHere, kind.act);
  const node = make("div", "rg-time-row rg-marks " + kind.row, make("span", {}, kind.title), track, count);
  /** @type {MarkRow} */
  const row = {
    node,
    track,
    marks,
    quiet,
    count,
    toggle,
    kind,
    shown: [],
    moving: null,
    draw() {
      const before = String(row.shown);
      drawMarkRow(row, editor);
      if (String(row.shown) !== before) changed();
    },
    change(frames) {
      row.moving = null;
      hub.written[kind.field] = kind.write(editor, frames);
      hub.tell("wrote");
    },
    toggleAt(frame = editor.frame) {
      const said = kind.read(editor);
      if (said?.loose(frame)) row.change(toggleMark(said.frames, frame));
    },
  };
  watchMarks(row, editor);
  track.addEventListener("keydown", (event) => pressMark(row, editor, event));
  return row;
};
