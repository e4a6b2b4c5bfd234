// @ts-check
// Attention laid over the clip: of a region or word, at the player's frame, in the steps that are chosen.
import { badge, heatLegend } from "../shared/color.js";
import { childrenOf, chooser, contextOf, make, pressOnly, slider } from "../shared/dom.js";
import { nearest } from "../shared/numbers.js";
import { heatPixels } from "./heat.js";

/** @typedef {import("../types").AttentionView} AttentionView */
/** @typedef {import("../types").AttentionMap} AttentionMap */
/** @typedef {Awaited<ReturnType<typeof readSheet>>} Sheet */

/**
 * @typedef {object} View what is shown
 * @property {HTMLElement} root
 * @property {ReturnType<typeof makePane>[]} panes
 * @property {HTMLElement} about
 * @property {HTMLElement} text
 * @property {HTMLElement} steps
 * @property {HTMLInputElement} opacity
 * @property {string} part
 * @property {number} frame
 * @property {AttentionMap | null} map
 * @property {Sheet | null} sheet
 * @property {() => void} draw
 * @property {(part: string) => void} choosePart
 * @property {(map: AttentionMap) => void} chooseMap
 * @property {(frame: number) => void} turn
 */

/** @type {Record<string, string>} */
const PARTS = { all: "All steps", early: "Early", middle: "Middle", late: "Late" };
const DARKEN = 0.55; // of the picture below, where the map is fully opaque

const WIDTH = 480; // pixels of a canvas

