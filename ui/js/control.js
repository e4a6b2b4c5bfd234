// Control networks as rows of kind, model and weight; the field above takes them as text, KIND=MODEL@WEIGHT separated
// by commas.
import { button, iconButton, make, weightSlider, writeInto } from "./shared/dom.js";
import { fieldBeside, follow, hub } from "./shared/hub.js";

// What is not written like that is left out.
export const readRows = (text) =>
  text
    .split(",")
    .map((part) => part.trim().match(/^(\w+)\s*=\s*([^@]+?)\s*(?:@\s*(\d*\.?\d+))?$/))
    .filter(Boolean)
    .map(([, kind, model, weight]) => ({ kind, model, weight: Number(weight ?? 1) }));

export const writeRows = (rows) =>
  rows.map(({ kind, model, weight }) => `${kind}=${model}` + (weight === 1 ? "" : `@${weight}`)).join(", ");

const select = (names, chosen, ariaLabel, changed) => {
  const all = names.includes(chosen) ? names : [...names, chosen],
    onchange = ({ target }) => changed(target.value);
  return make("select", { value: chosen, ariaLabel, onchange }, ...all.map((name) => new Option(name, name)));
};

const makeRow = (row, deck) => {
  const set = (key) => (value) => {
    row[key] = value;
    deck.write();
  };
  return make(
    "div",
    "rg-addon",
    select(deck.kinds, row.kind, "Kind of control network", set("kind")),
    select(deck.models, row.model, "Control network", set("model")),
    ...weightSlider("Weight of the control network", row.weight, set("weight")),
    iconButton("rg-mini", "eye", "Show what it sees of this frame", () => deck.look(row.kind)),
    iconButton("rg-mini", "bin", "Remove this control network", () => {
      deck.rows.splice(deck.rows.indexOf(row), 1);
      deck.write();
      deck.draw();
    }),
  );
};

const makePreview = () => {
  const picture = make("img"),
    caption = make("figcaption", "rg-note"),
    figure = make("figure", { className: "rg-control-map", role: "status" }, picture, caption);
  const show = (value) => {
    figure.hidden = !value?.text;
    picture.hidden = !value?.picture;
    if (value?.picture) picture.src = value.picture;
    picture.alt = value?.picture ? value.text : "";
    caption.textContent = value?.text ?? "";
  };
  return { figure, show };
};

export function mount(element, props, trigger, watch) {
  const list = make("div", "rg-addons"),
    preview = makePreview(),
    deck = { rows: [], kinds: [], models: [], text: "" };
  deck.field = () => fieldBeside(element, "control");
  deck.look = (kind) => trigger("look", { kind, id: hub.editor?.id, frame: hub.editor?.frame ?? 0 });
  deck.draw = () => list.replaceChildren(...deck.rows.map((row) => makeRow(row, deck)));
  deck.write = () => {
    deck.text = writeRows(deck.rows);
    writeInto(deck.field(), deck.text);
  };
  const add = button("rg-tool", "Add control network", () => {
    deck.rows.push({ kind: deck.kinds[0], model: deck.models[0], weight: 0.7 });
    deck.write();
    deck.draw();
  });
  element.replaceChildren(list, add, preview.figure);
  follow(props, watch, (value) => {
    deck.kinds = value?.kinds ?? [];
    deck.models = value?.models ?? [];
    preview.show(value);
    deck.draw();
  });
  // What was typed into the field, or came with a project, is shown in rows.
  const read = () => {
    const field = deck.field();
    if (!field || field.value === deck.text) return;
    deck.text = field.value;
    deck.rows = readRows(field.value);
    deck.draw();
  };
  const timer = setInterval(() => (list.isConnected ? read() : clearInterval(timer)), 500);
  read();
}
