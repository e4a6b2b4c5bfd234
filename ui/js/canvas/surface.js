// The canvas itself: the frame, its masks, points and strokes.
import { isStacked, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { clamp } from "../shared/numbers.js";
import { drawBox, drawNumber, drawPoint, drawRing, drawStroke } from "./brushwork.js";
import { boxOf, isBrush, pointsHere } from "./state.js";
import { paintTint } from "./tint.js";

const LABEL =
  "Frame: click an object to mask it. Shift and the arrow keys move a cursor, Enter uses the tool there.";
const KEPT = 24; // tints

const colorOf = (label) => hub.regions.find((region) => region.label === label)?.color ?? "#ffe11a";

const tintOf = (editor, tints) => {
  if (!tints.has(editor.frame)) {
    if (tints.size > KEPT) tints.delete(tints.keys().next().value);
    tints.set(editor.frame, paintTint(editor, editor.frame));
  }
  return tints.get(editor.frame);
};

const paintStrokes = (context, { pending, stroke, frame }) => {
  for (const wait of stroke ? [...pending, stroke] : pending)
    if (wait.path && wait.frame === frame) drawStroke(context, wait, colorOf(wait.label));
};

const paintBoxes = (context, { pending, box, cursor, frame }, unit) => {
  const drawn = box && { box: { ...box, to: (box.held && cursor) || box.to }, frame, label: hub.active };
  for (const wait of drawn ? [...pending, drawn] : pending)
    if (wait.box && wait.frame === frame)
      drawBox(context, boxOf(wait.box.from, wait.box.to).box, colorOf(wait.label), unit);
};

const paintPoints = (context, editor, unit) => {
  if (editor.hide || editor.playing) return;
  for (const [x, y, inside, label] of pointsHere(editor))
    drawPoint(context, [x, y], inside, colorOf(label), unit, label === hub.active);
};

const paintCursor = (context, { cursor, hover, tool, radius }, unit) => {
  const at = cursor ?? hover;
  if (at && (isBrush(tool) || cursor)) drawRing(context, at, isBrush(tool) ? radius : 7 * unit, unit);
};

const paint = (canvas, editor, tints) => {
  const { width, height } = canvas,
    { clip, frame } = editor,
    context = canvas.getContext("2d");
  if (clip && !editor.bitmaps[frame]) return; // what was shown stays until it comes
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!clip) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(editor.bitmaps[frame], 0, 0, width, height);
  const tint = editor.hide ? null : tintOf(editor, tints);
  if (tint?.picture) context.drawImage(tint.picture, 0, 0, width, height);
  const one = width / clip.width;
  context.setTransform(one, 0, 0, one, 0, 0);
  context.lineCap = context.lineJoin = "round";
  const unit = clip.width / canvas.clientWidth;
  paintStrokes(context, editor);
  paintBoxes(context, editor, unit);
  for (const [region, x, y] of tint?.numbers ?? []) drawNumber(context, region, x, y, unit);
  paintPoints(context, editor, unit);
  paintCursor(context, editor, unit);
};

const LANES = 44; // pixels of the timeline that come with two regions

// An own clip is as high as the timeline below leaves room for; examples, and in stacked columns, half the screen.
const roomFor = (stage, { own }) => {
  if (!own || isStacked()) return clamp(innerHeight * 0.52, 260, 620);
  const box = stage.getBoundingClientRect(),
    below = stage.parentElement.getBoundingClientRect().bottom - box.bottom;
  const lanes = stage.parentElement.querySelectorAll(".rg-lane").length ? 0 : LANES;
  return clamp(innerHeight - (box.top + scrollY) - below - lanes - 16, 220, 620);
};

// As large as there is room, as fine as the screen.
const fit = (stage, canvas, editor) => {
  if (!editor.clip || !stage.clientWidth) return;
  const { width, height } = editor.clip,
    tall = roomFor(stage, editor.clip);
  editor.scale = Math.min(stage.clientWidth / width, tall / height);
  const [across, down] = [width * editor.scale, height * editor.scale],
    dots = Math.min(devicePixelRatio || 1, 2);
  Object.assign(canvas.style, { width: Math.round(across) + "px", height: Math.round(down) + "px" });
  Object.assign(canvas, { width: Math.round(across * dots), height: Math.round(down * dots) });
  editor.draw();
};

export const makeSurface = (editor) => {
  const canvas = make("canvas", { tabIndex: 0, role: "application", ariaLabel: LABEL }),
    node = make("div", "rg-canvas-stage", canvas),
    tints = new Map();
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
  // `frames` whose masks have changed; all of them without.
  const forget = (frames) => {
    if (frames) frames.forEach((frame) => tints.delete(Number(frame)));
    else tints.clear();
    editor.draw();
  };
  return { node, canvas, fit: fitHere, forget };
};
