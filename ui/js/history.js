import { button, iconButton, make } from "./shared/dom.js";
import { follow, showStage } from "./shared/hub.js";

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

const makePicture = (run, ariaPressed, onclick) => {
  const about = { className: "rg-run-picture", type: "button", title: run.text, ariaPressed, onclick },
    picture = make("img", { src: run.picture, alt: "" });
  about.ariaLabel = `Show ${run.title}: ${run.text}`;
  const lines = ["title", "text", "facts"].map((part) =>
    make("span", { className: "rg-run-" + part, dir: "auto" }, run[part]),
  );
  return make("button", about, picture, ...lines);
};

const makeLetters = (run, { pair, pick }) => {
  const letters = ["a", "b"].map((letter) => {
    const name = letter.toUpperCase(),
      ariaLabel = `Compare as ${name}: ${run.title}`;
    const about = { ariaLabel, ariaPressed: pair[letter] === run.key };
    return button("rg-tool", name, () => pick(letter, run.key), ariaLabel, about);
  });
  return make("div", "rg-letters", ...letters);
};

// What can be done with the run that is shown.
const makeBar = ({ key }, trigger) => {
  const use = () => trigger("use", { key }),
    remove = () => trigger("remove", { key });
  return make(
    "div",
    "rg-history-bar",
    button("rg-tool", "Use these settings", use, "Put its words and settings into the form"),
    iconButton("rg-tool", "bin", "Remove this result and its files", remove, "Remove"),
  );
};

const noteOf = (value, { a, b }) => {
  if (a && b) return "A and B play above. Choose a picture to see one result with its figures.";
  if (a || b) return `Now press ${a ? "B" : "A"} on another result.`;
  return value.note || (value.runs.length > 1 ? PICK : "");
};

// The results of this page, the newest first.
export function mount(element, props, trigger, watch) {
  const pairing = makePairing(trigger, () => draw());
  const show = (key) => {
    Object.assign(pairing.pair, { a: null, b: null });
    trigger("show", { key });
    showStage("edit");
  };
  const makeItem = (run, { runs, shown }) => {
    const picture = makePicture(run, shown.includes(run.key), () => show(run.key));
    return make("li", {}, picture, runs.length > 1 && makeLetters(run, pairing));
  };
  const draw = () => {
    const value = props.value;
    if (!value || !value.runs.length) {
      element.replaceChildren();
      return;
    }
    const { pair } = pairing,
      focused = document.activeElement?.closest?.("#history") && document.activeElement.ariaLabel;
    for (const letter of ["a", "b"])
      if (!value.runs.some(({ key }) => key === pair[letter])) pair[letter] = null;
    const about = { className: "rg-runs", ariaLabel: "Results of this page, the newest first" };
    const alone = value.shown.length === 1 && value.runs.find(({ key }) => key === value.shown[0]);
    const root = make(
      "div",
      "rg-history",
      make("ul", about, ...value.runs.map((run) => makeItem(run, value))),
      alone && makeBar(alone, trigger),
      make("p", { className: "rg-note", role: "status" }, noteOf(value, pair)),
    );
    element.replaceChildren(root);
    if (focused) element.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  };
  follow(props, watch, (value) => {
    if (value && value.shown.length === 1) Object.assign(pairing.pair, { a: null, b: null });
    draw();
  });
}
