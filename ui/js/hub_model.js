// @ts-check
// The dialog that gets a model: published ones are fetched by a press, files are put into the folder for models.
import { makeDialog, showAbove } from "./shared/dialog.js";
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";
import { makeDrop } from "./hub_model/drop.js";

const COLUMNS = ["Model", "Good for", "Here", "To fetch", "Memory on a GPU", "Licence"];

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

/** @type {import("./types").Mount<"hub_model">} */
export function mount(element, props, trigger, watch) {
  const list = make("div");
  const said = makeSaid();
  const bar = make("progress", { ariaLabel: "Fetching the model" });
  const stop = button("rg-tool", "Stop", () => drop.stop() || trigger("stop", {}));
  const going = make("div", "rg-models-row", bar, stop);
  /** @param {number | null} share of a file that is on its way; null if none is */
  const setGoing = (share) => {
    bar.value = share ?? 0;
    going.hidden = share === null;
    for (const one of [list, others]) one.inert = share !== null;
  };
  const drop = makeDrop({ say: said.say, setGoing, use: (id) => trigger("use", { id }) });
  /** @param {import("./types").ListingView} model */
  const makeRow = ({ id, title, good, licence, size, memory, here }) => {
    const name = make("th", { scope: "row" }, title && make("strong", {}, title), make("span", {}, id));
    const facts = [good, here, size, memory, licence].map((text, i) => {
      return make("td", text ? { data: { about: COLUMNS[i + 1] } } : {}, text);
    });
    const fetch = () => trigger("fetch", { id });
    const press = button("rg-tool", "Fetch", fetch, id, { ariaLabel: `Fetch ${title || id}` });
    return make("tr", {}, name, ...facts, make("td", {}, press));
  };
  /** @param {import("./types").ListingView[]} models */
  const makeTable = (models) => {
    const names = COLUMNS.map((text) => make("th", { scope: "col" }, text));
    const head = make("thead", {}, make("tr", {}, ...names, make("td")));
    return make("table", "rg-model-list", head, make("tbody", {}, ...models.map(makeRow)));
  };
  const others = make("div");
  const rest = make("details", "rg-details", make("summary", {}, "Others"), others);
  const machine = make("p", "rg-note");
  const content = make("div", "rg-models rg-hub", machine, list, rest, drop.node, said.node, going);
  const dialog = makeDialog("rg-help rg-real-model", "Get a model", content);
  const open = () => {
    if (element.isConnected && !element.hidden) showAbove(dialog);
  };
  hub.on("models", open);
  hub.on("weights", (files) => {
    open();
    if (files) drop.take(files);
    else drop.choose();
  });
  const opener = button("rg-link", "Get a model", open, "", { ariaHasPopup: "dialog" });
  follow(props, watch, (value) => {
    element.hidden = !value;
    hub.getsModels = Boolean(value);
    if (!value) return;
    const { state, id, text, share, models, drop: place } = value;
    if (!opener.isConnected) element.replaceChildren(opener);
    if (models) {
      const [first, ...more] = models;
      list.replaceChildren(makeTable([first]));
      others.replaceChildren(makeTable(more));
      rest.hidden = !more.length;
      machine.textContent = value.here ?? "";
      drop.offer(place ?? "");
      hub.takesWeights = Boolean(place);
    }
    if (!drop.goesOn()) {
      said.say(text, state === "error");
      setGoing(state === "fetching" ? (share ?? 0) : null);
    }
    if (state === "asked") open();
    if (state !== "done") return;
    dialog.close();
    hub.editor?.say(`${id || "Model"}: ${text}`);
  });
}
