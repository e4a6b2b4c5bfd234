// @ts-check
// The switch between light and dark, kept while the browser's tab is open.
import { icon, make } from "./dom.js";

const DARK = "regrain-dark"; // under which the browser keeps it

const isDark = () => document.body.classList.contains("dark");

export const makeDarkSwitch = () => {
  const node = make("button", { className: "rg-item", type: "button" });
  /** @param {boolean} dark */
  const turn = (dark) => {
    document.body.classList.toggle("dark", dark);
    node.replaceChildren(icon("sun"), make("span", {}, dark ? "Light colours" : "Dark colours"));
  };
  node.addEventListener("click", () => {
    turn(!isDark());
    sessionStorage.setItem(DARK, String(isDark()));
  });
  const kept = sessionStorage.getItem(DARK);
  turn(kept ? kept === "true" : isDark());
  return node;
};
