// @ts-check
// Clicks, boxes and strokes by mouse, pen or finger.
import { hub } from "../shared/hub.js";
import { boxOf, extend, isBrush, placeIn, pointAt } from "./state.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").Place} Place */

const STILL = 8; // pixels of the screen within which a press is a click
const SMALLEST = 6; // pixels of the screen: the shorter side of a box

/**
 * Use the pointing tool at a place.
 * @param {Editor} editor
 * @param {Place} at
 * @param {boolean} other swaps adding and removing
 */
export const clickAt = (editor, at, other) => {
  const known = pointAt(editor, at, hub.active);
  if (known) {
    editor.ask("unpoint", { at: known });
    return;
  }
  const inside = (editor.tool === "remove") === other;
  editor.ask("point", { at, inside }, { point: [...at, Number(inside)] });
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

/** @param {Editor} editor @param {import("../types").Box} box */
export const sendBox = (editor, { from, to, how }) => {
  if (boxOf(from, to).size < SMALLEST / editor.scale) return;
  editor.ask("box", { from, to, how }, { box: { from, to } });
};

/** @param {Editor} editor @param {HTMLCanvasElement} canvas */
export const watchPointer = (editor, canvas) => {
  /** @type {{ x: number, y: number } | null} */
  let down = null;
  /** @param {MouseEvent} event */
  const placeOf = ({ clientX, clientY }) => {
    const clip = editor.clip ?? { width: 1, height: 1 };
    return placeIn(canvas.getBoundingClientRect(), clip, clientX, clientY);
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
    down = { x: event.clientX, y: event.clientY };
    const at = placeOf(event);
    if (editor.tool === "box") {
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
    if (box && down) box.to = at;
    const parts = event.getCoalescedEvents?.() ?? [event];
    if (stroke) parts.forEach((part) => extend(stroke.path, placeOf(part)));
    editor.draw();
  };
  /** @param {PointerEvent} event */
  const end = (event) => {
    if (!editor.clip || !down) return;
    const { box, stroke } = editor;
    const still = Math.hypot(event.clientX - down.x, event.clientY - down.y) < STILL;
    down = null;
    if (box) {
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
    editor.stroke = null;
    editor.box = null;
    editor.draw();
  };
  const leave = () => {
    editor.hover = null;
    editor.draw();
  };
  /** @param {WheelEvent} event */
  const resize = (event) => {
    if (!event.shiftKey) return;
    event.preventDefault();
    editor.resize(editor.radius - Math.sign(event.deltaY || event.deltaX));
  };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", giveUp);
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("wheel", resize, { passive: false });
};
