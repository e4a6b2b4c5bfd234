// Pixels of masks; nothing here touches the document.

// A mask from lengths of runs, "outside inside outside ..." in pixels, row by row.
export const decodeRuns = (text, size) => {
  const grid = new Uint8Array(size);
  let at = 0,
    inside = false;
  for (const part of text ? text.split(" ") : []) {
    const end = at + Number(part);
    if (inside) grid.fill(1, at, end);
    at = end;
    inside = !inside;
  }
  return grid;
};

// The topmost label of each pixel, 0 for none; `layers` are { label, grid }, the uppermost first.
export const stackLabels = (layers, size) => {
  const top = new Uint8Array(size);
  for (const { label, grid } of [...layers].reverse())
    for (let i = 0; i < size; i++) if (grid[i]) top[i] = label;
  return top;
};

// Whether another label is within `reach` pixels of pixel i = (x, y), across or down.
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

// How deep each pixel lies inside its label, in pixels, up to `most`: a sweep there and one back.
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

const RIM = 255,
  ACTIVE = 112,
  WASH = 78,
  HAIR = 150;

// RGBA: a wash, a rim of the region's colour, and a hair of white around it. `colors` are [r, g, b] by label;
// a region's wash fades in over as many pixels as `feathers` says.
export const tintPixels = (top, width, height, colors, active, feathers = {}) => {
  const widest = Math.max(0, ...Object.keys(colors).map((label) => feathers[label] ?? 0)),
    depth = widest ? depths(top, width, height, widest) : null;
  const wash = (label, i) => {
    const full = label === active ? ACTIVE : WASH;
    return feathers[label] ? full * Math.min(1, depth[i] / feathers[label]) : full;
  };
  const pixels = new Uint8ClampedArray(4 * width * height);
  const thick = Math.max(width, height) > 420 ? 2 : 1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const label = top[i],
        rim = isRim(top, i, x, y, width, height, label ? thick : 1);
      if (!label && !rim) continue;
      const [red, green, blue] = label ? colors[label] : [255, 255, 255];
      const alpha = !label ? HAIR : rim ? RIM : wash(label, i);
      pixels.set([red, green, blue, alpha], 4 * i);
    }
  }
  return pixels;
};

// RGBA: where the topmost label is `label`, any for null, in one colour.
export const silhouettePixels = (top, label, [red, green, blue]) => {
  const pixels = new Uint8ClampedArray(4 * top.length);
  for (let i = 0; i < top.length; i++)
    if (top[i] && (label === null || top[i] === label)) pixels.set([red, green, blue, 255], 4 * i);
  return pixels;
};

// By label, the middle of the first run of its uppermost row, as [x, y].
export const crowns = (top, width) => {
  const found = {};
  for (let i = 0; i < top.length; i++) {
    const label = top[i];
    if (!label) continue;
    const x = i % width,
      y = (i - x) / width,
      known = found[label];
    if (!known) found[label] = [x, x, y];
    else if (known[2] === y && known[1] === x - 1) known[1] = x;
  }
  return Object.fromEntries(
    Object.entries(found).map(([label, [first, last, y]]) => [label, [(first + last) / 2, y]]),
  );
};
