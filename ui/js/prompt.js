// @ts-check
// The composed prompt, each region's words on its colour.
import { badge, isColor } from "./shared/color.js";
import { make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

/** @param {import("./types").PromptPiece} piece */
const makeWords = ({ label, text, color, kept }) => {
  if (!label) return text;
  const about = kept ? { className: "rg-words rg-kept", title: "Stays as it is" } : "rg-words";
  const words = make("span", about, badge(label, color), make("span", {}, text));
  if (color && isColor(color)) words.style.setProperty("--region", color);
  return words;
};

/** @type {import("./types").Mount<"prompt">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    const prompts = value?.prompts ?? [];
    const lines = prompts.map((pieces) => make("p", "rg-prompt", ...pieces.map(makeWords)));
    const title = lines.length > 1 ? "Prompts of this run, one per edit" : "Prompt of this run";
    element.replaceChildren(make("p", "rg-caption", title), ...lines);
    element.hidden = !lines.length;
  });
}
