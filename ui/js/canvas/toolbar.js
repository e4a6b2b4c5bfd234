// @ts-check
// The tools that are in sight, above the picture; the size of the brush in it.
import { group, iconButton, make, slider } from "../shared/dom.js";
import { makeMenu } from "../shared/menu.js";
import { clamp } from "../shared/numbers.js";
import { isBrush, isDrawn } from "./state.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").Tool} Tool */

/** @type {[tool: Tool, text: string, hint: string, said: string][]} */
const TOOLS = [
  ["add", "Add", "Click what belongs to the region (V)", "Add points"],
  ["remove", "Remove", "Click what does not belong to the region (X, or right-click)", "Remove points"],
  ["box", "Box", "Draw a box around the object (R); with Shift all of it is taken", "Box"],
  ["brush", "Brush", "Brush (B)", "Brush"],
  ["erase", "Erase", "Eraser (E)", "Eraser"],
];

/**
 * @param {Editor} editor
 * @param {HTMLCanvasElement} canvas
 * @param {HTMLElement} sizes
 * @param {HTMLElement} heard
 */
const makeTools = (editor, canvas, sizes, heard) => {
  const buttons = TOOLS.map(([tool, text, hint]) => {
    return iconButton("rg-tool", tool, hint, () => editor.choose(tool), text, { data: { tool } });
  });
  /** @param {Tool} name */
  const choose = (name) => {
    const [, , , said] = TOOLS.find(([tool]) => tool === name) ?? TOOLS[0];
    editor.tool = name;
    for (const one of buttons) one.ariaPressed = String(one.dataset.tool === name);
    sizes.hidden = !isBrush(name);
    arrange();
    editor.box = null;
    canvas.style.touchAction = isDrawn(name) ? "none" : "pan-x pan-y";
    canvas.style.cursor = isBrush(name) ? "none" : "crosshair";
    heard.textContent = said;
    editor.say("");
    editor.draw();
  };
  const [, remove, , , erase] = buttons;
  // There is nothing to take from before the first region; what the brush paints is erased beside it.
  const arrange = () => {
    remove.hidden = !editor.labels.length;
    erase.hidden = remove.hidden || !isBrush(editor.tool);
  };
  return { tools: group("Tools", ...buttons), choose, arrange };
};

/** @param {Editor} editor */
const makeSizes = (editor) => {
  const oninput = () => resize(Number(size.value));
  const size = slider(1, 100, 1, 12, { ariaLabel: "Brush size", oninput });
  const text = make("span", {}, "12");
  /** @param {number} radius */
  const resize = (radius) => {
    editor.radius = clamp(Math.round(radius), 1, 100);
    size.value = String(editor.radius);
    text.textContent = String(editor.radius);
    editor.draw();
  };
  return { sizes: make("label", "rg-size", size, text), resize };
};

/**
 * @param {Editor} editor
 * @param {{ node: HTMLElement, canvas: HTMLCanvasElement }} surface
 * @param {HTMLElement} heard says which tool it is
 * @param {HTMLElement} refining what the menu holds
 */
export const makeToolbar = (editor, surface, heard, refining) => {
  const { sizes, resize } = makeSizes(editor);
  surface.node.append(sizes);
  const undo = iconButton("rg-tool", "undo", "Undo (Ctrl+Z)", () => editor.ask("undo"), "Undo");
  const hint = "Follow the regions through the clip";
  const track = iconButton("rg-tool rg-track", "track", hint, () => editor.track(), "Track");
  const [trackWords] = track.getElementsByTagName("span");
  const { tools, choose, arrange } = makeTools(editor, surface.canvas, sizes, heard);
  const about = "Shrink, grow, holes, feather, focus, files, finder, shots, key frames";
  const opener = iconButton("rg-tool rg-refine", "refine", about, undefined, "Refine");
  /** @param {Element} target */
  const inPicture = (target) => Boolean(target.closest(".rg-canvas-stage, .rg-time"));
  const menu = makeMenu(opener, refining, inPicture);
  const node = make("div", "rg-toolbar", tools, undo, track, menu.node);
  const refresh = () => {
    const busy = Boolean(editor.tracking);
    undo.disabled = !editor.undo;
    undo.hidden = !editor.undo;
    const isDue = !busy && editor.stale.length > 0;
    track.hidden = !busy && !isDue;
    trackWords.textContent = busy ? "Cancel" : "Track";
    track.classList.toggle("rg-due", isDue);
    arrange();
    track.dataset.busy = String(busy);
  };
  return { node, refresh, choose, resize };
};
