// @ts-check
// Control networks as rows of kind, model and weight; the field above takes them as text, KIND=MODEL@WEIGHT separated
// by commas.
import { button, iconButton, make, weightSlider, writeInto } from "./shared/dom.js";
import { fieldBeside, follow, hub } from "./shared/hub.js";

/** @typedef {{ kind: string, model: string, weight: number }} Network */

// The weight follows the last @; paths may have an @, too.
const NETWORK = /^(\w+)\s*=\s*(.+?)\s*(?:@\s*(\d*\.?\d+)\s*)?$/;
const LOOK_AT_FIELD = 500; // milliseconds between looks

/**
 * Read networks from the text of the field; what is not written like one is left out.
 * @param {string} text
 * @returns {Network[]}
 */
export const readRows = (text) =>
  text.split(",").flatMap((part) => {
    const found = NETWORK.exec(part.trim());
    if (!found) return [];
    const [, kind, model, weight] = found;
    return [{ kind, model, weight: Number(weight ?? 1) }];
  });

/** @param {Network} network */
const writeRow = ({ kind, model, weight }) => {
  const plain = `${kind}=${model}`;
  const scale = weight === 1 && !NETWORK.exec(plain)?.[3] ? "" : `@${weight}`;
  return `${plain}${scale}`;
};

/** @param {Network[]} rows */
export const writeRows = (rows) => rows.map(writeRow).join(", ");

/**
 * @param {string[]} names
 * @param {string} chosen
 * @param {string} ariaLabel
 * @param {(name: string) => void} changed
 */
const makeSelect = (names, chosen, ariaLabel, changed) => {
  const all = names.includes(chosen) ? names : [...names, chosen];
  const options = all.map((name) => new Option(name, name));
  const select = make(
    "select",
    { value: chosen, ariaLabel, onchange: () => changed(select.value) },
    ...options,
  );
  return select;
};

const makePreview = () => {
  const picture = make("img");
  const caption = make("figcaption", "rg-note");
  const node = make("figure", { className: "rg-control-map", role: "status" }, picture, caption);
  /** @param {import("./types").ControlView | null} value */
  const show = (value) => {
    node.hidden = !value?.text;
    picture.hidden = !value?.picture;
    if (value?.picture) picture.src = value.picture;
    picture.alt = value?.picture ? value.text : "";
    caption.textContent = value?.text ?? "";
  };
  return { node, show };
};

/** @type {import("./types").Mount<"control">} */
export function mount(element, props, trigger, watch) {
  const list = make("div", "rg-addons");
  const preview = makePreview();
  const field = () => fieldBeside(element, "control");
  /** @type {Network[]} */
  let rows = [];
  let text = "";
  const write = () => {
    text = writeRows(rows);
    writeInto(field(), text);
  };
  const change = () => {
    write();
    draw();
  };
  /** @param {string} kind */
  const look = (kind) => trigger("look", { kind, id: hub.editor?.id, frame: hub.editor?.frame ?? 0 });
  /** @param {Network} row */
  const makeRow = (row) => {
    /** @param {keyof Network} key @returns {(value: string | number) => void} */
    const set = (key) => (value) => {
      Object.assign(row, { [key]: value });
      write();
    };
    const remove = () => {
      rows = rows.filter((one) => one !== row);
      change();
    };
    return make(
      "div",
      "rg-addon",
      makeSelect(props.value?.kinds ?? [], row.kind, "Kind of control network", set("kind")),
      makeSelect(props.value?.models ?? [], row.model, "Control network", set("model")),
      ...weightSlider("Weight of the control network", row.weight, set("weight")),
      iconButton("rg-mini", "eye", "Show what it sees of this frame", () => look(row.kind)),
      iconButton("rg-mini", "bin", "Remove this control network", remove),
    );
  };
  const draw = () => list.replaceChildren(...rows.map(makeRow));
  const add = button("rg-tool", "Add control network", () => {
    const { kinds = [], models = [] } = props.value ?? {};
    rows = [...rows, { kind: kinds[0], model: models[0], weight: 0.7 }];
    change();
  });
  element.replaceChildren(list, add, preview.node);
  follow(props, watch, (value) => {
    preview.show(value);
    draw();
  });
  // What was typed into the field, or came with a project, is shown in rows.
  const read = () => {
    const typed = field()?.value;
    if (typed === undefined || typed === text) return;
    text = typed;
    rows = readRows(typed);
    draw();
  };
  const timer = setInterval(() => (list.isConnected ? read() : clearInterval(timer)), LOOK_AT_FIELD);
  read();
}
