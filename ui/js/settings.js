// @ts-check
// The parameters of the chosen method, the seed, and how many variants of it a press of Run makes. What is typed here
// is the truth; which method it is, and what is usual, the server says.
import { chooser, make, pressOnly } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { frame, makeChoice, makeField, makeNumber } from "./settings/field.js";

/** @typedef {import("./types").SettingsView} SettingsView */
/** @typedef {import("./settings/field.js").Value} Value */

/** @typedef {(view: SettingsView) => void} Put writes what was chosen or typed into what is shown */

/** @type {[string, string][]} */
const PREDICTED = [
  ["", "As is usual (noise)"],
  ["epsilon", "Noise (epsilon)"],
  ["v_prediction", "Velocity (v)"],
  ["sample", "The picture (sample)"],
];
const PREDICTION = "Of a file that does not say. If it is wrong, the model draws noise.";
/** @type {[number, string][]} */
const COUNTS = [
  [1, "1"],
  [2, "2"],
  [4, "4"],
];
const SEEDS = "Each with another seed, one after the other; of quick tries, too";
const SEEDED = ["variation", "redraw"]; // one of which lets the seed act, where a method has them
const OUTSIDE = ["At hand", "First"]; // groups without a heading
const APART = ["Long clips", "Pictures"]; // that are no experiments
const LAST = "More";
/** @type {(keyof import("./types").Written)[]} */
const MARKED = ["keyframes", "cuts"]; // written by marks below the film strip, too

/** @param {string} title @param {...HTMLElement} fields */
const makeFold = (title, ...fields) => {
  const id = "set-" + title.toLowerCase().replace("for ", "").replaceAll(" ", "-");
  const summary = make("summary", {}, title);
  return make("details", { className: "rg-more", id }, summary, ...fields);
};

class Settings {
  /** @type {SettingsView} */
  view;
  /** The value that was taken last, as JSON. */
  taken = "";
  /** How often something was chosen or typed; an answer names the last of these that it knew. */
  turn = 0;
  /** What was chosen and typed since. @type {{ turn: number, put: Put }[]} */
  newer = [];
  /** @type {Map<string, ReturnType<typeof makeField>>} */
  fields = new Map();
  #showVariants = () => {};
  root = make("div", "rg-settings");
  #props;
  #trigger;

  /**
   * @param {{ value: SettingsView }} props
   * @param {import("./types").Trigger<"settings">} trigger
   */
  constructor(props, trigger) {
    this.#props = props;
    this.#trigger = trigger;
    this.view = props.value;
  }

  /** @param {string} name @returns {Value} */
  value = (name) => this.view.given[this.view.method]?.[name] ?? this.view.usual[name];

  /** Say by the value what the fields say now: every event of the page carries it. */
  say() {
    const { method, given, seed, prediction, variants } = this.view;
    /** @type {unknown} */
    const said = { method, given, seed, prediction, variants, turn: this.turn };
    this.taken = JSON.stringify(said);
    this.#props.value = /** @type {SettingsView} */ (JSON.parse(this.taken));
  }

  /** Take what was chosen or typed. @param {Put} put */
  change(put) {
    put(this.view);
    this.turn += 1;
    this.newer.push({ turn: this.turn, put });
    this.say();
    if (hub.restored) hub.tell("look");
  }

  /** @param {string} name @param {Value} value */
  take(name, value) {
    const { method } = this.view;
    this.change((now) => {
      const own = (now.given[method] ??= {});
      if (now.method === method && value === now.usual[name]) delete own[name];
      else own[name] = value;
    });
    this.#showVariants();
    if (name === "preset") this.#trigger("preset", { preset: String(value) });
    else if ("tune_steps" in this.view.parameters) this.#trigger("tuned", {});
    this.tellMarks();
  }

  tellMarks() {
    const shown = MARKED.map((name) => [name, String(this.value(name))]);
    hub.tell("written", Object.fromEntries(shown));
  }

  /** Take what marks below the film strip have written. */
  takeMarks() {
    for (const name of MARKED) {
      const text = hub.written[name];
      if (text === this.value(name)) continue;
      this.fields.get(name)?.show(text);
      this.take(name, text);
    }
  }

