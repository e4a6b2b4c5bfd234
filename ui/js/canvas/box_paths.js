// @ts-check
// The boxes that are edited: read, moved and written as `focus` takes them. Nothing here touches the document.
import { clamp } from "../shared/numbers.js";

/** @typedef {[left: number, top: number, width: number, height: number]} FrameBox in pixels of the clip */
/** @typedef {{ start: number, width: number, height: number, places: number[][] }} Part boxes from a frame on */
/** @typedef {{ width: number, height: number }} Size */
/** @typedef {"move" | "nw" | "ne" | "sw" | "se"} Grip */

const LEAST = 16; // pixels of the clip: the shorter side of a box
const PART = /^(?:(\d+):)?(\d+)x(\d+)((?:\+\d+\+\d+)+)$/;

/**
 * Read boxes such as "320x240+96+40, 48:200x150+10+20+11+20": from frame 48 on others, one for each frame.
 * @param {string} text
 * @returns {Part[]}
 */
export const readPath = (text) => {
  const parts = [];
  for (const one of text.split(",")) {
    const found = PART.exec(one.trim());
    if (!found) continue;
    const [start, width, height] = found.slice(1, 4).map((number) => Number(number ?? 0));
    const numbers = found[4].slice(1).split("+").map(Number);
    const places = [];
    for (let i = 0; i < numbers.length; i += 2) places.push(numbers.slice(i, i + 2));
    parts.push({ start, width, height, places });
  }
  return parts;
};

/** @param {Part[]} parts */
export const writePath = (parts) => {
  const written = parts.map(({ start, width, height, places }) => {
    const still = places.every(([x, y]) => x === places[0][0] && y === places[0][1]);
    const corners = (still ? places.slice(0, 1) : places).map(([x, y]) => `+${x}+${y}`);
    return `${start ? start + ":" : ""}${width}x${height}${corners.join("")}`;
  });
  return written.join(", ");
};

/** @param {Part[]} parts @param {number} frame */
const partAt = (parts, frame) => parts.findLast(({ start }) => start <= frame) ?? parts[0];

/**
 * @param {Part[]} parts
 * @param {number} frame
 * @returns {FrameBox}
 */
export const boxAt = (parts, frame) => {
  const { start, width, height, places } = partAt(parts, frame);
  const [left, top] = places[Math.min(frame - start, places.length - 1)];
  return [left, top, width, height];
};

/**
 * Return the boxes once that of a frame was changed: all of its shot get its size, and go as far as it went.
 * @param {Part[]} parts
 * @param {number} frame
 * @param {FrameBox} box
 * @param {Size} clip
 */
export const withBox = (parts, frame, [left, top, width, height], clip) => {
  const [oldLeft, oldTop] = boxAt(parts, frame);
  const own = partAt(parts, frame);
  const places = own.places.map(([x, y]) => [
    clamp(x + left - oldLeft, 0, clip.width - width),
    clamp(y + top - oldTop, 0, clip.height - height),
  ]);
  return parts.map((part) => (part === own ? { ...part, width, height, places } : part));
};

/**
 * Return one side of a box after a drag of its lower (-1) or upper (1) end, or of the whole (0): [begin, length].
 * @param {number} begin
 * @param {number} length
 * @param {number} by
 * @param {number} end
 * @param {number} most
 */
const side = (begin, length, by, end, most) => {
  if (end === 0) return [clamp(begin + by, 0, most - length), length];
  const least = Math.min(LEAST, most);
  if (end > 0) return [begin, clamp(length + by, least, most - begin)];
  const moved = clamp(begin + by, 0, Math.max(0, begin + length - least));
  return [moved, begin + length - moved];
};

/**
 * Return a box, within the clip and in whole pixels, after a drag of it or of a corner.
 * @param {FrameBox} box
 * @param {Grip} grip
 * @param {number} right how far, in pixels of the clip
 * @param {number} down
 * @param {Size} clip
 * @returns {FrameBox}
 */
export const dragged = ([left, top, width, height], grip, right, down, clip) => {
  const across = grip === "move" ? 0 : grip.endsWith("w") ? -1 : 1;
  const along = grip === "move" ? 0 : grip.startsWith("n") ? -1 : 1;
  const [x, w] = side(left, width, Math.round(right), across, clip.width);
  const [y, h] = side(top, height, Math.round(down), along, clip.height);
  return [x, y, w, h];
};
