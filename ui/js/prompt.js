import { isColor } from "./shared/color.js";
import { make } from "./shared/dom.js";
import { badge } from "./shared/marks.js";
import { follow } from "./shared/server.js";

const wordsOf = (part) => {
  if (!part.label) return part.text;
  const words = make("span", part.kept ? "rg-words rg-kept" : "rg-words");
  if (part.kept) words.title = "Stays as it is";
  if (isColor(part.color)) words.style.setProperty("--region", part.color);
  words.append(badge(part.label, part.color), make("span", "", part.text));
  return words;
};

const lineOf = (parts) => {
  const line = make("p", "rg-prompt");
  line.append(...parts.map(wordsOf));
  return line;
};

// The composed prompt, each region's words on its colour.
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    const lines = (value ? value.prompts : []).map(lineOf);
    const title = lines.length > 1 ? "Prompts of this run, one per edit" : "Prompt of this run";
    element.replaceChildren(make("p", "rg-caption", title), ...lines);
    element.hidden = !lines.length;
  });
}
