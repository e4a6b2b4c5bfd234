// @ts-check
// The canvas itself: the frame, its masks, points and strokes.
import { contextOf, dotsPerPixel, isStacked, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { clamp } from "../shared/numbers.js";
import { drawBox, drawNumber, drawPoint, drawRing, drawStroke } from "./brushwork.js";
import { boxOf, isBrush, pointsHere } from "./state.js";
import { paintTint } from "./tint.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {Map<number, ReturnType<typeof paintTint>>} Tints by frame */

const LABEL =
  "Frame: click an object to mask it. Shift and the arrow keys move a cursor, Enter uses the tool there.";
const KEPT = 24; // tints
const FIRST_COLOR = "#ffe11a"; // of a region that is yet to be made
const TALL = 0.52; // of the window, the height of an example

/** @param {number} label */
const colorOf = (label) => {
  const region = hub.regions.find((one) => one.label === label);
  return region?.color ?? FIRST_COLOR;
};

/** @param {Editor} editor @param {Tints} tints */
const tintOf = (editor, tints) => {
  const { frame } = editor;
  const known = tints.get(frame);
  if (known) return known;
  const [oldest] = tints.keys();
  if (tints.size > KEPT) tints.delete(oldest);
  const tint = paintTint(editor, frame);
  tints.set(frame, tint);
  return tint;
};

/** @param {Context} context @param {Editor} editor */
const paintStrokes = (context, { pending, stroke, frame }) => {
  const strokes = stroke ? [...pending, stroke] : pending;
  for (const { path, radius = 1, erase = false, frame: at, label } of strokes) {
    if (path && at === frame) drawStroke(context, { path, radius, erase }, colorOf(label));
  }
};

/** @param {Context} context @param {Editor} editor @param {number} unit */
const paintBoxes = (context, { pending, box, cursor, frame }, unit) => {
  const paintBox = ({ from, to }, label) => drawBox(context, boxOf(from, to).box, colorOf(label), unit);
  for (const { box: sent, frame: at, label } of pending) if (sent && at === frame) paintBox(sent, label);
  if (!box) return;
  const to = box.held && cursor ? cursor : box.to;
  paintBox({ from: box.from, to }, hub.active);
};

/** @param {Context} context @param {Editor} editor @param {number} unit */
const paintPoints = (context, editor, unit) => {
  if (editor.hide || editor.playing) return;
  for (const [x, y, inside, label] of pointsHere(editor)) {
    drawPoint(context, [x, y], Boolean(inside), colorOf(label), unit, label === hub.active);
  }
};

/** @param {Context} context @param {Editor} editor @param {number} unit */
const paintCursor = (context, { cursor, hover, tool, radius }, unit) => {
  const at = cursor ?? hover;
  if (!at) return;
  if (isBrush(tool)) drawRing(context, at, radius, unit);
  else if (cursor) drawRing(context, at, 7 * unit, unit);
};

/** @param {HTMLCanvasElement} canvas @param {Editor} editor @param {Tints} tints */
const paint = (canvas, editor, tints) => {
  const { width, height } = canvas;
  const { clip, frame } = editor;
  const context = contextOf(canvas);
  const picture = editor.bitmaps[frame];
  if (clip && !picture) return; // what was shown stays until it comes
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!clip || !picture) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const tint = editor.hide ? null : tintOf(editor, tints);
  if (tint?.picture) context.drawImage(tint.picture, 0, 0, width, height);
  const one = width / clip.width;
  context.setTransform(one, 0, 0, one, 0, 0);
  context.lineCap = "round";
  context.lineJoin = "round";
  const unit = clip.width / canvas.clientWidth;
  paintStrokes(context, editor);
  paintBoxes(context, editor, unit);
  for (const [region, x, y] of tint?.numbers ?? []) drawNumber(context, region, x, y, unit);
  paintPoints(context, editor, unit);
  paintCursor(context, editor, unit);
};

const LANES = 44; // pixels of the timeline that come with two regions

/**
 * Return how high the canvas may be: an own clip as the timeline below leaves room for; examples, and in stacked
 * columns, half the screen.
 * @param {HTMLElement} stage
 * @param {boolean} own
 */
const roomFor = (stage, own) => {
  const root = stage.parentElement;
  if (!own || !root || isStacked()) return clamp(innerHeight * TALL, 260, 620);
  const box = stage.getBoundingClientRect();
  const above = box.top + scrollY;
  const below = root.getBoundingClientRect().bottom - box.bottom;
  const lanes = root.querySelector(".rg-lane") ? 0 : LANES;
  return clamp(innerHeight - above - below - lanes - 16, 220, 620);
};

/**
 * Make the canvas as large as there is room, and as fine as the screen.
 * @param {HTMLElement} stage
 * @param {HTMLCanvasElement} canvas
 * @param {Editor} editor
 */
const fit = (stage, canvas, editor) => {
  if (!editor.clip || !stage.clientWidth) return;
  const { width, height, own } = editor.clip;
  const tall = roomFor(stage, own);
  editor.scale = Math.min(stage.clientWidth / width, tall / height);
  const across = width * editor.scale;
  const down = height * editor.scale;
  const dots = dotsPerPixel();
  Object.assign(canvas.style, { width: Math.round(across) + "px", height: Math.round(down) + "px" });
  Object.assign(canvas, { width: Math.round(across * dots), height: Math.round(down * dots) });
  editor.draw();
};

/** @param {Editor} editor */
export const makeSurface = (editor) => {
  const canvas = make("canvas", { tabIndex: 0, role: "application", ariaLabel: LABEL });
  const node = make("div", "rg-canvas-stage", canvas);
  /** @type {Tints} */
  const tints = new Map();
  let due = false;
  editor.draw = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      paint(canvas, editor, tints);
    });
  };
  const fitHere = () => fit(node, canvas, editor);
  new ResizeObserver(fitHere).observe(node);
  /** @param {string[]} [frames] whose masks have changed; all of them without */
  const forget = (frames) => {
    if (frames) frames.forEach((frame) => tints.delete(Number(frame)));
    else tints.clear();
    editor.draw();
  };
  return { node, canvas, fit: fitHere, forget };
};
