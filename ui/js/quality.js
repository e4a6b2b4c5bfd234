// @ts-check
// Draft, Standard, Best: one of three, or none where the settings are somebody's own.
import { make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const makeChoice = ({ name, title, detail, hint }, chosen, onchange) => {
  const about = { type: "radio", name: "rg-quality", value: name, checked: name === chosen, onchange },
    words = detail.replace(/(\d) (?=(s|min|h)\b)/g, "$1\u00a0"), // a number keeps its unit
    lines = [make("strong", {}, title), make("span", {}, words)];
  return make("label", { className: "rg-quality", title: hint }, make("input", about), ...lines);
};

/** @type {import("./types").Mount<"quality">} */
export function mount(element, props, trigger, watch) {
  const root = make("fieldset", "rg-qualities"),
    legend = make("legend", {}, "Quality"),
    choose = ({ target }) => trigger("choose", { name: target.value });
  element.replaceChildren(root);
  follow(props, watch, (value) => {
    const active = root.contains(document.activeElement) ? document.activeElement.value : "";
    const made = (value?.qualities ?? []).map((one) => makeChoice(one, value.chosen, choose));
    root.replaceChildren(legend, ...made);
    if (active) root.querySelector(`[value=${active}]`)?.focus();
  });
}
