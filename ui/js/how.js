// @ts-check
// Method, model and quality in one line; a press shows the form below it.
import { button } from "./shared/dom.js";
import { hub } from "./shared/hub.js";

const KEPT = "regrain-how"; // whether this browser's visitor has it open

/** @type {import("./types").Mount<"how">} */
export function mount(element) {
  const body = document.getElementById("how-body");
  const fold = button("rg-how", "Settings", () => turn(Boolean(body?.hidden)));
  fold.setAttribute("aria-controls", "how-body");
  /** @param {boolean} open */
  const turn = (open) => {
    if (body) body.hidden = !open;
    fold.ariaExpanded = String(open);
    localStorage.setItem(KEPT, String(open));
  };
  element.replaceChildren(fold);
  const say = () => {
    /** @type {HTMLInputElement | null} */
    const model = document.querySelector("#model input");
    const parts = [hub.method?.title, model?.value, hub.quality].filter(Boolean);
    fold.textContent = parts.join(" · ") || "Settings";
  };
  hub.on("method", say);
  hub.on("chosen", say);
  hub.on("unfold", () => turn(true));
  turn(localStorage.getItem(KEPT) === "true");
}
