// @ts-check
// LoRA files, a motion and a picture adapter added to the model, with their weights, and what looks at the result.
import { fillSelect, iconButton, make, weightSlider } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const PAUSE = 250; // milliseconds after which a weight that is being moved is sent

/**
 * @param {string} name
 * @param {(HTMLElement)[]} weights
 * @param {() => void} remove
 */
const makeRow = (name, weights, remove) => {
  const bin = iconButton("rg-mini", "bin", "Remove " + name, remove);
  return make("div", "rg-addon", make("span", "rg-addon-name", name), ...weights, bin);
};

/** @type {import("./types").Mount<"addons">} */
export function mount(element, props, trigger, watch) {
  const list = make("div", "rg-addons");
  const pick = make("select", { ariaLabel: "LoRA file, adapter, or CLIP model that looks at results" });
  const row = make("div", "rg-addon", pick);
  const title = make("summary", "rg-addon-title");
  /** @type {import("./types").Weighted[]} */
  let chosen = [];
  let timer = 0;
  /** @param {"loras" | "motions" | "pictures" | "readers"} kind */
  const namesOf = (kind) => props.value?.[kind] ?? [];
  const unweighted = () => [...namesOf("pictures"), ...namesOf("readers")];
  const known = () => [...namesOf("loras"), ...namesOf("motions"), ...unweighted()];
  const send = () => trigger("choose", { added: chosen });
  const sendSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  };
  /** @param {string} name @param {number} weight */
  const setWeight = (name, weight) => {
    chosen = chosen.map((one) => (one.name === name ? { name, weight } : one));
    sendSoon();
  };
  /** @param {string} name */
  const remove = (name) => {
    chosen = chosen.filter((one) => one.name !== name);
    sendSoon();
    draw();
  };
  /** @param {import("./types").Weighted} added */
  const makeChosen = ({ name, weight }) => {
    const seeing = unweighted().includes(name); // pictures have weights of their own
    /** @param {number} value */
    const take = (value) => setWeight(name, value);
    const weights = seeing ? [] : weightSlider("Weight of " + name, weight, take);
    return makeRow(name, weights, () => remove(name));
  };
  const draw = () => {
    const names = chosen.map(({ name }) => name);
    const free = known().filter((name) => !names.includes(name));
    list.replaceChildren(...chosen.map(makeChosen));
    title.textContent = "LoRA and adapters: " + (names.join(", ") || "none");
    /** @type {[string, string][]} */
    const offered = free.map((name) => [name, name]);
    fillSelect(pick, [["", "Add to the model"], ...offered], "");
    row.hidden = !free.length;
  };
  pick.addEventListener("change", () => {
    const picked = pick.value;
    // Of each only one is used.
    for (const alike of [namesOf("motions"), namesOf("pictures"), namesOf("readers")]) {
      if (alike.includes(picked)) chosen = chosen.filter(({ name }) => !alike.includes(name));
    }
    chosen = [...chosen, { name: picked, weight: 1 }];
    draw();
    send();
  });
  element.replaceChildren(make("details", "rg-addon-fold", title, list, row));
  follow(props, watch, (value) => {
    element.hidden = !known().length;
    chosen = (value?.chosen ?? []).map((one) => ({ ...one }));
    draw();
  });
}
