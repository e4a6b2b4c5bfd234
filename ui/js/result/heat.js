// A map of attention as colours; nothing here touches the document.
import { channels } from "../shared/color.js";

const BRIGHT = 0.45; // of 1, the least lightness of the colour: a dark one would not be seen

// From a map, 0 to 255 a cell, to red, green, blue and alpha: the colour, then white where it is hottest.
export const heatPixels = (levels, color) => {
  const own = channels(color),
    lift = Math.max(0, BRIGHT - own.reduce((sum, part) => sum + part, 0) / 3 / 255);
  const base = own.map((part) => part + (255 - part) * lift);
  const pixels = new Uint8ClampedArray(4 * levels.length);
  levels.forEach((byte, i) => {
    const level = byte / 255,
      white = Math.min(1, Math.max(0, (level - 0.6) / 0.4)) * 0.7;
    base.forEach((part, c) => (pixels[4 * i + c] = part + (255 - part) * white));
    pixels[4 * i + 3] = 255 * level ** 0.7;
  });
  return pixels;
};

// Where one map lies in a sheet of them, in cells: a column per frame, two rows per part, before and after.
export const placeOf = ({ width, height }, { columns, parts }, { column, part, after }) => {
  const [w, h] = [width / columns, height / (2 * parts)];
  return [column * w, (2 * part + (after ? 1 : 0)) * h, w, h];
};
