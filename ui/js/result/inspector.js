// @ts-check
// Attention laid over the clip: of a region or word, at the player's frame, in the steps that are chosen.
import { badge, heatLegend } from "../shared/color.js";
import { childrenOf, chooser, contextOf, make, pressOnly, slider } from "../shared/dom.js";
import { nearest } from "../shared/numbers.js";
import { heatPixels } from "./heat.js";

/** @typedef {import("../types").AttentionView} AttentionView */
/** @typedef {import("../types").AttentionMap} AttentionMap */
/** @typedef {Awaited<ReturnType<typeof readSheet>>} Sheet */

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

/** What lies in the page; it is told where the player goes. */
export class Inspector {
  #value;
  #part = "all";
  #frame = 1;
  /** @type {AttentionMap | null} */
  #map = null;
  /** @type {Sheet | null} */
  #sheet = null;
  /** @type {Map<AttentionMap, Promise<Sheet>>} */
  #sheets = new Map();
  /** The player's, whose picture is below. @type {HTMLVideoElement | null} */
  #video = null;
  #about = make("div", "rg-row-name");
  #opacity = slider(0, 100, 5, 85, { oninput: () => this.draw() });

  /** @param {AttentionView} value with at least one map */
  constructor(value) {
    this.#value = value;
    this.panes = value.captions.map(makePane);
    /** @type {[number, Node[]][]} */
    const named = value.maps.map(({ label, color, name }, i) => [
      i,
      [badge(label, color), make("span", {}, name)],
    ]);
    this.names = chooser("Attention of", named, (i) => this.#chooseMap(value.maps[i]));
    const { steps, missing } = makeSteps(value, (part) => this.#choosePart(part));
    this.steps = steps;
    this.names.classList.add("rg-inspector-names");
    const fade = make("label", "rg-opacity", make("span", {}, "Opacity"), this.#opacity);
    this.root = make(
      "div",
      "rg-inspector",
      make("h2", {}, value.heading),
      this.names,
      this.#about,
      make("div", "rg-pair", ...this.panes.map(({ figure }) => figure)),
      make("div", "rg-inspector-tools", steps, fade),
      missing,
    );
    this.#choosePart("all");
    this.#chooseMap(value.maps[0]);
  }

  /** Draw a frame of the player, and once more when its video got there. @param {number} frame */
  turn(frame) {
    this.#frame = frame;
    if (this.#video !== sourceVideo()) {
      this.#video = sourceVideo();
      this.#video?.addEventListener("seeked", () => this.draw());
      this.#video?.addEventListener("loadeddata", () => this.draw());
    }
    this.draw();
  }

  draw() {
    const map = this.#map;
    const sheet = this.#sheet;
    const video = sourceVideo();
    if (!sheet || !map || !this.root.isConnected) return;
    // A column per frame, two rows per part: before and after.
    const { indices } = this.#value;
    const size = [indices.length, 2 * map.parts.length];
    const column = nearest(indices, this.#frame);
    const before = 2 * Math.max(0, map.parts.indexOf(this.#part));
    this.panes.forEach(({ canvas, caption }, i) => {
      fitTo(canvas, video);
      const painted = paintMap(sheet, size, [column, before + i], map.color);
      drawOver(canvas, video, painted, Number(this.#opacity.value) / 100);
      canvas.ariaLabel = `${map.caption}, ${caption}, ${PARTS[this.#part]}, frame ${this.#frame}`;
    });
  }

  /** @param {string} part */
  #choosePart(part) {
    this.#part = part;
    pressOnly(this.steps, part);
    this.draw();
  }

  /** Show a map; only what changes is made anew, so that the keyboard stays where it is. @param {AttentionMap} map */
  async #chooseMap(map) {
    this.#map = map;
    this.#sheet = null;
    pressOnly(this.names, this.#value.maps.indexOf(map));
    for (const step of childrenOf(this.steps))
      step.toggleAttribute("disabled", !map.parts.includes(step.dataset.key ?? ""));
    if (!map.parts.includes(this.#part)) this.#choosePart("all");
    this.#about.replaceChildren(make("span", {}, map.caption), heatLegend(map.color));
    const asked = this.#sheets.get(map) ?? readSheet(map.sheet);
    this.#sheets.set(map, asked);
    const sheet = await asked;
    if (this.#map !== map) return;
    this.#sheet = sheet;
    this.draw();
  }
}
