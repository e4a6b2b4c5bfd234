// A model of the hub: its size and licence are shown first, then it is fetched.
import { button, make, textField } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const HINT = "owner/name on the Hugging Face hub";

const makeField = (allowed) => {
  const id = "rg-hub-id";
  if (!allowed) return textField({ id, placeholder: HINT });
  return make("select", { id }, ...allowed.map((name) => new Option(name, name)));
};

const makeParts = (value, trigger) => {
  const field = makeField(value.allowed);
  const send = (name) => () => field.value.trim() && trigger(name, { id: field.value.trim() });
  const parts = {
    field,
    ask: button("rg-tool", "Look up", send("ask")),
    fetch: button("rg-tool", "Fetch", send("fetch")),
    said: make("p", { className: "rg-note", role: "status" }),
    bar: make("progress", { ariaLabel: "Fetching the model" }),
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) send("ask")();
  });
  field.oninput = () => {
    parts.fetch.hidden = true;
    parts.ask.hidden = !field.value.trim();
  };
  parts.ask.hidden = !field.value.trim();
  return parts;
};

export function mount(element, props, trigger, watch) {
  let parts = null;
  const build = (value) => {
    parts = makeParts(value, trigger);
    const { field, ask, fetch, bar, said } = parts,
      label = make("label", { htmlFor: field.id }, "From the hub");
    const row = make("div", "rg-models-row", label, field, ask, fetch);
    element.replaceChildren(make("div", "rg-models rg-hub", row, bar, said));
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
