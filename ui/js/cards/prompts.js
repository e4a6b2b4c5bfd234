// @ts-check
// The words of the whole clip: what it shows, and for methods of the whole frame what it should show.
import { make, textField } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { underlined } from "./underline.js";

const HINT = "One prompt per line. Each line is an edit of its own; all are made in one run.";

/** @param {string} title @param {HTMLInputElement | HTMLTextAreaElement} input */
const labelled = (title, input) => make("label", "rg-shows", title, underlined(input));

/** @typedef {Pick<import("../types").CardsSaying, "source_prompt" | "prompt">} Words */

/** @param {() => void} changed */
export const makePrompts = (changed) => {
  const source = textField({ id: "rg-source", placeholder: "a short description (optional)" });
  const avoid = textField({ id: "rg-avoid", placeholder: "e.g. blurry (optional)" });
  const whole = make("textarea", { id: "rg-whole", rows: 1, autocomplete: "off", spellcheck: false });
  const hint = make("span", { className: "rg-caption", id: "rg-whole-hint" }, HINT);
  const shows = labelled("The clip shows", source);
  const becomes = labelled("It should show", whole);
  whole.placeholder = "a description of the edited clip";
  whole.setAttribute("aria-describedby", hint.id);
  // As high as its lines; nothing is known of them while it is hidden.
  const grow = () => {
    whole.style.height = "";
    if (whole.scrollHeight) whole.style.height = whole.scrollHeight + 2 + "px";
  };
  source.oninput = changed;
  avoid.oninput = changed;
  whole.oninput = () => {
    grow();
    changed();
  };
  /** @param {import("../types").MethodView | null} method */
  const settle = (method) => {
    const unread = method?.source_prompt === false;
    // It is composed from the words of regions, where a method binds these.
    const composed = method?.binds && hub.regions.some(({ prompt }) => prompt) && !whole.value;
    // Without regions, things are clicked; only the whole look is told in words alone.
    const isOfThings = !hub.regions.length && hub.wish !== "look" && !whole.value;
    becomes.hidden = !method || method.regions === "needed" || Boolean(composed) || isOfThings;
    hint.hidden = becomes.hidden || !method?.several;
    shows.classList.toggle("rg-off", unread);
    source.disabled = unread;
    grow();
  };
  const read = () => ({ source_prompt: source.value, prompt: whole.value, negative_prompt: avoid.value });
  /** @param {Words & { negative_prompt?: string }} words */
  const fill = ({ source_prompt, prompt, negative_prompt }) => {
    source.value = source_prompt;
    avoid.value = negative_prompt ?? "";
    whole.value = prompt;
    grow();
  };
  return { nodes: [shows, becomes, hint], last: labelled("Never show", avoid), settle, read, fill };
};
