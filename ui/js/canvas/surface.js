// @ts-check
// The canvas itself: the frame, its masks, points and strokes.
import { contextOf, dotsPerPixel, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { drawBox, drawNumber, drawPoint, drawRing, drawStroke } from "./brushwork.js";
import { handleOf, paintMargin, paintPreview, paintShape } from "./paint.js";
import { boxOf, isBrush, pointsHere } from "./state.js";
import { shapesOn } from "./tint.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {Map<number, ReturnType<typeof shapesOn>>} Shapes by frame */

const LABEL =
  "Frame: click an object to mask it. Shift and the arrow keys move a cursor, Enter uses the tool there.";
const NUMBER = 18; // pixels of the screen, the side of a region's number
const KEPT = 24; // frames whose shapes are
const FIRST_COLOR = "#ffe11a"; // of a region that is yet to be made

/** @param {number} label */
const colorOf = (label) => {
  const region = hub.regions.find((one) => one.label === label);
  return region?.color ?? FIRST_COLOR;
};

/**
 * Return the shapes of the masks on the frame that is shown.
 * @param {Editor} editor
 * @param {Shapes} known
 */
const shapesHere = (editor, known) => {
  const { frame } = editor;
  const [oldest] = known.keys();
  if (!known.has(frame) && known.size > KEPT) known.delete(oldest);
  const shapes = known.get(frame) ?? shapesOn(editor, frame);
  known.set(frame, shapes);
  return shapes;
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
  /** @param {{ from: import("../types").Place, to: import("../types").Place }} sent @param {number} label */
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

/**
 * Paint masks, points and what is being drawn, in pixels of the clip.
 * @param {Context} context
 * @param {Editor} editor
 * @param {Shapes} known
 * @param {OffscreenCanvas} scratch
 */
const paintMarks = (context, editor, known, scratch) => {
  const unit = 1 / editor.scale;
  const shapes = editor.hide ? [] : shapesHere(editor, known);
  const own = shapes.find(({ region }) => region.label === hub.active);
  for (const shape of [...shapes].reverse()) paintShape(context, shape, unit);
  if (own && !editor.playing) paintMargin(context, own, unit, scratch);
  const { preview } = editor;
  if (preview) paintPreview(context, preview.path, preview.begins ? FIRST_COLOR : colorOf(hub.active), unit);
  paintStrokes(context, editor);
  paintBoxes(context, editor, unit);
  for (const { region, crown } of shapes) {
    const lower = region === own?.region && handleOf(own) ? NUMBER * unit : 0; // the handle is above it
    drawNumber(context, region, crown[0], crown[1] + lower, unit);
  }
  paintPoints(context, editor, unit);
  paintCursor(context, editor, unit);
};

/** @param {HTMLCanvasElement} canvas @param {Editor} editor @param {Shapes} known @param {OffscreenCanvas} scratch */
const paint = (canvas, editor, known, scratch) => {
  const { width, height } = canvas;
  const { clip, frame } = editor;
  const context = contextOf(canvas);
  const still = editor.still?.frame === frame ? editor.still.picture : null;
  const picture = still ?? editor.bitmaps[frame];
  if (clip && !picture) return; // what was shown stays until it comes
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!clip || !picture) return;
  const { zoom, x, y } = hub.view;
  const one = (width / clip.width) * zoom;
  context.setTransform(one, 0, 0, one, -x * zoom * width, -y * zoom * height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, clip.width, clip.height);
  if (still) return;
  context.lineCap = "round";
  context.lineJoin = "round";
  paintMarks(context, editor, known, scratch);
};

/**
 * Make the picture as large as there is room, and as fine as the screen.
 * @param {HTMLElement} stage
 * @param {HTMLCanvasElement} canvas
 * @param {OffscreenCanvas} scratch
 * @param {Editor} editor
 */
const fit = (stage, canvas, scratch, editor) => {
  if (!editor.clip || !stage.clientWidth) return;
  const { width, height } = editor.clip;
  const tall = parseFloat(getComputedStyle(stage).maxHeight); // as the style sheet says, for the edits as well
  editor.fitted = Math.min(stage.clientWidth / width, tall / height);
  editor.scale = editor.fitted * hub.view.zoom;
  const across = width * editor.fitted;
  const down = height * editor.fitted;
  const dots = dotsPerPixel();
  const size = { width: Math.round(across * dots), height: Math.round(down * dots) };
  Object.assign(canvas.style, { width: Math.round(across) + "px", height: Math.round(down) + "px" });
  Object.assign(canvas, size);
  Object.assign(scratch, size);
  editor.draw();
};

/** @param {Editor} editor */
export const makeSurface = (editor) => {
  const canvas = make("canvas", { tabIndex: 0, role: "application", ariaLabel: LABEL });
  const node = make("div", "rg-canvas-stage", canvas);
  const scratch = new OffscreenCanvas(1, 1);
  /** @type {Shapes} */
  const known = new Map();
  let due = false;
  const draw = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      paint(canvas, editor, known, scratch);
    });
  };
  const shapes = () => (editor.clip ? shapesHere(editor, known) : []);
  const fitHere = () => fit(node, canvas, scratch, editor);
  new ResizeObserver(fitHere).observe(node);
  addEventListener("resize", fitHere);
  hub.on("view", () => {
    editor.scale = editor.fitted * hub.view.zoom;
    draw();
  });
  /** @param {string[]} [frames] whose masks have changed; all of them without */
  const forget = (frames) => {
    if (frames) frames.forEach((frame) => known.delete(Number(frame)));
    else known.clear();
    draw();
  };
  return { node, canvas, fit: fitHere, forget, draw, shapes };
};
