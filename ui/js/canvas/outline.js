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

const AROUND = [
  // By the corners of a cell that are inside (1 upper left, 2 upper right, 4 lower right, 8 lower left): from which
  // side of the cell to which the outline leads, the inside always on the same hand; 0 top, 1 right, 2 bottom, 3 left.
  [],
  [[3, 0]],
  [[0, 1]],
  [[3, 1]],
  [[1, 2]],
  [
    [3, 0],
    [1, 2],
  ],
  [[0, 2]],
  [[3, 2]],
  [[2, 3]],
  [[2, 0]],
  [
    [0, 1],
    [2, 3],
  ],
  [[2, 1]],
  [[1, 3]],
  [[1, 0]],
  [[0, 3]],
  [],
];
// Where the middle of a side lies, in half pixels from the cell's first corner, which is the middle of a pixel.
const SIDES = [
  [1, 0],
  [2, 1],
  [1, 2],
  [0, 1],
];

/**
 * Add the pieces of outlines within one cell, whose corners are the middles of four pixels.
 * @param {Record<number, Map<number, number>>} pieces
 * @param {number[]} corners labels, from the upper left one clockwise
 * @param {(side: number[]) => number} place
 */
const addPieces = (pieces, corners, place) => {
  for (const label of new Set(corners)) {
    if (!label) continue;
    const inside = corners.reduce((sum, one, i) => sum + (one === label ? 2 ** i : 0), 0);
    pieces[label] ??= new Map();
    for (const [from, to] of AROUND[inside]) pieces[label].set(place(SIDES[from]), place(SIDES[to]));
  }
};

/**
 * Collect the pieces of all outlines: by label, from where each leads to where; places are numbers of half pixels.
 * @param {Grid} top label of each pixel, 0 for none
 * @param {number} width
 * @param {number} height
 */
const outlinePieces = (top, width, height) => {
  const wide = 2 * width + 4;
  /** @type {Record<number, Map<number, number>>} */
  const pieces = {};
  const beyond = new Uint8Array(width);
  /** @param {number} y */
  const rowAt = (y) => (y < 0 || y >= height ? beyond : top.subarray(y * width, (y + 1) * width));
  for (let y = -1; y < height; y++) {
    const above = rowAt(y);
    const below = rowAt(y + 1);
    let a = 0;
    let d = 0;
    for (let x = -1; x < width; x++) {
      const b = x + 1 < width ? above[x + 1] : 0;
      const c = x + 1 < width ? below[x + 1] : 0;
      if (a !== b || a !== c || a !== d)
        addPieces(pieces, [a, b, c, d], ([dx, dy]) => (2 * y + dy + 2) * wide + 2 * x + dx + 2);
      a = b;
      d = c;
    }
  }
  return { pieces, wide };
};

/**
 * Return by label the closed outlines of a frame's masks, holes among them, as lists of [x, y] in pixels.
 * @param {Grid} top label of each pixel, 0 for none
 * @param {number} width
 * @param {number} height
 * @returns {Record<number, number[][][]>}
 */
export const outlines = (top, width, height) => {
  const { pieces, wide } = outlinePieces(top, width, height);
  /** @param {number} number */
  const placeOf = (number) => [((number % wide) - 2) / 2 + 0.5, (Math.floor(number / wide) - 2) / 2 + 0.5];
  /** @type {Record<number, number[][][]>} */
  const found = {};
  for (const [name, next] of Object.entries(pieces)) {
    const label = Number(name);
    found[label] = [];
    while (next.size) {
      const [start] = next.keys();
      const ring = [];
      for (let here = start; next.has(here);) {
        const there = /** @type {number} */ (next.get(here));
        next.delete(here);
        ring.push(placeOf(here));
        here = there;
      }
      found[label].push(ring);
    }
  }
  return found;
};

/**
 * Return the smallest box around outlines, as [left, top, right, bottom] in pixels.
 * @param {number[][][]} rings
 */
export const boxAround = (rings) => {
  const xs = rings.flatMap((ring) => ring.map(([x]) => x));
  const ys = rings.flatMap((ring) => ring.map(([, y]) => y));
  /** @param {number[]} numbers */
  const least = (numbers) => numbers.reduce((low, one) => Math.min(low, one), Infinity);
  /** @param {number[]} numbers */
  const most = (numbers) => numbers.reduce((high, one) => Math.max(high, one), -Infinity);
  return [least(xs), least(ys), most(xs), most(ys)];
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
  /** @param {number} i @param {number} x @param {number} y @param {number} side */
  const visit = (i, x, y, side) => {
    if (!top[i]) return;
    /** @param {number} dx @param {number} dy @param {number} far */
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

// How opaque the wash of a mask is, 0 to 255.
export const WASH_OF_ACTIVE = 96;
export const WASH = 66;

/**
 * Paint one label as RGBA, fading in over some pixels from its edge.
 * @param {Grid} top label of each pixel
 * @param {number} width
 * @param {number} height
 * @param {number} label
 * @param {Color} color
 * @param {number} full how opaque it is inside, 0 to 255
 * @param {number} feather pixels
 */
export const fadingPixels = (top, width, height, label, [red, green, blue], full, feather) => {
  const depth = depths(top, width, height, feather);
  const pixels = new Uint8ClampedArray(4 * top.length);
  for (let i = 0; i < top.length; i++)
    if (top[i] === label) pixels.set([red, green, blue, full * Math.min(1, depth[i] / feather)], 4 * i);
  return pixels;
};

/**
 * Return how much an outline encloses, in pixels.
 * @param {number[][]} ring
 */
const areaOf = (ring) => {
  const sum = ring.reduce((sum, [x, y], i) => {
    const [left, above] = ring.at(i - 1) ?? [0, 0];
    return sum + left * y - x * above;
  }, 0);
  return Math.abs(sum / 2);
};

/**
 * Return the middle of the first run of the uppermost row of the largest outline, as [x, y].
 * @param {number[][][]} rings each begins with that run, and ends with the rest of it, see `outlines`
 */
export const crownOf = (rings) => {
  const largest = rings.reduce((most, ring) => (areaOf(ring) > areaOf(most) ? ring : most));
  const [first, y] = largest[0];
  const before = largest.findLastIndex((place) => place[1] !== y);
  const [last] = largest[before + 1] ?? largest[0];
  return [(first + last) / 2, y];
};
