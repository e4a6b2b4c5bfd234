// @ts-check
// One frame's masks as shapes over the frame, sharp at any zoom.
import { channels } from "../shared/color.js";
import { hub } from "../shared/hub.js";
import {
  WASH,
  WASH_OF_ACTIVE,
  boxAround,
  crownOf,
  decodeRuns,
  fadingPixels,
  outlines,
  stackLabels,
} from "./outline.js";

/** @typedef {import("../types").Region} Region */
/**
 * @typedef {object} Shape
 * @property {Region} region
 * @property {Path2D} path its outline, in pixels of the clip
 * @property {number[]} box left, top, right and bottom of it
 * @property {OffscreenCanvas | null} fading its wash where it is feathered
 * @property {number[]} crown where its number is: on top of it, out of the way of clicks
 */

/** @param {Uint8ClampedArray<ArrayBuffer>} pixels @param {number} width @param {number} height */
const pictureOf = (pixels, width, height) => {
  const picture = new OffscreenCanvas(width, height);
  const context = picture.getContext("2d");
  if (!context) throw new Error("The browser paints no canvas.");
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  return picture;
};

/** @param {number[][][]} rings */
const pathOf = (rings) => {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
};

/**
 * Return the outline of one mask, in pixels of the clip.
 * @param {string} runs see `decodeRuns`
 * @param {{ width: number, height: number }} clip
 */
export const pathOfRuns = (runs, { width, height }) =>
  pathOf(outlines(decodeRuns(runs, width * height), width, height)[1] ?? []);

/**
 * Return the shapes of the masks of a frame, the uppermost first.
 * @param {import("../types").Editor} editor
 * @param {number} frame
 * @returns {Shape[]}
 */
export const shapesOn = (editor, frame) => {
  const { width, height } = editor.clip ?? { width: 1, height: 1 };
  const masks = editor.masks[frame] ?? {};
  const shown = hub.regions.filter(({ label }) => !hub.hidden.has(label) && masks[label]?.runs);
  if (!shown.length) return [];
  // Not kept: a grid has a byte per pixel, and a long clip many.
  const layers = shown.map(({ label }) => ({ label, grid: decodeRuns(masks[label].runs, width * height) }));
  const top = stackLabels(layers, width * height);
  const rings = outlines(top, width, height);
  const seen = shown.filter(({ label }) => rings[label]);
  return seen.map((region) => {
    const { label, color } = region;
    const feather = editor.feathers?.[label];
    const full = label === hub.active ? WASH_OF_ACTIVE : WASH;
    const fade = () => fadingPixels(top, width, height, label, channels(color), full, feather ?? 0);
    const fading = feather ? pictureOf(fade(), width, height) : null;
    const path = pathOf(rings[label]);
    return { region, path, box: boxAround(rings[label]), fading, crown: crownOf(rings[label]) };
  });
};
