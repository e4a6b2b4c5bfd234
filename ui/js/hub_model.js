// A model of the hub: its size and licence are shown first, then it is fetched.
import { button, make } from "./shared/dom.js";
import { follow } from "./shared/server.js";

const HINT = "owner/name on the Hugging Face hub";

const makeField = (allowed) => {
  const field = make(allowed ? "select" : "input");
  if (allowed) field.append(...allowed.map((id) => new Option(id, id)));
  else Object.assign(field, { type: "text", placeholder: HINT, autocomplete: "off", spellcheck: false });
  field.id = "rg-hub-id";
  return field;
};

const makeParts = (value, trigger) => {
  const parts = {
    field: makeField(value.allowed),
    label: make("label", "", "From the hub"),
    said: make("p", "rg-note"),
    bar: make("progress"),
  };
  const send = (name) => () => parts.field.value.trim() && trigger(name, { id: parts.field.value.trim() });
  parts.label.htmlFor = parts.field.id;
  parts.ask = button("rg-tool", "Look up", send("ask"));
  parts.fetch = button("rg-tool", "Fetch", send("fetch"));
  parts.bar.setAttribute("aria-label", "Fetching the model");
  parts.said.setAttribute("role", "status");
  parts.field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) send("ask")();
  });
  parts.field.addEventListener("input", () => (parts.fetch.hidden = true));
  return parts;
};

export function mount(element, props, trigger, watch) {
  let parts = null;
  const build = (value) => {
    parts = makeParts(value, trigger);
    const row = make("div", "rg-models-row"),
      root = make("div", "rg-models rg-hub");
    row.append(parts.label, parts.field, parts.ask, parts.fetch);
    root.append(row, parts.bar, parts.said);
    element.replaceChildren(root);
  };
  follow(props, watch, (value) => {
    element.hidden = !value;
    if (!value) return;
    if (!parts) build(value);
    const busy = value.state === "fetching";
    parts.fetch.hidden = value.state !== "known";
    parts.ask.disabled = parts.field.disabled = busy;
    parts.bar.hidden = !busy;
    parts.bar.value = value.share ?? 0;
    parts.said.textContent = value.text;
    parts.said.classList.toggle("rg-alarm", value.state === "error");
  });
}
