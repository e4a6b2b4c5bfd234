// @ts-check
// One frame's masks as a picture over the frame.
import { channels } from "../shared/color.js";
import { hub } from "../shared/hub.js";
import { crowns, decodeRuns, silhouettePixels, stackLabels, tintPixels } from "./outline.js";

/** @typedef {import("../types").Region} Region */

const TURNS = 32; // around a silhouette
const FAINT = 0.2;

/** @param {number} width @param {number} height */
const newPicture = (width, height) => {
  const picture = new OffscreenCanvas(width, height);
  const context = picture.getContext("2d");
  if (!context) throw new Error("The browser paints no canvas.");
  return { picture, context };
};

/** @param {Uint8ClampedArray<ArrayBuffer>} pixels @param {number} width @param {number} height */
const pictureOf = (pixels, width, height) => {
  const made = newPicture(width, height);
  made.context.putImageData(new ImageData(pixels, width, height), 0, 0);
  return made;
};

/**
 * Draw how far an edit may reach beyond its mask: the silhouette moved all around, less all masks, faintly.
 * @param {OffscreenCanvas} own silhouette of the region
 * @param {OffscreenCanvas} all silhouettes
 * @param {number} margin pixels
 */
const marginPicture = (own, all, margin) => {
  const { width, height } = own;
  const { picture: wide, context } = newPicture(width, height);
  const { picture: faint, context: result } = newPicture(width, height);
  for (let i = 0; i < TURNS; i++) {
    const angle = (2 * Math.PI * i) / TURNS;
    for (const far of [margin, margin / 2])
      context.drawImage(own, far * Math.cos(angle), far * Math.sin(angle));
  }
  context.globalCompositeOperation = "destination-out";
  context.drawImage(all, 0, 0);
  result.globalAlpha = FAINT;
  result.drawImage(wide, 0, 0);
  return faint;
};

/**
 * @param {ReturnType<typeof newPicture>} tint
 * @param {Uint8Array} top label of each pixel
 * @param {Region[]} shown
 */
const addMargins = ({ picture: { width, height }, context }, top, shown) => {
  const wide = shown.filter((region) => region.margin && region.prompt.trim());
  if (!wide.length) return;
  const { picture: all } = pictureOf(silhouettePixels(top, null, [0, 0, 0]), width, height);
  context.globalCompositeOperation = "destination-over";
  for (const { label, color, margin } of wide) {
    const { picture: own } = pictureOf(silhouettePixels(top, label, channels(color)), width, height);
    context.drawImage(marginPicture(own, all, margin), 0, 0);
  }
};

/**
 * Paint the masks of a frame.
 * @param {import("../types").Editor} editor
 * @param {number} frame
 * @returns {{ picture: OffscreenCanvas | null, numbers: [region: Region, x: number, y: number][] }} the picture, and where
 *   the number of each region is: on top of its mask, out of the way of clicks
 */
export const paintTint = (editor, frame) => {
  const { width, height } = editor.clip ?? { width: 1, height: 1 };
  const size = width * height;
  const masks = editor.masks[frame] ?? {};
  const shown = hub.regions.filter(({ label }) => !hub.hidden.has(label) && masks[label]?.runs);
  if (!shown.length) return { picture: null, numbers: [] };
  // Not kept: a grid has a byte per pixel, and a long clip many.
  const layers = shown.map(({ label }) => ({ label, grid: decodeRuns(masks[label].runs, size) }));
  const top = stackLabels(layers, size);
  const colors = Object.fromEntries(shown.map(({ label, color }) => [label, channels(color)]));
  const pixels = tintPixels(top, width, height, colors, hub.active, editor.feathers);
  const tint = pictureOf(pixels, width, height);
  addMargins(tint, top, shown);
  const places = crowns(top, width);
  /** @type {[Region, number, number][]} */
  const numbers = [];
  for (const region of shown) {
    const place = places[region.label];
    if (place) numbers.push([region, place[0], place[1]]);
  }
  return { picture: tint.picture, numbers };
};
