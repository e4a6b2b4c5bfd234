// @ts-check
// Attention laid over the clip: of a region or word, at the player's frame, in the steps that are chosen.
import { badge, channels, heatLegend } from "../shared/color.js";
import { chooser, make, pressOnly, slider } from "../shared/dom.js";
import { nearest } from "../shared/numbers.js";

const PARTS = { all: "All steps", early: "Early", middle: "Middle", late: "Late" };
const DARKEN = 0.55; // of the picture below, where the map is fully opaque
const BRIGHT = 0.45; // of 1, the least lightness of the colour: a dark one would not be seen

// From a map, 0 to 255 a cell, to red, green, blue and alpha: the colour, then white where it is hottest.
const heatPixels = (levels, color) => {
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

const readSheet = async (url) => {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  const canvas = make("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return { context, width: canvas.width, height: canvas.height };
};

// One map of a sheet of them, on a small canvas of its own grid, to be scaled up smoothly.
const paintMap = ({ context, width, height }, [columns, rows], [column, row], color) => {
  const [w, h] = [width / columns, height / rows];
  const { data } = context.getImageData(column * w, row * h, w, h);
  const levels = Array.from({ length: w * h }, (_, i) => data[4 * i]);
  const canvas = make("canvas", { width: w, height: h });
  canvas.getContext("2d").putImageData(new ImageData(heatPixels(levels, color), w, h), 0, 0);
  return canvas;
};

const drawOver = (canvas, video, map, opacity) => {
  const context = canvas.getContext("2d"),
    { width, height } = canvas;
  context.globalAlpha = 1;
  if (video?.readyState > 1) context.drawImage(video, 0, 0, width, height);
  context.globalAlpha = DARKEN * opacity;
  context.fillRect(0, 0, width, height);
  context.globalAlpha = opacity;
  context.imageSmoothingQuality = "high";
  context.drawImage(map, 0, 0, width, height);
};

const makePane = (caption) => {
  const canvas = make("canvas", { role: "img" });
  return { figure: make("figure", {}, canvas, make("figcaption", {}, caption)), canvas, caption };
};

// The picture below is that of the player's own video, which may still be on its way to the frame.
const sourceVideo = () => document.querySelector("#player video.source");

const addDrawing = (view, value) => {
  view.draw = () => {
    const { map, sheet, panes, part, opacity } = view,
      video = sourceVideo();
    if (!sheet || !view.root.isConnected) return;
    // A column per frame, two rows per part: before and after.
    const size = [value.indices.length, 2 * map.parts.length],
      first = [nearest(value.indices, view.frame), 2 * Math.max(0, map.parts.indexOf(part))];
    panes.forEach(({ canvas, caption }, i) => {
      const width = 480,
        height = Math.round((width * (video?.videoHeight || 1)) / (video?.videoWidth || 1));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const at = [first[0], first[1] + i];
      drawOver(canvas, video, paintMap(sheet, size, at, map.color), opacity.value / 100);
      canvas.ariaLabel = `${map.caption}, ${caption}, ${PARTS[part]}, frame ${view.frame}`;
    });
  };
};

// Which map is shown, in which steps; only what changes is made anew, so that the keyboard stays where it is.
const addChoosing = (view, value, names) => {
  const sheets = new Map();
  view.choosePart = (part) => {
    view.part = part;
    pressOnly(view.steps, part);
    view.draw();
  };
  view.chooseMap = async (map) => {
    Object.assign(view, { map, sheet: null });
    pressOnly(names, value.maps.indexOf(map));
    for (const one of view.steps.children) one.disabled = !map.parts.includes(one.dataset.key);
    if (!map.parts.includes(view.part)) view.choosePart("all");
    view.about.replaceChildren(make("span", {}, map.caption), heatLegend(map.color));
    view.text.textContent = map.text;
    if (!sheets.has(map)) sheets.set(map, readSheet(map.sheet));
    const sheet = await sheets.get(map);
    if (view.map !== map) return;
    view.sheet = sheet;
    view.draw();
  };
};

// What lies in the page, and what is to be told when the player moves; null where no method kept any maps.
export const makeInspector = (value) => {
  if (!value.maps.length) return null;
  const panes = value.captions.map(makePane),
    about = make("div", "rg-row-name"),
    text = make("p", "rg-note"),
    opacity = slider(0, 100, 5, 85, { oninput: () => view.draw() });
  const named = value.maps.map((map, i) => [i, [badge(map.label, map.color), make("span", {}, map.name)]]);
  const names = chooser("Attention of", named, (i) => view.chooseMap(value.maps[i]));
  const parts = [...new Set(value.maps.flatMap((map) => map.parts))];
  const shown = parts.map((part) => [part, make("span", {}, PARTS[part])]);
  const steps = chooser("Steps of the run", shown, (part) => view.choosePart(part));
  steps.hidden = parts.length < 2;
  const lacking = Object.keys(PARTS).filter((part) => !parts.includes(part));
  const unrecorded = lacking.map((part) => PARTS[part]).join(" and ");
  const missing = unrecorded + ": no map, since attention is recorded only while it is changed.";
  names.classList.add("rg-inspector-names");
  const fade = make("label", "rg-opacity", make("span", {}, "Opacity"), opacity);
  const root = make(
    "div",
    "rg-inspector",
    make("h2", {}, value.heading),
    names,
    about,
    make("div", "rg-pair", ...panes.map(({ figure }) => figure)),
    make("div", "rg-inspector-tools", steps, fade),
    !steps.hidden && lacking.length > 0 && make("p", "rg-note", missing),
    text,
  );
  const view = { root, panes, about, text, steps, opacity, part: "all", frame: 1, map: null, sheet: null };
  addDrawing(view, value);
  // Draw when the player moves, and once more when its video got there.
  let video = null;
  view.turn = (frame) => {
    view.frame = frame;
    if (video !== sourceVideo()) {
      video = sourceVideo();
      for (const kind of ["seeked", "loadeddata"]) video?.addEventListener(kind, () => view.draw());
    }
    view.draw();
  };
  addChoosing(view, value, names);
  view.choosePart("all");
  view.chooseMap(value.maps[0]);
  return view;
};
