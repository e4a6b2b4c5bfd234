// Attention laid over the clip: of a region or word, at the player's frame, in the steps that are chosen.
import { button, group, make, press } from "../shared/dom.js";
import { badge, heatLegend } from "../shared/marks.js";
import { nearest } from "../shared/numbers.js";
import { heatPixels, placeOf } from "./heat.js";

const PARTS = { all: "All steps", early: "Early", middle: "Middle", late: "Late" };
const DARKEN = 0.55; // of the picture below, where the map is fully opaque

const readSheet = async (url) => {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  const canvas = make("canvas");
  Object.assign(canvas, { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return { context, width: canvas.width, height: canvas.height };
};

// The map on a small canvas of its own grid, to be scaled up smoothly.
const paintMap = (sheet, size, at, color) => {
  const [x, y, w, h] = placeOf(sheet, size, at);
  const { data } = sheet.context.getImageData(x, y, w, h);
  const levels = Array.from({ length: w * h }, (_, i) => data[4 * i]);
  const canvas = make("canvas");
  Object.assign(canvas, { width: w, height: h });
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

const makePanes = (captions) =>
  captions.map((caption) => {
    const figure = make("figure"),
      canvas = make("canvas");
    canvas.setAttribute("role", "img");
    figure.append(canvas, make("figcaption", "", caption));
    return { figure, canvas, caption };
  });

const chooser = (title, entries, act) => {
  const buttons = entries.map(([key, ...content]) => {
    const one = button("rg-tool", "", () => act(key));
    one.append(...content);
    one.dataset.key = key;
    return one;
  });
  return group(title, ...buttons);
};

const pressChosen = (bar, key) => {
  for (const one of bar.children) press(one, one.dataset.key === String(key));
};

const makeOpacity = (changed) => {
  const label = make("label", "rg-opacity"),
    slider = make("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, step: 5, value: 85 });
  slider.addEventListener("input", changed);
  label.append(make("span", "", "Opacity"), slider);
  return { label, slider };
};

// The picture below is that of the player's own video, which may still be on its way to the frame.
const sourceVideo = () => document.querySelector("#player video.source");

const addDrawing = (view, value) => {
  view.draw = () => {
    const { map, sheet, panes, part, slider } = view,
      video = sourceVideo();
    if (!sheet || !view.root.isConnected) return;
    const size = { columns: value.indices.length, parts: map.parts.length };
    const column = nearest(value.indices, view.frame);
    panes.forEach(({ canvas, caption }, i) => {
      const width = 480,
        height = Math.round((width * (video?.videoHeight || 1)) / (video?.videoWidth || 1));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const at = { column, part: Math.max(0, map.parts.indexOf(part)), after: i === 1 };
      drawOver(canvas, video, paintMap(sheet, size, at, map.color), slider.value / 100);
      canvas.setAttribute("aria-label", `${map.caption}, ${caption}, ${PARTS[part]}, frame ${view.frame}`);
    });
  };
};

// Draw when the player moves, and once more when its video got there.
const addTurning = (view) => {
  let video = null;
  view.turn = (frame) => {
    view.frame = frame;
    if (video !== sourceVideo()) {
      video = sourceVideo();
      for (const kind of ["seeked", "loadeddata"]) video?.addEventListener(kind, () => view.draw());
    }
    view.draw();
  };
};

// Which map is shown, in which steps; only what changes is made anew, so that the keyboard stays where it is.
const addChoosing = (view, value, names) => {
  const sheets = new Map();
  view.choosePart = (part) => {
    view.part = part;
    pressChosen(view.steps, part);
    view.draw();
  };
  view.chooseMap = async (map) => {
    Object.assign(view, { map, sheet: null });
    pressChosen(names, value.maps.indexOf(map));
    for (const one of view.steps.children) one.disabled = !map.parts.includes(one.dataset.key);
    if (!map.parts.includes(view.part)) view.choosePart("all");
    view.about.replaceChildren(make("span", "", map.caption), heatLegend(map.color));
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
  const root = make("div", "rg-inspector"),
    panes = makePanes(value.captions);
  const about = make("div", "rg-row-name"),
    tools = make("div", "rg-inspector-tools"),
    row = make("div", "rg-pair"),
    text = make("p", "rg-note");
  const view = { root, panes, about, text, part: "all", frame: 1, map: null, sheet: null };
  const named = value.maps.map(({ name, label, color }, i) => [
    i,
    badge(label, color),
    make("span", "", name),
  ]);
  const names = chooser("Attention of", named, (i) => view.chooseMap(value.maps[i]));
  const parts = [...new Set(value.maps.flatMap((map) => map.parts))];
  const shown = parts.map((part) => [part, make("span", "", PARTS[part])]);
  const { label, slider } = makeOpacity(() => view.draw());
  Object.assign(view, { slider, steps: chooser("Steps of the run", shown, (part) => view.choosePart(part)) });
  view.steps.hidden = parts.length < 2;
  addDrawing(view, value);
  addTurning(view);
  addChoosing(view, value, names);
  names.classList.add("rg-inspector-names");
  tools.append(view.steps, label);
  row.append(...panes.map(({ figure }) => figure));
  root.append(make("h2", "", value.heading), names, about, row, tools, text);
  view.choosePart("all");
  view.chooseMap(value.maps[0]);
  return view;
};
