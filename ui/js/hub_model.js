// The dialog that chooses a real model: one of the folder for models, or one of the hub, which is fetched first.
import { makeDialog } from "./shared/dialog.js";
import { button, make, textField } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const makeRow = ({ id, facts }, name, act) => {
  const about = make("span", "rg-model-facts", make("strong", {}, id), facts && make("span", {}, facts));
  return make("li", {}, about, button("rg-tool", name, act, "", { ariaLabel: `${name} ${id}` }));
};

const makeList = (title, models, name, act) => {
  const rows = models.map((model) => makeRow(model, name, () => act(model.id)));
  return make("section", {}, make("h3", {}, title), make("ul", "rg-model-list", ...rows));
};

const makeParts = (fixed, trigger) => {
  const field = textField({
      id: "rg-hub-id",
      placeholder: "words, or owner/name",
      ariaLabel: "Models of the hub",
    }),
    lists = make("div", "rg-model-lists"),
    said = make("p", { className: "rg-note", role: "status" }),
    bar = make("progress", { ariaLabel: "Fetching the model" }),
    stop = button("rg-tool", "Stop", () => trigger("stop", {}));
  const ask = () => {
    said.textContent = "Looking";
    trigger("ask", { id: field.value.trim() });
  };
  const look = make(
    "div",
    { className: "rg-models-row", hidden: fixed },
    field,
    button("rg-tool", "Look up", ask),
  );
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) ask();
  });
  const going = make("div", "rg-models-row rg-fetching", bar, stop),
    content = make("div", "rg-models rg-hub", look, said, going, lists),
    dialog = makeDialog("rg-help rg-real-model", "Use a real model", content);
  return { ask, bar, dialog, field, going, lists, said };
};

export function mount(element, props, trigger, watch) {
  let parts = null;
  const shown = {};
  const open = (words = "") => {
    if (!parts) return;
    parts.field.value = shown.fixed ? "" : words;
    parts.dialog.firstChild.textContent = words ? "Get a picture adapter" : "Use a real model";
    parts.dialog.showModal();
    parts.ask();
  };
  hub.on("models", open);
  const build = ({ fixed }) => {
    parts = makeParts(fixed, trigger);
    const about = { ariaHasPopup: "dialog" };
    element.replaceChildren(
      button("rg-link", "Use a real model", () => open(), "", about),
      parts.dialog,
    );
  };
  const choose = (name) => (id) => trigger(name, { id });
  follow(props, watch, (value) => {
    element.hidden = !value;
    if (!value) return;
    if (!parts) build(value);
    Object.assign(shown, value); // lists stay until there are others
    const { state, text, share, shelf, hits } = shown,
      { bar, dialog, going, lists, said } = parts;
    going.hidden = state !== "fetching";
    bar.value = share ?? 0;
    said.textContent = text;
    said.classList.toggle("rg-alarm", state === "error");
    lists.inert = state === "fetching";
    lists.replaceChildren(
      ...(shelf?.length ? [makeList("On this machine", shelf, "Use", choose("use"))] : []),
      ...(hits?.length ? [makeList("On the hub", hits, "Fetch", choose("fetch"))] : []),
    );
    if (state === "done") dialog.close();
  });
}
