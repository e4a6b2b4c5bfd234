// @ts-check
// Points, strokes, numbers and cursors on the canvas, in pixels of the clip; `unit` is one of the screen in those.
import { inkOn, isColor } from "../shared/color.js";

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {import("../types").Place} Place */

const WHOLE_TURN = 2 * Math.PI;

/**
 * @param {Context} context
 * @param {Place} at
 * @param {boolean} inside whether it belongs to the region: a plus, otherwise a minus
 * @param {string} color
 * @param {number} unit
 * @param {boolean} strong
 */
export const drawPoint = (context, [x, y], inside, color, unit, strong) => {
  const r = 7 * unit;
  const disc = new Path2D();
  disc.arc(x, y, r, 0, WHOLE_TURN);
  const minus = `M${x - r / 2} ${y}h${r}`;
  const upright = `M${x} ${y - r / 2}v${r}`;
  const sign = new Path2D(inside ? minus + upright : minus);
  context.globalAlpha = strong ? 1 : 0.55;
  context.fillStyle = inside ? "#fff" : "#111";
  context.fill(disc);
  context.lineWidth = 2.5 * unit;
  context.strokeStyle = isColor(color) ? color : "#fff";
  context.stroke(disc);
  context.lineWidth = 2 * unit;
  context.strokeStyle = inside ? "#111" : "#fff";
  context.stroke(sign);
  context.globalAlpha = 1;
};

/**
 * @param {Context} context
 * @param {{ label: number, color: string }} region
 * @param {number} x
 * @param {number} top
 * @param {number} unit
 */
export const drawNumber = (context, { label, color }, x, top, unit) => {
  const r = 9 * unit;
  const y = Math.max(top, r + unit);
  context.globalAlpha = 0.92;
  context.beginPath();
  context.roundRect(x - r, y - r, 2 * r, 2 * r, 5 * unit);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = unit;
  context.strokeStyle = "rgba(255,255,255,.85)";
  context.stroke();
  context.fillStyle = inkOn(color);
  context.font = "700 " + 12 * unit + "px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(label), x, y + unit / 2);
  context.globalAlpha = 1;
};

/**
 * @param {Context} context
 * @param {{ path: Place[], radius: number, erase: boolean }} stroke
 * @param {string} color
 */
export const drawStroke = (context, { path, radius, erase }, color) => {
  context.globalAlpha = 0.55;
  context.strokeStyle = erase ? "#fff" : color;
  context.lineWidth = 2 * radius;
  context.stroke(new Path2D(`M${path.join("L")}h.01`)); // a dab has a length too
  context.globalAlpha = 1;
};

/**
 * @param {Context} context
 * @param {number[]} box [x, y, width, height]
 * @param {string} color
 * @param {number} unit
 */
export const drawBox = (context, [x, y, width, height], color, unit) => {
  context.lineWidth = 3 * unit;
  context.strokeStyle = "rgba(0,0,0,.7)";
  context.strokeRect(x, y, width, height);
  context.lineWidth = 1.5 * unit;
  context.strokeStyle = isColor(color) ? color : "#fff";
  context.setLineDash([6 * unit, 4 * unit]);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
};

/**
 * @param {Context} context
 * @param {Place} at
 * @param {number} radius
 * @param {number} unit
 */
export const drawRing = (context, [x, y], radius, unit) => {
  for (const [color, wide] of Object.entries({ "#000": 3, "#fff": 1.5 })) {
    context.strokeStyle = color;
    context.lineWidth = wide * unit;
    context.beginPath();
    context.arc(x, y, radius, 0, WHOLE_TURN);
    context.stroke();
  }
};
