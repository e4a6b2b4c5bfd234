// @ts-check
// The dialog that chooses a real model: one of the folder for models, or one of the hub, which is fetched first.
import { makeDialog } from "./shared/dialog.js";
import { button, make, textField } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const makeList = (title, models, name, act) => {
  const rows = models.map(({ id, facts }) => {
    const about = make("span", "rg-model-facts", make("strong", {}, id), facts && make("span", {}, facts));
    const take = button("rg-tool", name, () => act(id), "", { ariaLabel: `${name} ${id}` });
    return make("li", {}, about, take);
  });
  return make("section", {}, make("h3", {}, title), make("ul", "rg-model-list", ...rows));
};

/** @type {import("./types").Mount<"hub_model">} */
export function mount(element, props, trigger, watch) {
  const about = { placeholder: "words, or owner/name", ariaLabel: "Models of the hub" },
    field = textField({ id: "rg-hub-id", ...about }),
    lists = make("div", "rg-model-lists"),
    said = make("p", { className: "rg-note", role: "status" }),
    bar = make("progress", { ariaLabel: "Fetching the model" }),
    stop = button("rg-tool", "Stop", () => trigger("stop", {}));
  const ask = () => {
    said.textContent = "Looking";
    trigger("ask", { id: field.value.trim() });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) ask();
  });
  const look = make("div", "rg-models-row", field, button("rg-tool", "Look up", ask)),
    going = make("div", "rg-models-row", bar, stop),
    content = make("div", "rg-models rg-hub", look, said, going, lists),
    dialog = makeDialog("rg-help rg-real-model", "Use a real model", content);
  const shown = {}; // lists stay until there are others
  const open = (words = "") => {
    if (!dialog.isConnected) return;
    field.value = shown.fixed ? "" : words;
    dialog.firstChild.textContent = words ? "Get a picture adapter" : "Use a real model";
    dialog.showModal();
    ask();
  };
  hub.on("models", open);
  const use = button("rg-link", "Use a real model", () => open(), "", { ariaHasPopup: "dialog" });
  const choose = (name) => (id) => trigger(name, { id });
  follow(props, watch, (value) => {
    element.hidden = !value;
    if (!value) return;
    if (!dialog.isConnected) element.replaceChildren(use, dialog);
    Object.assign(shown, value);
    const { state, text, share, shelf, hits, fixed } = shown;
    look.hidden = fixed;
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
