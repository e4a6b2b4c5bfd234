// @ts-check
// Clicks, boxes and strokes by mouse, pen or finger.
import { hub } from "../shared/hub.js";
import { toMargin, fromMargin } from "../shared/numbers.js";
import { actAt, hintFor } from "./aim.js";
import { isMasked } from "./cells.js";
import { handleOf } from "./paint.js";
import { boxOf, extend, isBrush, isDrawn, labelAt, placeIn, pointAt } from "./state.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").Place} Place */

const STILL = 8; // pixels of the screen within which a press is a click
const SMALLEST = 6; // pixels of the screen: the shorter side of a box
const GRIP = 10; // pixels of the screen around the knob of a margin
const MOST_MARGIN = 20; // place of its slider

/**
 * Tell whether a region has all it needs: a mask on this frame, and what it should become.
 * @param {Editor} editor
 * @param {number} label
 */
const isComplete = (editor, label) => {
  const region = hub.regions.find((one) => one.label === label);
  const mask = editor.masks[editor.frame]?.[label];
  return Boolean(region?.prompt.trim() && mask?.runs);
};

/**
 * Return which kind of region is chosen on the frame that is shown; see aim.js.
 * @param {Editor} editor
 * @returns {import("./aim.js").Chosen}
 */
const chosenIn = (editor) => {
  const label = hub.active;
  if (editor.adding) return "new";
  if (!label || label === hub.rest) return "none"; // the rest of the frame cannot be drawn
  if (![...(editor.lanes[label] ?? "")].some(isMasked)) return "new";
  return hub.correcting || !isComplete(editor, label) ? "open" : "done";
};

/** Tell whether a try stands where the masks do. @param {Editor} editor */
export const isTried = ({ still, frame }) => still?.frame === frame;

/**
 * Return what a tool does at a place, by the rule of aim.js.
 * @param {Editor} editor
 * @param {Place | null} at null for anywhere outside all masks
 * @param {import("../types").Tool} tool
 * @returns {import("../types").Aim}
 */
export const aimOf = (editor, at, tool) => {
  const known = at ? pointAt(editor, at, hub.active) : null;
  const under = at ? labelAt(editor, at) : 0;
  const label = under === hub.rest ? 0 : under;
  const isOwn = label === hub.active;
  const masked = isOwn ? "own" : "other";
  const where = known ? "point" : label ? masked : "free";
  const { does, hits } = actAt({ tool, chosen: chosenIn(editor), where });
  if (does === "unpoint") return { does, known: known ?? [] };
  return hits ? { does, hit: label } : { does };
};

/** @type {Record<"add" | "remove", "add" | "remove">} */
const OPPOSITE = { add: "remove", remove: "add" };

/**
 * Return what the pointing tool, or a tool that draws, does at a place.
 * @param {Editor} editor
 * @param {Place | null} at null for anywhere outside all masks
 * @param {boolean} other swaps adding and removing
 */
export const aimAt = (editor, at, other) => {
  const { tool } = editor;
  const points = tool === "add" || tool === "remove";
  return aimOf(editor, at, points && other ? OPPOSITE[tool] : tool);
};

/**
 * Choose the region that is meant, or begin one; returns whether the tool goes on then.
 * @param {Editor} editor
 * @param {import("../types").Aim} aim
 */
const prepare = (editor, { does, hit }) => {
  if (does === "nothing")
    editor.say(hintFor(editor.tool, does, "", matchMedia("(pointer: coarse)").matches), true);
  if (hit) hub.tell("choose", hit);
  if (does === "begin" && editor.labels.length) hub.tell("add");
  return does !== "nothing";
};

/**
 * Use the pointing tool at a place.
 * @param {Editor} editor
 * @param {Place} at
 * @param {boolean} other swaps adding and removing
 */
export const clickAt = (editor, at, other) => {
  const aim = aimAt(editor, at, other);
  const { does, known } = aim;
  if (!prepare(editor, aim)) return;
  if (known) {
    editor.ask("unpoint", { at: known });
  } else if (does === "choose") {
    editor.parts.bubble.open();
  } else {
    const inside = does !== "remove";
    const begins = does === "begin" && editor.labels.length > 0;
    editor.ask("point", { at, inside, begins }, { point: [...at, Number(inside)] });
  }
};

/**
 * @param {Editor} editor
 * @param {Place} at
 * @param {boolean} erase
 * @returns {import("../types").Stroke}
 */
export const strokeFrom = (editor, at, erase) => ({
  path: [at],
  radius: editor.radius,
  erase,
  frame: editor.frame,
  label: hub.active,
});

/** @param {Editor} editor @param {import("../types").Stroke} stroke */
export const sendStroke = (editor, stroke) => {
  const { path, radius, erase } = stroke;
  if (!prepare(editor, aimOf(editor, path[0], erase ? "erase" : "brush"))) return;
  editor.ask("stroke", { path, radius, erase }, stroke);
};

/**
 * Tell whether a press means the opposite of the tool.
 * @param {PointerEvent} event
 */
const isOther = (event) => event.button === 2 || event.altKey;

