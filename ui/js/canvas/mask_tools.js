// @ts-check
// Tools for a whole mask of the selected region: grow, shrink, fill holes, remove specks, invert, feather.
import { button, fillSelect, group, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { isMasked } from "./cells.js";

/** @typedef {import("../types").Editor} Editor */

/** @type {Record<string, [text: string, picture: keyof typeof import("../shared/icons.js").ICONS, hint: string]>} */
const RESHAPES = {
  shrink: ["Shrink", "shrink", "Shrink the mask (Q)"],
  grow: ["Grow", "grow", "Grow the mask (W)"],
  fill: ["Fill holes", "fill", "Fill every hole in the mask (F)"],
  drop: ["Remove specks", "specks", "Remove small loose pieces of the mask (S)"],
  invert: ["Invert", "invert", "Swap inside and outside of the mask (I)"],
};
const PIXELS = [1, 2, 4, 8, 16];
const FEATHERS = [0, 1, 2, 4, 8, 16, 32];
const FEATHER_HINT =
  "Feather: pixels inside the edge over which the edit fades into the source, on all frames (G)";

/**
 * Make the choice of how softly the region's edit ends; the server keeps it with the region.
 * @param {Editor} editor
 */
const makeFeather = (editor) => {
  const onchange = () => send(Number(choice.value));
  const choice = make("select", { className: "rg-pixels", ariaLabel: FEATHER_HINT, onchange });
  const node = make("label", { className: "rg-feather", title: FEATHER_HINT }, "Feather", choice);
  const own = () => editor.feathers[hub.active] ?? 0;
  /** @param {number} pixels */
  const send = (pixels) => editor.ask("feather", { pixels });
  const next = () => send(FEATHERS.find((pixels) => pixels > own()) ?? 0);
  const refresh = () => {
    const counts = [...new Set([...FEATHERS, own()])];
    /** @type {[number, string][]} */
    const offered = counts.map((count) => [count, count ? count + " px" : "off"]);
    fillSelect(choice, offered, own());
    choice.disabled = !(hub.active in editor.feathers);
  };
  return { node, refresh, next };
};

/**
 * Make the choice of the frames that are changed.
 * @param {() => void} refresh
 */
const makeScope = (refresh) => {
  let all = false;
  const show = () => {
    one.ariaPressed = String(!all);
    every.ariaPressed = String(all);
  };
  /** @param {boolean} wanted */
  const choose = (wanted) => () => {
    all = wanted;
    show();
    refresh();
  };
  const one = button("rg-tool rg-small", "This frame", choose(false), "Change the mask on this frame");
  const every = button("rg-tool rg-small", "All frames", choose(true), "Change the masks on all frames");
  const node = group("Frames the mask tools change", one, every);
  show();
  return { node, isAll: () => all };
};

/** @param {Editor} editor */
export const makeMaskTools = (editor) => {
  const title = "Pixels to grow or shrink by";
  const options = PIXELS.map((count) => new Option(count + " px", String(count)));
  const pixels = make("select", { className: "rg-pixels", value: 2, title, ariaLabel: title }, ...options);
  /** @param {string} kind */
  const reshape = (kind) => {
    editor.ask("reshape", { kind, pixels: Number(pixels.value), all: scope.isAll() });
  };
  const tools = Object.entries(RESHAPES).map(([kind, [text, picture, hint]]) => {
    const act = () => reshape(kind);
    return iconButton("rg-tool rg-small", picture, hint, act, text, { data: { reshape: kind } });
  });
  const refresh = () => {
    const lane = editor.lanes[hub.active] ?? "";
    const here = lane[editor.frame] ?? " ";
    const usable = scope.isAll() ? [...lane].some(isMasked) : isMasked(here);
    for (const one of [...tools, pixels]) one.disabled = !usable;
    feather.refresh();
  };
  const scope = makeScope(refresh);
  const feather = makeFeather(editor);
  const [shrink, grow, ...rest] = tools;
  const nodes = [make("div", "rg-pick", shrink, pixels, grow), ...rest, feather.node, scope.node];
  refresh();
  return { nodes, refresh, reshape, featherNext: feather.next };
};
