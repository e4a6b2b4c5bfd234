// @ts-check
// Where a run works, as the server finds it; the canvas draws it on the picture.
import { follow, hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"focus">} */
export function mount(element, props, trigger, watch) {
  element.hidden = true;
  follow(props, watch, (value) => hub.tell("focus", value));
}
