// @ts-check
// A pixel to inspect, chosen by a click on the frame; the field above takes it as FRAME,X,Y.
import { placeIn } from "./canvas/state.js";
import { button, make, writeInto } from "./shared/dom.js";
import { fieldBeside, hub, showStage } from "./shared/hub.js";

const PICK = "Choose in the frame";
const WAIT = "Click a place in the frame, or press Escape";

/** @type {import("./types").Mount<"heat_pixel">} */
export function mount(element) {
  let stop = null;
  const pick = button("rg-tool", PICK, () => (stop ? end() : begin()));
  const show = (picking) => {
    pick.textContent = picking ? WAIT : PICK;
    pick.ariaPressed = picking;
  };
  const end = () => {
    // The click that ends a press comes after it, and is not for the canvas either.
    setTimeout(stop);
    stop = null;
    show(false);
  };
  const place = (event) => {
    const canvas = event.target.closest?.(".rg-canvas-stage canvas"),
      clip = hub.editor?.clip;
    if (!canvas || !clip) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== "pointerup") return;
    const at = placeIn(canvas.getBoundingClientRect(), clip, event.clientX, event.clientY);
    end();
    writeInto(fieldBeside(element, "heat_pixel"), [hub.editor.frame, ...at].join(","));
  };
  const leave = ({ key }) => key === "Escape" && end();
  const begin = () => {
    showStage("masks");
    const listening = new AbortController(),
      how = { capture: true, signal: listening.signal }; // before the canvas hears of it: it would become a mask
    for (const kind of ["pointerdown", "pointermove", "pointerup", "click", "contextmenu"])
      document.addEventListener(kind, place, how);
    document.addEventListener("keydown", leave, how);
    stop = () => listening.abort();
    show(true);
    hub.editor?.say(WAIT);
  };
  show(false);
  element.replaceChildren(make("div", "rg-helper", pick));
}
