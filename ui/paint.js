// How masks, points and numbers look.

const KEYS = {
  Mask: [
    ["V", "add a point"], ["X", "swap add and remove"], ["Right click | Alt+click", "the other kind of point"], ["Click a point", "take it back"],
    ["B | E", "brush, eraser"], ["[ | ]", "size of the brush, as Shift+wheel"], ["C", "masks from colours, or by SAM"], ["H", "hide masks"],
    ["Shift+arrows | Enter", "move a cursor, use the tool there"], ["Esc", "leave the tool"],
  ],
  Clip: [
    [", | .", "frame before, after; arrows too"], ["Home | End", "first, last frame"], ["Space", "play"], ["N", "new region"], ["1 to 9", "choose a region"],
    ["T", "track, or stop tracking"], ["Ctrl+Z", "undo"], ["Ctrl+Shift+Z", "redo"], ["Ctrl+Enter", "run"], ["?", "these shortcuts"],
  ],
};

// "outside inside outside ..." in pixels, row by row.
const decodeRuns = (text, size) => {
  const grid = new Uint8Array(size);
  let at = 0, inside = false;
  for (const part of text ? text.split(" ") : []) {
    const end = at + Number(part);
    if (inside) grid.fill(1, at, end);
    at = end;
    inside = !inside;
  }
  return grid;
};

const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));

// Where `belongs` holds of the topmost label, in one colour.
const silhouette = (top, belongs, [red, green, blue], width, height) => {
  const picture = new OffscreenCanvas(width, height), data = new ImageData(width, height);
  for (let i = 0; i < top.length; i++) if (top[i] && belongs(top[i])) data.data.set([red, green, blue, 255], 4 * i);
  picture.getContext("2d").putImageData(data, 0, 0);
  return picture;
};

// How far an edit may reach beyond its mask: the silhouette moved all around, less all masks, faintly.
const ring = (own, all, margin) => {
  const { width, height } = own, wide = new OffscreenCanvas(width, height), faint = new OffscreenCanvas(width, height);
  const context = wide.getContext("2d"), result = faint.getContext("2d");
  for (let i = 0; i < 32; i++) for (const far of [margin, margin / 2]) context.drawImage(own, far * Math.cos((i * Math.PI) / 16), far * Math.sin((i * Math.PI) / 16));
  context.globalCompositeOperation = "destination-out";
  context.drawImage(all, 0, 0);
  result.globalAlpha = 0.2;
  result.drawImage(wide, 0, 0);
  return faint;
};

// One frame's masks as a picture: a wash, a rim of the region's colour, and a hair of white around it.
const paintTint = (editor, frame) => {
  const { width, height } = editor.clip, size = width * height;
  const top = new Uint8Array(size), picture = new OffscreenCanvas(width, height), numbers = [];
  const shown = hub.regions.filter((region) => !hub.hidden.has(region.label) && editor.masks[frame]?.[region.label]?.runs);
  for (const region of [...shown].reverse()) {
    const entry = editor.masks[frame][region.label];
    entry.grid ??= decodeRuns(entry.runs, size);
    for (let i = 0; i < size; i++) if (entry.grid[i]) top[i] = region.label;
  }
  if (shown.length) {
    const context = picture.getContext("2d"), data = new ImageData(width, height), pixels = data.data;
    const table = {}, tops = {}, thick = Math.max(width, height) > 420 ? 2 : 1;
    for (const region of shown) { table[region.label] = channels(region.color); tops[region.label] = null; }
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const label = top[i];
        let rim = false;
        for (let d = 1; d <= (label ? thick : 1) && !rim; d++) {
          rim = (x >= d && top[i - d] !== label) || (x + d < width && top[i + d] !== label) || (y >= d && top[i - d * width] !== label) || (y + d < height && top[i + d * width] !== label);
        }
        if (!label && !rim) continue;
        const color = label ? table[label] : [255, 255, 255], at = 4 * i;
        pixels[at] = color[0]; pixels[at + 1] = color[1]; pixels[at + 2] = color[2];
        pixels[at + 3] = label ? (rim ? 255 : label === hub.active ? 112 : 78) : 150;
        if (label && (tops[label] === null || (tops[label][1] === y && tops[label][2] === x - 1))) tops[label] = [tops[label]?.[0] ?? x, y, x];
      }
    }
    const all = silhouette(top, () => true, [0, 0, 0], width, height);
    context.putImageData(data, 0, 0);
    context.globalCompositeOperation = "destination-over";
    for (const region of shown) {
      if (!region.margin || !region.prompt.trim()) continue;
      const own = silhouette(top, (label) => label === region.label, table[region.label], width, height);
      context.drawImage(ring(own, all, region.margin), 0, 0);
    }
    // The number sits on top of its mask, out of the way of clicks.
    for (const region of shown) if (tops[region.label]) numbers.push([region, (tops[region.label][0] + tops[region.label][2]) / 2, tops[region.label][1]]);
  }
  return { picture, numbers };
};

const drawPoint = (context, x, y, inside, color, unit, strong) => {
  const r = 7 * unit;
  context.globalAlpha = strong ? 1 : 0.55;
  context.beginPath();
  context.arc(x, y, r, 0, 7);
  context.fillStyle = inside ? "#fff" : "#111";
  context.fill();
  context.lineWidth = 2.5 * unit;
  context.strokeStyle = isColor(color) ? color : "#fff";
  context.stroke();
  context.lineWidth = 2 * unit;
  context.strokeStyle = inside ? "#111" : "#fff";
  context.beginPath();
  context.moveTo(x - r / 2, y);
  context.lineTo(x + r / 2, y);
  if (inside) { context.moveTo(x, y - r / 2); context.lineTo(x, y + r / 2); }
  context.stroke();
  context.globalAlpha = 1;
};

const drawNumber = (context, region, x, y, unit) => {
  const r = 9 * unit;
  y = Math.max(y, r + unit);
  const [red, green, blue] = channels(region.color);
  context.globalAlpha = 0.92;
  context.beginPath();
  context.roundRect(x - r, y - r, 2 * r, 2 * r, 5 * unit);
  context.fillStyle = region.color;
  context.fill();
  context.lineWidth = unit;
  context.strokeStyle = "rgba(255,255,255,.85)";
  context.stroke();
  context.fillStyle = 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#111" : "#fff";
  context.font = "700 " + 12 * unit + "px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(String(region.label), x, y + unit / 2);
  context.globalAlpha = 1;
};

const makeHelp = () => {
  const dialog = make("dialog", "rg-help"), lists = make("div", "rg-help-lists"), title = make("h2", "", "Shortcuts");
  title.id = "rg-help-title";
  dialog.setAttribute("aria-labelledby", title.id);
  for (const [name, keys] of Object.entries(KEYS)) {
    const list = make("dl");
    for (const [text, does] of keys) {
      const key = make("dt");
      for (const part of text.split(" | ")) key.append(make("kbd", "", part));
      list.append(key, make("dd", "", does));
    }
    const box = make("section");
    box.append(make("h3", "", name), list);
    lists.append(box);
  }
  dialog.append(title, lists, button("rg-tool", "Close", () => dialog.close()));
  return dialog;
};
