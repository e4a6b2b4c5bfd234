// A pixel to inspect, chosen by a click on the frame; the field above takes it as FRAME,X,Y.
import { button, make, press } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";
import { hundredths } from "./shared/numbers.js";
import { fieldBeside, writeInto } from "./shared/writing.js";

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
  const stop = (event) => event.key === "Escape" && picker.end();
  const kinds = ["pointerdown", "pointermove", "pointerup", "click", "contextmenu"];
  for (const kind of kinds) document.addEventListener(kind, place, true);
  document.addEventListener("keydown", stop, true);
  return () => {
    for (const kind of kinds) document.removeEventListener(kind, place, true);
    document.removeEventListener("keydown", stop, true);
  };
};

export function mount(element) {
  const picker = { field: () => fieldBeside(element, "heat_pixel"), unlisten: null };
  const pick = button("rg-tool", PICK, () => (picker.unlisten ? picker.end() : begin()));
  const begin = () => {
    showStage("masks");
    picker.unlisten = listen(picker);
    pick.textContent = WAIT;
    press(pick, true);
    hub.editor?.say?.(WAIT);
  };
  picker.end = () => {
    // The click that ends a press comes after it, and is not for the canvas either.
    setTimeout(picker.unlisten);
    picker.unlisten = null;
    pick.textContent = PICK;
    press(pick, false);
  };
  press(pick, false);
  const row = make("div", "rg-helper");
  row.append(pick);
  element.replaceChildren(row);
}
