// @ts-check
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
  const ariaLabel = `Show ${run.title}: ${run.text}`,
    about = { className: "rg-run-picture", type: "button", title: run.text, ariaLabel, ariaPressed, onclick },
    line = (part) => make("span", { className: "rg-run-" + part, dir: "auto" }, run[part]),
    picture = make("img", { src: run.picture, alt: "" });
  return make("button", about, picture, ...["title", "text", "facts"].map(line));
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

const makeBar = ({ key }, trigger) => {
  const send = (act) => () => trigger(act, { key }),
    hint = "Put its words and settings into the form",
    use = button("rg-tool", "Use these settings", send("use"), hint),
    remove = iconButton("rg-tool", "bin", "Remove this result and its files", send("remove"), "Remove");
  return make("div", "rg-history-bar", use, remove);
};

const noteOf = (value, { a, b }) => {
  if (a && b) return "A and B play above. Choose a picture to see one result with its figures.";
  if (a || b) return `Now press ${a ? "B" : "A"} on another result.`;
  return value.note || (value.runs.length > 1 ? PICK : "");
};

// The results of this page, the newest first.
/** @type {import("./types").Mount<"history">} */
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
    if (!value || !value.runs.length) return element.replaceChildren();
    const { pair } = pairing,
      focused = document.activeElement?.closest?.("#history") && document.activeElement.ariaLabel;
    for (const letter of ["a", "b"])
      if (!value.runs.some(({ key }) => key === pair[letter])) pair[letter] = null;
    const about = { className: "rg-runs", ariaLabel: "Results of this page, the newest first" };
    const alone = value.shown.length === 1 && value.runs.find(({ key }) => key === value.shown[0]);
    const list = make("ul", about, ...value.runs.map((run) => makeItem(run, value))),
      note = make("p", { className: "rg-note", role: "status" }, noteOf(value, pair));
    element.replaceChildren(make("div", "rg-history", list, alone && makeBar(alone, trigger), note));
    if (focused) element.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  };
  follow(props, watch, (value) => {
    if (value && value.shown.length === 1) Object.assign(pairing.pair, { a: null, b: null });
    draw();
  });
}