/**
 * Return what a box does: find what is in it, or take or cut out all of it.
 * @param {PointerEvent} event
 */
const howOf = (event) => {
  if (isOther(event)) return "erase";
  return event.shiftKey ? "add" : "find";
};

/** Return which tool a box is: one that takes or cuts out all of it is drawn as by the brush. @type {Record<string, import("../types").Tool>} */
const BOX_AS = { find: "box", add: "brush", erase: "erase" };

/** @param {Editor} editor @param {import("../types").Box} box */
export const sendBox = (editor, { from, to, how }) => {
  if (boxOf(from, to).size < SMALLEST / editor.scale) return;
  const middle = from.map((value, i) => (value + to[i]) / 2);
  if (!prepare(editor, aimOf(editor, middle, BOX_AS[how]))) return;
  editor.ask("box", { from, to, how }, { box: { from, to } });
};

/**
 * Let the knob of the selected region's margin be dragged; returns what a press there begins.
 * @param {Editor} editor
 */
const makeMarginDrag = (editor) => {
  const own = () => editor.shapes().find(({ region }) => region.label === hub.active);
  /** @param {Place} at */
  const grips = (at) => {
    const handle = isDrawn(editor.tool) || editor.playing ? null : handleOf(own());
    if (!handle) return false;
    return Math.hypot(handle[0] - at[0], handle[1] - at[1]) < GRIP / editor.scale;
  };
  /** @param {Place} at */
  const pull = (at) => {
    const shape = own();
    if (!shape) return;
    const margin = toMargin(Math.min(MOST_MARGIN, fromMargin(Math.max(0, shape.crown[1] - at[1]))));
    hub.tell("margin", { label: shape.region.label, margin });
    editor.say(`The edit may reach ${margin} px beyond the mask.`);
  };
  return { grips, pull };
};

/** @param {Editor} editor @param {HTMLCanvasElement} canvas */
const watchHovering = (editor, canvas) => {
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerleave", () => {
    editor.hover = null;
    editor.hovered();
    editor.draw();
  });
  /** @param {WheelEvent} event */
  const resize = (event) => {
    if (!event.shiftKey) return;
    event.preventDefault();
    editor.resize(editor.radius - Math.sign(event.deltaY || event.deltaX));
  };
  canvas.addEventListener("wheel", resize, { passive: false });
};

/** @param {Editor} editor @param {HTMLCanvasElement} canvas */
export const watchPointer = (editor, canvas) => {
  /** @type {{ x: number, y: number } | null} */
  let down = null;
  let pulling = false;
  const margin = makeMarginDrag(editor);
  /** @param {MouseEvent} event */
  const placeOf = ({ clientX, clientY }) => {
    const clip = editor.clip ?? { width: 1, height: 1 };
    return placeIn(canvas.getBoundingClientRect(), clip, clientX, clientY, hub.view);
  };
  /** @param {PointerEvent} event */
  const begin = (event) => {
    if (!editor.clip || event.button === 1) return;
    if (editor.tracking > 0) {
      editor.track(); // stop here
      return;
    }
    editor.play(false);
    editor.cursor = null;
    hub.tell("pressed");
    down = { x: event.clientX, y: event.clientY };
    const at = placeOf(event);
    pulling = margin.grips(at);
    if (pulling) {
      canvas.setPointerCapture(event.pointerId);
    } else if (editor.tool === "box") {
      canvas.setPointerCapture(event.pointerId);
      editor.box = { from: at, to: at, how: howOf(event) };
    } else if (isBrush(editor.tool)) {
      canvas.setPointerCapture(event.pointerId);
      const erase = (editor.tool === "erase") !== isOther(event);
      editor.stroke = strokeFrom(editor, at, erase);
      editor.draw();
    }
  };
  /** @param {PointerEvent} event */
  const move = (event) => {
    if (!editor.clip) return;
    const { box, stroke } = editor;
    const at = placeOf(event);
    editor.hover = event.pointerType === "touch" ? null : at;
    editor.hovered();
    if (pulling) margin.pull(at);
    else canvas.classList.toggle("rg-grip", !down && margin.grips(at));
    if (box && down) box.to = at;
    const parts = event.getCoalescedEvents?.() ?? [event];
    if (stroke) parts.forEach((part) => extend(stroke.path, placeOf(part), editor.clip?.most_places ?? 0));
    editor.draw();
  };
  /** @param {PointerEvent} event */
  const end = (event) => {
    if (!editor.clip || !down) return;
    const { box, stroke } = editor;
    const still = Math.hypot(event.clientX - down.x, event.clientY - down.y) < STILL;
    down = null;
    if (pulling) {
      pulling = false;
    } else if (box) {
      sendBox(editor, box);
      editor.box = null;
      editor.draw();
    } else if (stroke) {
      sendStroke(editor, stroke);
      editor.stroke = null;
    } else if (still) {
      clickAt(editor, placeOf(event), isOther(event));
    }
  };
  const giveUp = () => {
    down = null;
    pulling = false;
    editor.stroke = null;
    editor.box = null;
    editor.draw();
  };
  watchHovering(editor, canvas);
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", giveUp);
  return giveUp;
};
