// @ts-check
// The words of the selected region at its mask: what it is, and what it becomes; Enter tries the frame that is shown.
// On a small screen they are a sheet from below.
import { badge } from "../shared/color.js";
import { button, iconButton, isStacked, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { clamp } from "../shared/numbers.js";
import { makeCaret } from "./caret.js";

/** @typedef {import("../types").Editor} Editor */

const GAP = 10; // pixels of the screen between a mask and its words
const EDGE = 6; // and between them and the edge of the picture

/**
 * Return how much of a box others cover, in square pixels.
 * @param {number[]} box left, top, right and bottom
 * @param {number[][]} others
 */
const coveredBy = ([left, top, right, bottom], others) => {
  const shares = others.map(([l, t, r, b]) => {
    const width = Math.max(0, Math.min(right, r) - Math.max(left, l));
    return width * Math.max(0, Math.min(bottom, b) - Math.max(top, t));
  });
  return shares.reduce((sum, share) => sum + share, 0);
};

/**
 * Return where on the stage the words stand beside a mask, off other masks if possible; null where there is no room.
 * @param {number[]} box of the mask on the stage: left, top, right and bottom, in pixels of the screen
 * @param {number[][]} others boxes of other masks
 * @param {{ width: number, height: number }} size of the words
 * @param {{ width: number, height: number }} room of the stage
 * @returns {number[] | null}
 */
export const besideMask = ([left, top, right, bottom], others, { width, height }, room) => {
  const last = [room.width - width - EDGE, room.height - height - EDGE];
  const x = clamp((left + right - width) / 2, EDGE, Math.max(EDGE, last[0]));
  const y = clamp((top + bottom - height) / 2, EDGE, Math.max(EDGE, last[1]));
  const levels = [y, top, bottom - height];
  const sides = [
    [x, bottom + GAP],
    [x, top - GAP - height],
    ...levels.map((level) => [right + GAP, level]),
    ...levels.map((level) => [left - GAP - width, level]),
  ];
  /** @param {number[]} at */
  const covered = ([x, y]) => coveredBy([x, y, x + width, y + height], others);
  const fits = sides.filter((at) => at.every((value, i) => value >= EDGE && value <= last[i]));
  fits.sort((a, b) => covered(a) - covered(b));
  return fits[0] ?? null;
};

/**
 * Keep a sheet above the keyboard of a phone, which covers the page and leaves its height as it is.
 * @param {HTMLElement} sheet
 */
const riseAboveKeyboard = (sheet) => {
  const seen = window.visualViewport;
  if (!seen) return;
  const rise = () => {
    const isZoomed = seen.scale > 1.01;
    const covered = isZoomed ? 0 : Math.max(0, window.innerHeight - seen.height - seen.offsetTop);
    sheet.style.setProperty("--covered", `${covered}px`);
  };
  seen.addEventListener("resize", rise);
  seen.addEventListener("scroll", rise);
};

/** @param {HTMLElement[]} parts @param {() => void} act */
const watchSizes = (parts, act) => {
  const sizes = new ResizeObserver(act);
  for (const part of parts) sizes.observe(part);
};

/**
 * Let a press on the words be none on the picture below them.
 * @param {HTMLElement} node
 */
const keepPresses = (node) => {
  for (const kind of ["pointerdown", "dblclick", "wheel"])
    node.addEventListener(kind, (event) => event.stopPropagation());
};

/**
 * Tell whether the selected region's words may stand at its mask now.
 * @param {Editor} editor
 */
const mayShow = (editor) => {
  const region = hub.regions.find(({ label }) => label === hub.active);
  const busy = editor.playing || editor.tracking || editor.stroke || editor.box || editor.hide;
  const masked = Boolean(editor.masks[editor.frame]?.[hub.active]?.runs);
  if (document.body.dataset.stage === "edit") return false;
  return Boolean(region) && !busy && masked && hub.method?.regions !== "ignored";
};

/** @param {Editor} editor @param {HTMLElement} stage */
export const makeBubble = (editor, stage) => {
  let wanted = false; // until it is closed
  let shown = 0; // label of the region whose words are here
  let opening = false; // until they are here and have the caret
  const head = make("span", "rg-bubble-head");
  const close = () => {
    wanted = false;
    opening = false;
    caret.forget();
    refresh();
  };
  const bin = iconButton("rg-mini", "close", "Close (Esc)", close);
  const attempt = button("rg-tool rg-bubble-try", "Try", () => hub.tell("try"), "Try this frame (Enter)");
  const hint = make("span", "rg-bubble-hint", "Enter: try");
  const node = make("div", { className: "rg-bubble", role: "group", hidden: true }, head, attempt, hint, bin);
  riseAboveKeyboard(node);
  const caret = makeCaret(editor, node, stage);

  const giveBack = () => {
    hub.wordsOf(shown)?.home();
    shown = 0;
  };
  const place = () => {
    const [canvas] = stage.getElementsByTagName("canvas");
    node.classList.remove("rg-under");
    const shapes = editor.shapes();
    const shape = shapes.find(({ region }) => region.label === hub.active);
    if (!shape || !editor.clip || isStacked()) return;
    const { zoom, x, y } = hub.view;
    const { width, height } = editor.clip;
    /** @param {number} value @param {number} i */
    const onStage = (value, i) => {
      const isAcross = i % 2 === 0;
      const seen = isAcross ? value - x * width : value - y * height;
      return seen * editor.fitted * zoom + (isAcross ? canvas.offsetLeft : canvas.offsetTop);
    };
    const size = { width: node.offsetWidth, height: node.offsetHeight };
    const room = { width: stage.clientWidth, height: stage.clientHeight };
    const others = shapes.filter((one) => one !== shape).map(({ box }) => box.map(onStage));
    const at = besideMask(shape.box.map(onStage), others, size, room);
    node.classList.toggle("rg-under", !at);
    // Told to the style sheet, which knows where the words are a sheet.
    node.style.setProperty("--left", `${stage.offsetLeft + (at?.[0] ?? 0)}px`);
    node.style.setProperty("--top", `${stage.offsetTop + (at?.[1] ?? 0)}px`);
  };
  const refresh = () => {
    const words = wanted && mayShow(editor) ? hub.wordsOf(hub.active) : null;
    if (!words && node.contains(document.activeElement))
      stage.querySelector("canvas")?.focus({ preventScroll: true });
    if (shown && (!words || shown !== hub.active)) giveBack();
    node.hidden = !words;
    document.body.classList.toggle("rg-has-bubble", Boolean(words));
    if (!words) return;
    const region = hub.regions.find(({ label }) => label === hub.active);
    shown = hub.active;
    node.ariaLabel = `Words of ${region?.name}`;
    head.replaceChildren(badge(hub.active, region?.color));
    if (words.node.parentElement !== node) head.after(words.node);
    place();
    const begins = opening;
    opening = false;
    if (begins) caret.begin();
  };
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    editor.letGo();
  });
  keepPresses(node);
  const open = (withCaret = true) => {
    wanted = true;
    opening = withCaret;
    refresh();
  };
  watchSizes([stage, node], refresh); // a hint below what is written makes the words taller
  hub.on("stage", refresh);
  hub.on("view", refresh);
  hub.on("regions", refresh);
  hub.on("close", close);
  // A sheet would lie over Run, over what is said in its place, and over how far the try is.
  hub.on("try", () => isStacked() && close());
  return { node, refresh, open, close, ...caret };
};
