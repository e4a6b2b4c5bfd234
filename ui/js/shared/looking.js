// @ts-check
// Zoom and pan of the stage: wheel and pinch at the pointer, drags with Space, the middle button or two fingers.
import { hub } from "./hub.js";
import { WHOLE, panBy, zoomAt } from "./view.js";

const STEP = 1.0015; // per pixel of the wheel
const KEY = 1.25; // per press of a key

/** @param {import("../types").View} view */
const look = (view) => {
  hub.view = view;
  hub.tell("view");
};

export const fitView = () => look({ ...WHOLE });

let armed = false; // while Space is held
let dragged = false; // since it was pressed
/** @type {number[]} */
let pointer = [0.5, 0.5]; // where it last was on the stage

export const isArmed = () => armed;

/** @param {boolean} on @returns {boolean} whether the picture was dragged meanwhile */
export const armDrag = (on) => {
  const was = dragged;
  armed = on;
  if (on) dragged = false;
  document.body.classList.toggle("rg-panning", on);
  return was;
};

/** @param {1 | -1} side */
export const zoomByKey = (side) => look(zoomAt(hub.view, KEY ** side, pointer));

/**
 * @param {HTMLElement} node what is seen of the picture
 * @param {{ clientX: number, clientY: number }} event
 */
const shareOf = (node, { clientX, clientY }) => {
  const { left, top, width, height } = node.getBoundingClientRect();
  return [(clientX - left) / width, (clientY - top) / height];
};

/** @param {TouchList} touches */
const pairOf = ([a, b]) => ({
  clientX: (a.clientX + b.clientX) / 2,
  clientY: (a.clientY + b.clientY) / 2,
  apart: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY),
});

/**
 * Two fingers zoom and pan; what one began ends.
 * @param {HTMLElement} node
 * @param {() => void} giveUp
 */
const watchFingers = (node, giveUp) => {
  /** @type {ReturnType<typeof pairOf> | null} */
  let last = null;
  node.addEventListener("touchstart", ({ touches }) => {
    last = touches.length === 2 ? pairOf(touches) : null;
    if (last) giveUp();
  });
  /** @param {TouchEvent} event */
  const move = (event) => {
    if (!last || event.touches.length !== 2) return;
    event.preventDefault();
    const now = pairOf(event.touches);
    const from = shareOf(node, last);
    const to = shareOf(node, now);
    const moved = panBy(hub.view, to[0] - from[0], to[1] - from[1]);
    look(zoomAt(moved, now.apart / last.apart, to));
    last = now;
  };
  node.addEventListener("touchmove", move, { passive: false });
  node.addEventListener("touchend", () => {
    last = null;
  });
};

/** @param {HTMLElement} node */
const watchDragging = (node) => {
  /** @type {number[] | null} */
  let from = null;
  /** @param {PointerEvent} event */
  const begin = (event) => {
    if (!armed && event.button !== 1) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    from = shareOf(node, event);
    node.setPointerCapture(event.pointerId);
  };
  node.addEventListener("pointerdown", begin, { capture: true });
  node.addEventListener("pointermove", (event) => {
    const at = shareOf(node, event);
    pointer = at;
    if (!from) return;
    dragged = true;
    look(panBy(hub.view, at[0] - from[0], at[1] - from[1]));
    from = at;
  });
  for (const kind of ["pointerup", "pointercancel"])
    node.addEventListener(kind, () => {
      from = null;
    });
};

/**
 * @param {HTMLElement} node what is seen of the picture
 * @param {() => void} [giveUp] ends what one finger has begun
 */
export const watchLooking = (node, giveUp = () => {}) => {
  /** @param {WheelEvent} event */
  const wheel = (event) => {
    if (event.shiftKey) return; // the size of the brush
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    look(zoomAt(hub.view, STEP ** (-event.deltaY * lines), shareOf(node, event)));
  };
  node.addEventListener("wheel", wheel, { passive: false });
  node.addEventListener("dblclick", fitView);
  watchDragging(node);
  watchFingers(node, giveUp);
};