/** @param {string} url */
const readSheet = async (url) => {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  const canvas = make("canvas", { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = contextOf(canvas, { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  return { context, width: canvas.width, height: canvas.height };
};

/**
 * Paint one map of a sheet of them on a small canvas of its own grid, to be scaled up smoothly.
 * @param {Sheet} sheet
 * @param {number[]} size columns and rows
 * @param {number[]} place column and row
 * @param {string} color
 */
const paintMap = (sheet, [columns, rows], [column, row], color) => {
  const width = sheet.width / columns;
  const height = sheet.height / rows;
  const { data } = sheet.context.getImageData(column * width, row * height, width, height);
  const levels = Array.from({ length: width * height }, (_, i) => data[4 * i]);
  const canvas = make("canvas", { width, height });
  const picture = new ImageData(heatPixels(levels, color), width, height);
  contextOf(canvas).putImageData(picture, 0, 0);
  return canvas;
};

/**
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLVideoElement | null} video
 * @param {HTMLCanvasElement} map
 * @param {number} opacity 0 to 1
 */
const drawOver = (canvas, video, map, opacity) => {
  const context = contextOf(canvas);
  const { width, height } = canvas;
  context.globalAlpha = 1;
  if (video && video.readyState > 1) context.drawImage(video, 0, 0, width, height);
  context.globalAlpha = DARKEN * opacity;
  context.fillRect(0, 0, width, height);
  context.globalAlpha = opacity;
  context.imageSmoothingQuality = "high";
  context.drawImage(map, 0, 0, width, height);
};

/** @param {string} caption */
const makePane = (caption) => {
  const canvas = make("canvas", { role: "img" });
  return { figure: make("figure", {}, canvas, make("figcaption", {}, caption)), canvas, caption };
};

/**
 * Return the player's own video, whose picture is below; it may still be on its way to the frame.
 * @returns {HTMLVideoElement | null}
 */
const sourceVideo = () => document.querySelector("#player video.source");

/** @param {HTMLCanvasElement} canvas @param {HTMLVideoElement | null} video */
const fitTo = (canvas, video) => {
  const ratio = (video?.videoHeight || 1) / (video?.videoWidth || 1);
  const height = Math.round(WIDTH * ratio);
  if (canvas.width !== WIDTH || canvas.height !== height) Object.assign(canvas, { width: WIDTH, height });
};

/** @param {View} view @param {AttentionView} value */
const addDrawing = (view, value) => {
  view.draw = () => {
    const { map, sheet, panes, part, opacity } = view;
    const video = sourceVideo();
    if (!sheet || !map || !view.root.isConnected) return;
    // A column per frame, two rows per part: before and after.
    const size = [value.indices.length, 2 * map.parts.length];
    const column = nearest(value.indices, view.frame);
    const before = 2 * Math.max(0, map.parts.indexOf(part));
    panes.forEach(({ canvas, caption }, i) => {
      fitTo(canvas, video);
      const painted = paintMap(sheet, size, [column, before + i], map.color);
      drawOver(canvas, video, painted, Number(opacity.value) / 100);
      canvas.ariaLabel = `${map.caption}, ${caption}, ${PARTS[part]}, frame ${view.frame}`;
    });
  };
};

/**
 * Choose which map is shown, in which steps; only what changes is made anew, so that the keyboard stays where it is.
 * @param {View} view
 * @param {AttentionView} value
 * @param {HTMLElement} names
 */
const addChoosing = (view, value, names) => {
  /** @type {Map<AttentionMap, Promise<Sheet>>} */
  const sheets = new Map();
  /** @param {AttentionMap} map */
  const sheetOf = (map) => {
    const sheet = sheets.get(map) ?? readSheet(map.sheet);
    sheets.set(map, sheet);
    return sheet;
  };
  view.choosePart = (part) => {
    view.part = part;
    pressOnly(view.steps, part);
    view.draw();
  };
  view.chooseMap = async (map) => {
    Object.assign(view, { map, sheet: null });
    pressOnly(names, value.maps.indexOf(map));
    for (const step of childrenOf(view.steps))
      step.toggleAttribute("disabled", !map.parts.includes(step.dataset.key ?? ""));
    if (!map.parts.includes(view.part)) view.choosePart("all");
    view.about.replaceChildren(make("span", {}, map.caption), heatLegend(map.color));
    view.text.textContent = map.text;
    const sheet = await sheetOf(map);
    if (view.map !== map) return;
    view.sheet = sheet;
    view.draw();
  };
};

/**
 * Make the choice of steps, and say which of them have no map.
 * @param {AttentionView} value
 * @param {(part: string) => void} choose
 */
const makeSteps = (value, choose) => {
  const parts = [...new Set(value.maps.flatMap((map) => map.parts))];
  /** @type {[string, Node][]} */
  const offered = parts.map((part) => [part, make("span", {}, PARTS[part])]);
  const steps = chooser("Steps of the run", offered, choose);
  steps.hidden = parts.length < 2;
  const lacking = Object.keys(PARTS).filter((part) => !parts.includes(part));
  const names = lacking.map((part) => PARTS[part]).join(" and ");
  const isSaid = !steps.hidden && lacking.length > 0;
  const words = `${names}: no map, since attention is recorded only while it is changed.`;
  return { steps, missing: isSaid && make("p", "rg-note", words) };
};

/**
 * Make what lies in the page, and what is to be told when the player moves; null where no method kept any maps.
 * @param {AttentionView} value
 */
export const makeInspector = (value) => {
  if (!value.maps.length) return null;
  const panes = value.captions.map(makePane);
  const about = make("div", "rg-row-name");
  const text = make("p", "rg-note");
  const opacity = slider(0, 100, 5, 85, { oninput: () => view.draw() });
  /** @type {[number, Node[]][]} */
  const named = value.maps.map(({ label, color, name }, i) => [
    i,
    [badge(label, color), make("span", {}, name)],
  ]);
  const names = chooser("Attention of", named, (i) => view.chooseMap(value.maps[i]));
  const { steps, missing } = makeSteps(value, (part) => view.choosePart(part));
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
    missing,
    text,
  );
  const parts = { root, panes, about, text, steps, opacity };
  const state = { part: "all", frame: 1, map: null, sheet: null };
  const view = /** @type {View} */ (/** @type {unknown} */ ({ ...parts, ...state })); // what follows adds the rest
  addDrawing(view, value);
  addChoosing(view, value, names);
  // Draw when the player moves, and once more when its video got there.
  /** @type {HTMLVideoElement | null} */
  let video = null;
  view.turn = (frame) => {
    view.frame = frame;
    if (video !== sourceVideo()) {
      video = sourceVideo();
      video?.addEventListener("seeked", () => view.draw());
      video?.addEventListener("loadeddata", () => view.draw());
    }
    view.draw();
  };
  view.choosePart("all");
  view.chooseMap(value.maps[0]);
  return view;
};
