// @ts-check
// What a run has to do first.
import { make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

/** @type {import("./types").Mount<"takes">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    element.replaceChildren(...(value ? [make("p", "rg-takes", value.text)] : []));
  });
}
