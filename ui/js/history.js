import { button, iconButton, make, press } from "./shared/dom.js";
import { showStage } from "./shared/hub.js";
import { follow } from "./shared/server.js";

const PICK = "Press A on one result and B on another to compare them.";
const other = (letter) => (letter === "a" ? "b" : "a");

// Which two are compared; the second choice of a letter moves it, pressing it again takes it back.
const makePairing = (trigger, changed) => {
  const pair = { a: null, b: null };
  const pick = (letter, key) => {
    pair[letter] = pair[letter] === key ? null : key;
    if (pair[other(letter)] === key) pair[other(letter)] = null;
    changed();
    if (pair.a && pair.b) trigger("compare", { ...pair });
  };
  return { pair, pick };
};

const makePicture = (run, shown, act) => {
  const one = button("rg-run-picture", "", act),
    picture = make("img"),
    title = make("span", "rg-run-title", run.title);
  picture.src = run.picture;
  picture.alt = "";
  one.title = run.text;
  one.setAttribute("aria-label", `Show ${run.title}: ${run.text}`);
  one.append(picture, title);
  press(one, shown);
  return one;
};

const makeLetters = (run, { pair, pick }) => {
  const row = make("div", "rg-letters");
  for (const letter of ["a", "b"]) {
    const name = letter.toUpperCase();
    const one = button("rg-tool", name, () => pick(letter, run.key), `Compare as ${name}: ${run.title}`);
    one.setAttribute("aria-label", one.title);
    press(one, pair[letter] === run.key);
    row.append(one);
  }
  return row;
};

// What can be done with the run that is shown.
const makeBar = (run, trigger) => {
  const bar = make("div", "rg-history-bar"),
    key = run.key;
  bar.append(
    button(
      "rg-tool",
      "Use these settings",
      () => trigger("use", { key }),
      "Put its words and settings into the form",
    ),
    iconButton(
      "rg-tool",
      "bin",
      "Remove this result and its files",
      () => trigger("remove", { key }),
      "Remove",
    ),
  );
  return bar;
};

const noteOf = (value, { a, b }) => {
  if (a && b) return "A and B play above. Choose a picture to see one result with its figures.";
  if (a || b) return `Now press ${a ? "B" : "A"} on another result.`;
  return value.runs.length > 1 ? PICK : "";
};

// The results of this page, the newest first.
export function mount(element, props, trigger, watch) {
  const pairing = makePairing(trigger, () => draw());
  const show = (key) => {
    Object.assign(pairing.pair, { a: null, b: null });
    trigger("show", { key });
    showStage("edit");
  };
  const makeItem = (run, value) => {
    const item = make("li");
    const shown = value.shown.includes(run.key);
    item.append(makePicture(run, shown, () => show(run.key)));
    if (value.runs.length > 1) item.append(makeLetters(run, pairing));
    return item;
  };
  const draw = () => {
    const value = props.value,
      root = make("div", "rg-history"),
      row = make("ul", "rg-runs");
    if (!value || !value.runs.length) {
      element.replaceChildren();
      return;
    }
    const at =
      document.activeElement?.closest?.("#history") && document.activeElement.getAttribute("aria-label");
    const { pair } = pairing;
    const keys = value.runs.map(({ key }) => key);
    for (const letter of ["a", "b"]) if (!keys.includes(pair[letter])) pair[letter] = null;
    row.setAttribute("aria-label", "Results of this page, the newest first");
    row.append(...value.runs.map((run) => makeItem(run, value)));
    const alone = value.shown.length === 1 && value.runs.find(({ key }) => key === value.shown[0]);
    const note = make("p", "rg-note", noteOf(value, pair));
    note.setAttribute("role", "status");
    root.append(row, ...(alone ? [makeBar(alone, trigger)] : []), note);
    element.replaceChildren(root);
    if (at) element.querySelector(`[aria-label="${CSS.escape(at)}"]`)?.focus();
  };
  follow(props, watch, (value) => {
    if (value && value.shown.length === 1) Object.assign(pairing.pair, { a: null, b: null });
    draw();
  });
}
