// @ts-check
// What Gradio's own events call in the browser; see `ui/page/build.py`.
import { hub } from "./hub.js";

// The fields say again what they said before a reload.
export const noteRestored = () => {
  hub.restored = true;
  hub.tell("look");
};

// Until then the fields hold what a new page has, which is not to be kept.
export const askToLook = () => {
  if (hub.restored) hub.tell("look");
};

/**
 * Show in the timeline what the fields say that its marks write.
 * @param {string[]} names of the fields
 * @param {...string} texts their values, in this order
 */
export const takeWritten = (names, ...texts) => {
  const said = names.map((name, i) => [name, texts[i]]);
  hub.tell("written", Object.fromEntries(said));
};

/** @param {(keyof import("../types").Written)[]} names of the fields */
export const readWritten = (names) => names.map((name) => hub.written[name]);
