// A pixel to inspect, chosen by a click on the frame; the field above takes it as FRAME,X,Y.
import { button, make, writeInto } from "./shared/dom.js";
import { fieldBeside, hub, showStage } from "./shared/hub.js";
import { hundredths } from "./shared/numbers.js";

const PICK = "Choose in the frame";
const WAIT = "Click a place in the frame, or press Escape";

// Before the canvas hears of the click: it would become a mask.
const listen = (picker) => {
  const place = (event) => {
    const canvas = event.target.closest?.(".rg-canvas-stage canvas"),
      clip = hub.editor?.clip;
    if (!canvas || !clip) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type !== "pointerup") return;
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * clip.width,
      y = ((event.clientY - box.top) / box.height) * clip.height;
    picker.end();
    writeInto(picker.field(), [hub.editor.frame, hundredths(x), hundredths(y)].join(","));
  };
  const leave = (event) => event.key === "Escape" && picker.end();
  const stop = new AbortController(),
    how = { capture: true, signal: stop.signal };
  for (const kind of ["pointerdown", "pointermove", "pointerup", "click", "contextmenu"])
    document.addEventListener(kind, place, how);
  document.addEventListener("keydown", leave, how);
  return () => stop.abort();
};

export function mount(element) {
  const picker = { field: () => fieldBeside(element, "heat_pixel"), unlisten: null };
  const pick = button("rg-tool", PICK, () => (picker.unlisten ? picker.end() : begin()));
  const show = (picking) => {
    pick.textContent = picking ? WAIT : PICK;
    pick.ariaPressed = picking;
  };
  const begin = () => {
    showStage("masks");
    picker.unlisten = listen(picker);
    show(true);
    hub.editor?.say?.(WAIT);
  };
  picker.end = () => {
    // The click that ends a press comes after it, and is not for the canvas either.
    setTimeout(picker.unlisten);
    picker.unlisten = null;
    show(false);
  };
  show(false);
  element.replaceChildren(make("div", "rg-helper", pick));
}
