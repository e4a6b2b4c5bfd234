import { icon, make } from "./shared/dom.js";

const KEPT = "regrain-dark";

const isDark = () => document.body.classList.contains("dark");

// Ctrl+Enter runs, wherever the cursor is.
const listenOnce = () => {
  if (window.regrainKeys) return;
  window.regrainKeys = true;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    document.querySelector("#run")?.click();
  });
};

// The switch between light and dark.
export function mount(element) {
  const button = element.querySelector("button");
  const turn = (dark) => {
    document.body.classList.toggle("dark", dark);
    button.replaceChildren(icon("sun"), make("span", "", isDark() ? "Light" : "Dark"));
    button.setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
  };
  button.addEventListener("click", () => {
    turn();
    sessionStorage.setItem(KEPT, isDark());
  });
  const kept = sessionStorage.getItem(KEPT);
  turn(kept ? kept === "true" : isDark());
  listenOnce();
}
