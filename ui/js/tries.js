// @ts-check
// A try of the frame that is shown, beside Run, and what is said of a whole run before it.
import { button, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { askToNotify } from "./shared/notify.js";

const HINT = "Edit the frame that is shown in a few steps, here in its place";

let watching = false;
let takesLong = false; // a run of the whole clip, so that one may go elsewhere meanwhile

// Run itself, and keys that press it, make a whole run.
const watchRun = () => {
  if (watching) return;
  watching = true;
  /** @param {Event} event */
  const choose = (event) => {
    const run = event.target instanceof Element ? event.target.closest("#run") : null;
    run?.classList.add("rg-asked"); // until the server has answered
    if (!run || hub.trying) return;
    if (takesLong) askToNotify();
    hub.attempt = "";
    hub.tell("attempt");
  };
  document.addEventListener("click", choose, true);
};

/** The number of the frame that is shown, from 0. */
const frameShown = () => {
  /** @type {HTMLInputElement | null} */
  const seek = document.body.dataset.stage === "edit" ? document.querySelector(".rg-seek") : null;
  return seek ? Number(seek.value) - 1 : (hub.editor?.frame ?? 0);
};

// Press Run for less than the whole: the cards carry that, and which frame, since the run reads them.
const start = () => {
  /** @type {HTMLButtonElement | null} */
  const run = document.querySelector("#run");
  if (hub.useless) {
    hub.tell("blocked");
    return;
  }
  if (!run || run.disabled) return;
  hub.attempt = "quick";
  hub.attemptFrame = frameShown();
  hub.tell("attempt");
  hub.trying = true;
  if (document.activeElement?.closest(".rg-tries")) run.focus({ preventScroll: true }); // a run hides the try
  run.click();
  hub.trying = false;
  hub.editor?.go(hub.attemptFrame);
  showStage("masks");
};

/** @type {import("./types").Mount<"tries">} */
export function mount(element, props, trigger, watch) {
  const said = make("p", { className: "rg-before", role: "status" });
  const quick = button("rg-tool", "Quick try", start, HINT);
  element.replaceChildren(make("div", "rg-tries", quick, said));
  hub.on("try", start);
  watchRun();
  follow(props, watch, (value) => {
    said.textContent = value?.text ?? "";
    takesLong = Boolean(value?.long);
  });
}
