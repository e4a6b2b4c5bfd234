// @ts-check
// The dialog that chooses a real model: one of the folder for models, or one of the hub, which is fetched first.
import { makeDialog } from "./shared/dialog.js";
import { button, make, textField } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";
import { makeDrop } from "./hub_model/drop.js";

/** @typedef {import("./types").ListingView} Listing */

/**
 * @param {string} title
 * @param {Listing[] | undefined} models
 * @param {string} name of the button
 * @param {(id: string) => void} act
 */
const makeList = (title, models = [], name, act) => {
  /** @param {Listing} model */
  const makeRow = ({ id, facts }) => {
    const about = make("span", "rg-model-facts", make("strong", {}, id), facts && make("span", {}, facts));
    const take = button("rg-tool", name, () => act(id), "", { ariaLabel: `${name} ${id}` });
    return make("li", {}, about, take);
  };
  if (!models.length) return [];
  const list = make("ul", "rg-model-list", ...models.map(makeRow));
  return [make("section", {}, make("h3", {}, title), list)];
};

/** @type {import("./types").Mount<"hub_model">} */
export function mount(element, props, trigger, watch) {
  const about = { placeholder: "words, or owner/name", ariaLabel: "Models of the hub" };
  const field = textField({ id: "rg-hub-id", ...about });
  const lists = make("div", "rg-model-lists");
  const said = make("p", { className: "rg-note", role: "status" });
  const bar = make("progress", { ariaLabel: "Fetching the model" });
  const stop = button("rg-tool", "Stop", () => drop.stop() || trigger("stop", {}));
  const going = make("div", "rg-models-row", bar, stop);
  /** @param {string} words @param {boolean} isWrong */
  const say = (words, isWrong) => {
    said.textContent = words;
    said.classList.toggle("rg-alarm", isWrong);
  };
  /** @param {number | null} share of a file that is on its way; null if none is */
  const setGoing = (share) => {
    bar.value = share ?? 0;
    going.hidden = share === null;
    lists.inert = share !== null;
  };
  const drop = makeDrop({ say, setGoing, use: (id) => trigger("use", { id }) });
  const ask = () => {
    said.textContent = "Looking";
    trigger("ask", { id: field.value.trim() });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) ask();
  });
  const look = make("div", "rg-models-row", field, button("rg-tool", "Look up", ask));
  const how = make("span");
  const code = make("code");
  const copy = button("rg-tool rg-small", "Copy", () =>
    navigator.clipboard?.writeText(code.textContent ?? ""),
  );
  copy.ariaLabel = "Copy the path of the models folder";
  const path = make("p", "rg-path", how, code, copy);
  const content = make("div", "rg-models rg-hub", lists, path, drop.node, look, said, going);
  const dialog = makeDialog("rg-help rg-real-model", "Get a model", content);
  const [title] = dialog.getElementsByTagName("h2");
  /** @type {Partial<import("./types").HubView>} */
  const shown = {}; // lists stay until there are others
  const open = (words = "") => {
    if (!dialog.isConnected) return;
    field.value = shown.fixed ? "" : words;
    title.textContent = words ? "Get a picture adapter" : "Get a model";
    dialog.showModal();
    ask();
  };
  hub.on("models", open);
  hub.on("weights", (files) => {
    open();
    if (files) drop.take(files);
    else drop.choose();
  });
  const opener = button("rg-link", "Get a model", () => open(), "", { ariaHasPopup: "dialog" });
  follow(props, watch, (value) => {
    element.hidden = !value;
    if (!value) return;
    if (!dialog.isConnected) element.replaceChildren(opener, dialog);
    Object.assign(shown, value);
    const { state, text = "", share, local, named, hits, fixed, folder = "", byHand = "" } = shown;
    path.hidden = !byHand;
    how.textContent = byHand;
    code.textContent = folder;
    for (const part of [code, copy]) part.hidden = !folder;
    look.hidden = Boolean(fixed);
    drop.offer(shown.drop ?? "");
    hub.takesWeights = Boolean(shown.drop);
    if (!drop.goesOn()) {
      say(text, state === "error");
      setGoing(state === "fetching" ? (share ?? 0) : null);
    }
    lists.replaceChildren(
      ...makeList("On this machine", local, "Use", (id) => trigger("use", { id })),
      ...makeList("Made for this", named, "Fetch", (id) => trigger("fetch", { id })),
      ...makeList("On the hub", hits, "Fetch", (id) => trigger("fetch", { id })),
    );
    if (state !== "done") return;
    dialog.close();
    hub.editor?.say(`${shown.id || "Model"}: ${text}`);
  });
}
