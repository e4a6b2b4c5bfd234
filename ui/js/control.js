// Control networks as rows of kind, model and weight; the field above takes them as KIND=MODEL@WEIGHT.
import { button, iconButton, make } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { follow } from "./shared/server.js";
import { fieldBeside, writeInto } from "./shared/writing.js";
import { readRows, writeRows } from "./control/rows.js";

const select = (names, chosen, title, changed) => {
  const node = make("select");
  const all = names.includes(chosen) ? names : [...names, chosen];
  node.append(...all.map((name) => new Option(name, name, false, name === chosen)));
  node.setAttribute("aria-label", title);
  node.addEventListener("change", () => changed(node.value));
  return node;
};

const makeWeight = (row, changed) => {
  const slider = make("input"),
    said = make("span", "rg-weight", String(row.weight));
  Object.assign(slider, { type: "range", min: 0, max: 2, step: 0.05, value: row.weight });
  slider.setAttribute("aria-label", "Weight of the control network");
  slider.addEventListener("input", () => {
    row.weight = Number(slider.value);
    said.textContent = String(row.weight);
    changed();
  });
  return [slider, said];
};

const makeRow = (row, deck) => {
  const node = make("div", "rg-addon");
  const set = (key) => (text) => {
    row[key] = text;
    deck.write();
  };
  node.append(
    select(deck.kinds, row.kind, "Kind of control network", set("kind")),
    select(deck.models, row.model, "Control network", set("model")),
    ...makeWeight(row, deck.write),
    iconButton("rg-mini", "eye", "Show what it sees of this frame", () => deck.look(row.kind)),
    iconButton("rg-mini", "bin", "Remove this control network", () => {
      deck.rows.splice(deck.rows.indexOf(row), 1);
      deck.write();
      deck.draw();
    }),
  );
  return node;
};

const makePreview = () => {
  const figure = make("figure", "rg-control-map"),
    picture = make("img"),
    caption = make("figcaption", "rg-note");
  figure.append(picture, caption);
  figure.setAttribute("role", "status");
  const show = (value) => {
    figure.hidden = !value?.text;
    picture.hidden = !value?.picture;
    if (value?.picture) picture.src = value.picture;
    picture.alt = value?.picture ? value.text : "";
    caption.textContent = value?.text ?? "";
  };
  return { figure, show };
};

// What was typed into the field, or came with a project, is shown in rows.
const watchField = (deck, list) => {
  const read = () => {
    const field = deck.field();
    if (!field || field.value === deck.text) return;
    deck.text = field.value;
    deck.rows = readRows(field.value);
    deck.draw();
  };
  const timer = setInterval(() => (list.isConnected ? read() : clearInterval(timer)), 500);
  read();
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
  watchField(deck, list);
}
