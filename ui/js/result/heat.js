// @ts-check
// A map of attention in colour, as `pictures.heat` of the server draws it. Nothing here touches the document.
import { channels } from "../shared/color.js";
import { clamp } from "../shared/numbers.js";

const BRIGHT = 0.45; // of 1, the least lightness of the colour: a dark one would not be seen

// A part of a colour, moved towards white by a share.
/** @param {number} part @param {number} share */
const whiten = (part, share) => part + (255 - part) * share;

/**
 * Paint a map as RGBA: the colour, then white where it is hottest.
 * @param {number[]} levels 0 to 255 a cell
 * @param {string} color
 */
export const heatPixels = (levels, color) => {
  const own = channels(color);
  const sum = own.reduce((total, part) => total + part, 0);
  const lift = Math.max(0, BRIGHT - sum / 3 / 255);
  const base = own.map((part) => whiten(part, lift));
  const pixels = new Uint8ClampedArray(4 * levels.length);
  levels.forEach((byte, i) => {
    const level = byte / 255;
    const white = 0.7 * clamp((level - 0.6) / 0.4, 0, 1);
    const [red, green, blue] = base.map((part) => whiten(part, white));
    pixels.set([red, green, blue, 255 * level ** 0.7], 4 * i);
  });
  return pixels;
};
