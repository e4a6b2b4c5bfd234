// @ts-check
// What was saved or made goes to the browser's downloads.
import { make } from "./shared/dom.js";
import { fileUrl, follow, hub } from "./shared/hub.js";

/** @type {import("./types").Mount<"download">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    if (!value) return;
    hub.tell("made", value);
    if (value.path) make("a", { href: fileUrl(value.path), download: value.name }).click();
  });
}
