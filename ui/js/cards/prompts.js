// The words of the whole clip: what it shows, and for methods of the whole frame what it should show.
import { make } from "../shared/dom.js";
import { underlined } from "./underline.js";

const HINT = "One prompt per line. Each line is an edit of its own; all are made in one run.";

const makeShows = () => {
  const node = make("label", "rg-shows", "The clip shows"),
    input = make("input");
  Object.assign(input, { type: "text", autocomplete: "off", spellcheck: false });
  Object.assign(input, { placeholder: "a short description (optional)", id: "rg-source" });
  node.append(underlined(input));
  return { node, input };
};

const makeAvoid = () => {
  const node = make("label", "rg-shows", "Avoid anywhere"),
    input = make("input");
  Object.assign(input, { type: "text", autocomplete: "off", spellcheck: false, id: "rg-avoid" });
  input.placeholder = "what the edit should not show (optional)";
  node.append(underlined(input));
  return { node, input };
};

const makeBecomes = () => {
  const node = make("label", "rg-shows", "It should show"),
    input = make("textarea"),
    hint = make("span", "rg-caption", HINT);
  Object.assign(input, { rows: 1, autocomplete: "off", spellcheck: false });
  Object.assign(input, { placeholder: "a description of the edited clip", id: "rg-whole" });
  hint.id = "rg-whole-hint";
  input.setAttribute("aria-describedby", hint.id);
  node.append(underlined(input));
  return { node, input, hint };
};

export const makePrompts = (changed) => {
  const shows = makeShows(),
    becomes = makeBecomes(),
    avoid = makeAvoid();
  // As high as its lines; nothing is known of them while it is hidden.
  const grow = () => {
    becomes.input.style.height = "";
    if (becomes.input.scrollHeight) becomes.input.style.height = becomes.input.scrollHeight + 2 + "px";
  };
  for (const { input } of [shows, avoid]) input.addEventListener("input", changed);
  becomes.input.addEventListener("input", () => {
    grow();
    changed();
  });
  const settle = (method) => {
    const unread = Boolean(method) && !method.source_prompt;
    becomes.node.hidden = !method || method.regions === "needed";
    becomes.hint.hidden = becomes.node.hidden || !method.several;
    shows.node.classList.toggle("rg-off", unread);
    shows.input.disabled = unread;
    grow();
  };
  const read = () => ({
    source_prompt: shows.input.value,
    prompt: becomes.input.value,
    negative_prompt: avoid.input.value,
  });
  const fill = ({ source_prompt, prompt, negative_prompt }) => {
    shows.input.value = source_prompt;
    avoid.input.value = negative_prompt ?? "";
    becomes.input.value = prompt;
    grow();
  };
  return { nodes: [shows.node, becomes.node, becomes.hint], last: avoid.node, settle, read, fill };
};
