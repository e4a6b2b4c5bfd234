// @ts-check
// A pixel to inspect, chosen by a click on the frame; the field above takes it as FRAME,X,Y.
import { placeIn } from "./canvas/state.js";
import { button, make, writeInto } from "./shared/dom.js";
import { fieldBeside, hub, showStage } from "./shared/hub.js";

const PICK = "Choose in the frame";
const WAIT = "Click a place in the frame, or press Escape";
const PRESSES = ["pointerdown", "pointermove", "pointerup", "click", "contextmenu"];

/**
 * Return the canvas that an event is on.
 * @param {Event} event
 */
const canvasOf = ({ target }) =>
  target instanceof Element ? target.closest(".rg-canvas-stage canvas") : null;

/** @type {import("./types").Mount<"heat_pixel">} */
export function mount(element) {
  /** @type {AbortController | null} */
  let listening = null;
  const pick = button("rg-tool", PICK, () => (listening ? end() : begin()));
  /** @param {boolean} picking */
  const show = (picking) => {
    pick.textContent = picking ? WAIT : PICK;
    pick.ariaPressed = String(picking);
  };
  const end = () => {
    const ended = listening;
    listening = null;
    // The click that ends a press comes after it, and is not for the canvas either.
    setTimeout(() => ended?.abort());
    show(false);
  };
  /** @param {Event} event */
  const place = (event) => {
    const canvas = canvasOf(event);
    const { editor } = hub;
    if (!canvas || !editor?.clip) return;
    event.preventDefault();
    event.stopPropagation();
    if (!(event instanceof PointerEvent) || event.type !== "pointerup") return;
    const at = placeIn(canvas.getBoundingClientRect(), editor.clip, event.clientX, event.clientY);
    end();
    writeInto(fieldBeside(element, "heat_pixel"), [editor.frame, ...at].join(","));
  };
  /** @param {KeyboardEvent} event */
  const leave = ({ key }) => {
    if (key === "Escape") end();
  };
  const begin = () => {
    showStage("masks");
    listening = new AbortController();
    const how = { capture: true, signal: listening.signal }; // before the canvas hears of it: it would become a mask
    for (const kind of PRESSES) document.addEventListener(kind, place, how);
    document.addEventListener("keydown", leave, how);
    show(true);
    hub.editor?.say(WAIT);
  };
  show(false);
  element.replaceChildren(make("div", "rg-helper", pick));
}
