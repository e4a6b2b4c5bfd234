// @ts-check
// The dialog that chooses a real model: one of the folder for models, or one of the hub, which is fetched first.
import { makeDialog } from "./shared/dialog.js";
import { button, make, textField } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";
import { makeDrop } from "./hub_model/drop.js";
import { makeCopy, makeOffers } from "./hub_model/offers.js";

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

/** Make the line that says what is done, and what went wrong. */
const makeSaid = () => {
  const node = make("p", { className: "rg-note", role: "status" });
  /** @param {string} words @param {boolean} isWrong */
  const say = (words, isWrong) => {
    node.textContent = words;
    node.classList.toggle("rg-alarm", isWrong);
  };
  return { node, say };
};

/** Make the line that says where models lie. */
const makePlace = () => {
  const node = make("p", "rg-path");
  /** @param {string} words @param {string} folder of models; "" where it is not told */
  const say = (words, folder) => {
    node.hidden = !words;
    node.replaceChildren(words);
    if (folder) node.append(make("code", {}, folder), makeCopy(folder, "the path of the models folder"));
  };
  return { node, say };
};

/** @type {import("./types").Mount<"hub_model">} */
export function mount(element, props, trigger, watch) {
  const about = { placeholder: "words, owner/name, or a path", ariaLabel: "Models of the hub" };
  const field = textField({ id: "rg-hub-id", ...about });
  const offers = makeOffers((id) => trigger("fetch", { id }));
  const lists = make("div", "rg-model-lists");
  const said = makeSaid();
  const bar = make("progress", { ariaLabel: "Fetching the model" });
  const stop = button("rg-tool", "Stop", () => drop.stop() || trigger("stop", {}));
  const going = make("div", "rg-models-row", bar, stop);
  /** @param {number | null} share of a file that is on its way; null if none is */
  const setGoing = (share) => {
    bar.value = share ?? 0;
    going.hidden = share === null;
    for (const node of [lists, offers.node]) node.inert = share !== null;
  };
  const drop = makeDrop({ say: said.say, setGoing, use: (id) => trigger("use", { id }) });
  let asked = "";
  const ask = () => {
    said.say("Looking", false);
    asked = field.value.trim();
    trigger("ask", { id: asked });
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) ask();
  });
  const look = make("div", "rg-models-row", field, button("rg-tool", "Look up", ask));
  const place = makePlace();
  const parts = [offers.node, lists, place.node, drop.node, look, said.node, going];
  const content = make("div", "rg-models rg-hub", ...parts);
  const dialog = makeDialog("rg-help rg-real-model", "Get a model", content);
  const [title] = dialog.getElementsByTagName("h2");
  /** @type {Partial<import("./types").HubView>} */
  const shown = {}; // lists stay until there are others
  const open = (words = "") => {
    if (!dialog.isConnected) return;
    field.value = shown.fixed ? "" : words;
    title.textContent = words ? "Get a picture adapter" : "Get a model";
    offers.node.classList.toggle("rg-away", Boolean(words));
    dialog.showModal();
    ask();
  };
  hub.on("models", open);
  hub.on("weights", (files) => {
    open();
    if (files) drop.take(files);
    else drop.choose();
  });
  const draw = () => {
    const { state, text = "", share, local, hits, fixed, folder = "", byHand = "" } = shown;
    place.say(byHand, folder);
    offers.fill(shown);
    look.hidden = Boolean(fixed);
    drop.offer(shown.drop ?? "");
    hub.takesWeights = Boolean(shown.drop);
    if (!drop.goesOn()) {
      said.say(text, state === "error");
      setGoing(state === "fetching" ? (share ?? 0) : null);
    }
    lists.replaceChildren(
      ...makeList("On this machine", local, "Use", (id) => trigger("use", { id })),
      ...makeList("On the hub", hits, "Fetch", (id) => trigger("fetch", { id })),
    );
  };
  const opener = button("rg-link", "Get a model", () => open(), "", { ariaHasPopup: "dialog" });
  follow(props, watch, (value) => {
    element.hidden = !value;
    hub.getsModels = Boolean(value);
    if (!value) return;
    if (!dialog.isConnected) {
      element.replaceChildren(opener);
      element.closest(".rg-right")?.append(dialog); // a closed fold would hide it
    }
    if ((value.asked ?? asked) !== asked) return; // something else was asked meanwhile
    Object.assign(shown, value);
    draw();
    if (shown.state !== "done") return;
    dialog.close();
    hub.editor?.say(`${shown.id || "Model"}: ${shown.text}`);
  });
}
