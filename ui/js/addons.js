// LoRA files, a motion and a picture adapter added to the model, with their weights.
import { fillSelect, iconButton, make, weightSlider } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const PAUSE = 250; // milliseconds after which a weight that is being moved is sent

// Pictures have weights of their own.
const makeRow = ({ name, weight }, seeing, deck) => {
  const weights = seeing ? [] : weightSlider("Weight of " + name, weight, (value) => deck.set(name, value)),
    remove = iconButton("rg-mini", "bin", "Remove " + name, () => deck.set(name, null));
  return make("div", "rg-addon", make("span", "rg-addon-name", name), ...weights, remove);
};

export function mount(element, props, trigger, watch) {
  const list = make("div", "rg-addons"),
    pick = make("select", { ariaLabel: "LoRA file, motion or picture adapter" }),
    deck = { chosen: [], timer: 0 };
  const known = (kinds = ["loras", "motions", "pictures"]) =>
    kinds.flatMap((kind) => props.value?.[kind] ?? []);
  const send = () => trigger("choose", { added: deck.chosen });
  const draw = () => {
    const names = deck.chosen.map(({ name }) => name),
      free = known().filter((name) => !names.includes(name)),
      seeing = known(["pictures"]);
    list.replaceChildren(...deck.chosen.map((one) => makeRow(one, seeing.includes(one.name), deck)));
    title.textContent = "Added to the model: " + (names.join(", ") || "nothing");
    fillSelect(pick, [["", "Add to the model"], ...free.map((name) => [name, name])], "");
    row.hidden = !free.length;
  };
  deck.set = (name, weight) => {
    deck.chosen = deck.chosen
      .map((one) => (one.name === name ? { name, weight } : one))
      .filter((one) => one.weight !== null);
    clearTimeout(deck.timer);
    deck.timer = setTimeout(send, PAUSE);
    if (weight === null) draw();
  };
  pick.addEventListener("change", () => {
    for (const kind of ["motions", "pictures"]) {
      const alike = known([kind]); // of which only one is used
      if (alike.includes(pick.value)) deck.chosen = deck.chosen.filter(({ name }) => !alike.includes(name));
    }
    deck.chosen.push({ name: pick.value, weight: 1 });
    draw();
    send();
  });
  const row = make("div", "rg-addon", pick);
  const title = make("summary", "rg-addon-title"),
    fold = make("details", "rg-addon-fold", title, list, row);
  element.replaceChildren(fold);
  follow(props, watch, (value) => {
    element.hidden = !known().length;
    deck.chosen = (value?.chosen ?? []).map((one) => ({ ...one }));
    draw();
  });
}
