// @ts-check
// Smaller runs beside Run, and what a whole one takes.
import { button, group, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const KINDS = {
  first: ["First frame", "Edit the first frame alone, to see where it goes"],
  quick: ["Quick try", "Edit a few frames in a few steps"],
};

let watching = false;

// Run itself, and keys that press it, make a whole run.
const watchRun = () => {
  if (watching) return;
  watching = true;
  const choose = (event) => {
    const run = event.target instanceof Element ? event.target.closest("#run") : null;
    run?.classList.add("rg-asked"); // until the server has answered
    if (!run || hub.trying) return;
    hub.attempt = "";
    hub.tell("attempt");
  };
  document.addEventListener("click", choose, true);
};

/**
 * Press Run for less than the whole: the cards carry which, since the run reads them.
 * @param {string} kind
 */
const start = (kind) => {
  /** @type {HTMLButtonElement | null} */
  const run = document.querySelector("#run");
  if (!run || run.disabled) return;
  hub.attempt = kind;
  hub.tell("attempt");
  hub.trying = true;
  run.click();
  hub.trying = false;
};

/** @type {import("./types").Mount<"tries">} */
export function mount(element, props, trigger, watch) {
  const cost = make("p", { className: "rg-estimate", role: "status" });
  const buttons = Object.entries(KINDS).map(([kind, [text, hint]]) =>
    button("rg-tool", text, () => start(kind), hint),
  );
  element.replaceChildren(make("div", "rg-tries", group("Tries", ...buttons), cost));
  watchRun();
  follow(props, watch, (value) => {
    cost.textContent = value?.text ?? "";
  });
}
