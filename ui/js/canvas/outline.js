// @ts-check
// Pixels of masks; nothing here touches the document.

/** @typedef {Uint8Array} Grid a number per pixel, row by row */
/** @typedef {number[]} Color red, green and blue, 0 to 255 */

/**
 * Read a mask from lengths of runs, "outside inside outside ..." in pixels, row by row.
 * @param {string} text
 * @param {number} size pixels in all
 * @returns {Grid}
 */
export const decodeRuns = (text, size) => {
  const grid = new Uint8Array(size);
  let at = 0;
  let inside = false;
  for (const part of text ? text.split(" ") : []) {
    const end = at + Number(part);
    if (inside) grid.fill(1, at, end);
    at = end;
    inside = !inside;
  }
  return grid;
};

/**
 * Return the topmost label of each pixel, 0 for none.
 * @param {{ label: number, grid: Grid }[]} layers the uppermost first
 * @param {number} size pixels in all
 * @returns {Grid}
 */
export const stackLabels = (layers, size) => {
  const top = new Uint8Array(size);
  for (const { label, grid } of [...layers].reverse()) {
    for (let i = 0; i < size; i++) if (grid[i]) top[i] = label;
  }
  return top;
};

/**
 * Tell whether another label is within `reach` pixels of pixel i = (x, y), across or down.
 * @param {Grid} top
 * @param {number} i
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 * @param {number} reach
 */
export const isRim = (top, i, x, y, width, height, reach) => {
  const label = top[i];
  for (let d = 1; d <= reach; d++) {
    if (x >= d && top[i - d] !== label) return true;
    if (x + d < width && top[i + d] !== label) return true;
    if (y >= d && top[i - d * width] !== label) return true;
    if (y + d < height && top[i + d * width] !== label) return true;
  }
  return false;
};

/**
 * Return how deep each pixel lies inside its label, in pixels, by a sweep there and one back.
 * @param {Grid} top
 * @param {number} width
 * @param {number} height
 * @param {number} most
 */
export const depths = (top, width, height, most) => {
  const depth = new Float32Array(top.length).fill(most);
  const visit = (i, x, y, side) => {
    if (!top[i]) return;
    const look = (dx, dy, far) => {
      if (x + dx < 0 || x + dx >= width || y + dy < 0 || y + dy >= height) return;
      const j = i + dx + dy * width;
      depth[i] = Math.min(depth[i], top[j] === top[i] ? depth[j] + far : far / 2);
    };
    look(side, 0, 1);
    look(0, side, 1);
    look(side, side, Math.SQRT2);
    look(-side, side, Math.SQRT2);
  };
  for (let i = 0; i < top.length; i++) visit(i, i % width, Math.floor(i / width), -1);
  for (let i = top.length - 1; i >= 0; i--) visit(i, i % width, Math.floor(i / width), 1);
  return depth;
};

// How opaque each part of a tint is, 0 to 255.
const RIM = 255;
const WASH_OF_ACTIVE = 112;
const WASH = 78;
const HAIR = 150;
const WHITE = [255, 255, 255];
const LARGE = 420; // pixels of the longer side from which rims are two wide

/**
 * Paint masks as RGBA: a wash, a rim of the region's colour, and a hair of white around it.
 * @param {Grid} top label of each pixel
 * @param {number} width
 * @param {number} height
 * @param {Record<number, Color>} colors by label
 * @param {number} active label of the selected region
 * @param {Record<string, number>} feathers by label, over how many pixels a region's wash fades in
 */
export const tintPixels = (top, width, height, colors, active, feathers = {}) => {
  const reaches = Object.keys(colors).map((label) => feathers[label] ?? 0);
  const widest = Math.max(0, ...reaches);
  const depth = widest ? depths(top, width, height, widest) : new Float32Array();
  const wash = (label, i) => {
    const full = label === active ? WASH_OF_ACTIVE : WASH;
    const feather = feathers[label];
    return feather ? full * Math.min(1, depth[i] / feather) : full;
  };
  const pixels = new Uint8ClampedArray(4 * width * height);
  const thick = Math.max(width, height) > LARGE ? 2 : 1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = top[i];
      const rim = isRim(top, i, x, y, width, height, label ? thick : 1);
      if (label) {
        const [red, green, blue] = colors[label];
        pixels.set([red, green, blue, rim ? RIM : wash(label, i)], 4 * i);
      } else if (rim) {
        pixels.set([...WHITE, HAIR], 4 * i);
      }
    }
  }
  return pixels;
};

/**
 * Paint one label as RGBA in one colour, where it is the topmost.
 * @param {Grid} top label of each pixel
 * @param {number | null} label null for all of them
 * @param {Color} color
 */
export const silhouettePixels = (top, label, [red, green, blue]) => {
  const pixels = new Uint8ClampedArray(4 * top.length);
  for (let i = 0; i < top.length; i++) {
    const isIn = top[i] && (label === null || top[i] === label);
    if (isIn) pixels.set([red, green, blue, 255], 4 * i);
  }
  return pixels;
};

/**
 * Return by label the middle of the first run of its uppermost row, as [x, y].
 * @param {Grid} top
 * @param {number} width
 * @returns {Record<string, number[]>}
 */
export const crowns = (top, width) => {
  /** @type {Record<number, { first: number, last: number, y: number }>} */
  const found = {};
  for (let i = 0; i < top.length; i++) {
    const label = top[i];
    if (!label) continue;
    const x = i % width;
    const y = (i - x) / width;
    const run = found[label];
    if (!run) found[label] = { first: x, last: x, y };
    else if (run.y === y && run.last === x - 1) run.last = x;
  }
  const middles = Object.entries(found).map(([label, { first, last, y }]) => [
    label,
    [(first + last) / 2, y],
  ]);
  return Object.fromEntries(middles);
};
