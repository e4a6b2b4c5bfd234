// @ts-check
// What is said below the frame: what happened or, without that, what a click does now.
import { button, inOrder, make } from "../shared/dom.js";
import { hub, titleOf } from "../shared/hub.js";
import { aimAt } from "./pointer.js";
import { hintFor } from "./aim.js";

/** @typedef {import("../types").Editor} Editor */

const NOTED = 4000; // milliseconds that a note without alarm stays while the mouse moves

/** @param {Editor} editor */
export const makeNote = (editor) => {
  const node = make("p", { className: "rg-say", role: "status", dir: "auto" });
  const touch = matchMedia("(pointer: coarse)");
  let noted = false;
  let urgent = false;
  let since = 0; // when it was said
  const hint = () => {
    const click = touch.matches ? "Tap" : "Click";
    if (editor.tracking > 0) return `${click} the frame to stop there and correct it.`;
    const { does, hit = hub.active } = aimAt(editor, editor.hover, false);
    const region = hub.regions.find((one) => one.label === hit);
    const name = region ? `“${titleOf(region)}”` : "a new region";
    const isOpen = document.body.classList.contains("rg-has-bubble");
    if (isOpen && does === "begin") return `${name} is open. ${click} another thing for a new region.`;
    return hintFor(editor.tool, does, name, touch.matches);
  };
  /** @param {string} text without one, what a click does now @param {boolean} [alarm] */
  const say = (text, alarm = false) => {
    noted = Boolean(text);
    urgent = alarm;
    since = Date.now();
    node.textContent = inOrder(text || hint());
    node.classList.toggle("rg-alarm", noted && alarm);
  };
  // Offer the box tool after what is said, which stays until something else is.
  const offerBox = () => {
    urgent = true;
    const choose = () => editor.choose("box");
    node.append(" ", button("rg-link", "Draw a box around it", choose, "Draw a box (R)"));
  };
  const hintAnew = () => {
    const stays = noted && (urgent || Date.now() - since < NOTED);
    if (!stays) say("");
  };
  return { node, say, offerBox, hintAnew };
};