  /** Take what the server says. @param {SettingsView} value */
  receive(value) {
    if (!value || JSON.stringify(value) === this.taken) return;
    const { turn } = value; // null: it takes the place of all that was typed, as another clip does
    this.newer = this.newer.filter((one) => turn !== null && one.turn > turn);
    this.turn = Math.max(this.turn, turn ?? 0);
    this.view = structuredClone(value);
    for (const { put } of this.newer) put(this.view);
    this.say();
    this.draw();
    this.tellMarks();
  }

  draw() {
    const { view } = this;
    const folds = [...this.root.querySelectorAll("details")];
    const open = folds.filter((fold) => fold.open).map(({ id }) => id);
    const focused = document.activeElement?.id;
    this.fields.clear();
    /** @type {Map<string, HTMLElement[]>} */
    const groups = new Map();
    for (const [name, parameter] of Object.entries(view.parameters)) {
      const field = makeField(name, parameter, view.usual[name], (value) => this.take(name, value));
      field.show(this.value(name));
      this.fields.set(name, field);
      groups.set(parameter.group, [...(groups.get(parameter.group) ?? []), field.node]);
    }
    /** @param {string} title */
    const foldOf = (title) => makeFold(title, ...(groups.get(title) ?? []));
    const experiments = [...groups.keys()].filter((title) => ![...OUTSIDE, ...APART, LAST].includes(title));
    if (groups.has(LAST)) experiments.push(LAST);
    const control = document.getElementById("control-networks");
    this.root.replaceChildren(
      ...OUTSIDE.flatMap((title) => groups.get(title) ?? []),
      this.#makeSeed(),
      ...APART.filter((title) => groups.has(title)).map(foldOf),
      makeFold("For experiments", ...experiments.map(foldOf)),
    );
    // What helps to write them stands beside their field.
    if (control) (this.fields.get("control")?.node ?? this.root).append(control);
    control?.toggleAttribute("hidden", !this.fields.has("control"));
    for (const fold of this.root.querySelectorAll("details")) fold.open = open.includes(fold.id);
    if (focused?.startsWith("rg-set-")) document.getElementById(focused)?.focus();
  }

  #makeSeed() {
    const { view } = this;
    const seed = makeNumber((value) => {
      // what is no number is refused, not 0
      this.change((now) => (now.seed = /** @type {number | string} */ (value)));
    });
    seed.show(view.seed);
    seed.nodes[0].toggleAttribute("disabled", !view.seeded);
    const predicted = makeChoice(PREDICTED, (value) => {
      this.change((now) => (now.prediction = String(value)));
    });
    predicted.show(view.prediction);
    const prediction = frame("prediction", "What the model predicts", PREDICTION, predicted);
    prediction.hidden = !view.silent;
    const parts = [frame("seed", "Seed", view.seed_words, seed), this.#makeVariants(), prediction];
    return make("div", "rg-set-group", ...parts);
  }

  #makeVariants() {
    const { view } = this;
    const said = make("p", "rg-caption", SEEDS);
    /** @param {number} count */
    const choose = (count) => {
      pressOnly(counts, count);
      said.hidden = count === 1;
    };
    const counts = chooser("Variants", COUNTS, (count) => {
      choose(count);
      this.change((now) => (now.variants = count));
    });
    const node = make("div", "rg-variants", make("span", "rg-caption", "Variants"), counts, said);
    const acts = () => !("variation" in view.usual) || SEEDED.some((name) => Number(this.value(name)) > 0);
    this.#showVariants = () => {
      node.hidden = !view.seeded || (view.variants === 1 && !acts());
    };
    this.#showVariants();
    choose(view.variants);
    return node;
  }
}

/** @type {import("./types").Mount<"settings">} */
export function mount(element, props, trigger, watch) {
  const settings = new Settings(props, trigger);
  element.replaceChildren(settings.root);
  settings.receive(props.value);
  watch("value", () => settings.receive(props.value));
  hub.on("wrote", () => settings.takeMarks());
}
