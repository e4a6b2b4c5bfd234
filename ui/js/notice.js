// @ts-check
// The model that is chosen is of no use for the clip: one line, and the way to another.
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"notice">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    element.replaceChildren();
    if (!value) return;
    const open = () => hub.tell("models", undefined);
    const use = value.offers && button("rg-link", "Use a real model", open);
    element.append(make("p", { className: "rg-notice", role: "status" }, value.text + " ", use));
  });
}
