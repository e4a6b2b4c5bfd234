// @ts-check
// The results of this page, the newest first; two of them can be compared.
import { button, iconButton, make } from "./shared/dom.js";
import { follow, showStage } from "./shared/hub.js";

const PICK = "Press A on one result and B on another to compare them.";
/** @typedef {import("./types").PastRunView} PastRun */
/** @typedef {import("./types").HistoryView} HistoryView */
/** @typedef {import("./types").Trigger<"history">} Trigger */
/** @typedef {import("./types").Pair} Pair */

/** @param {"a" | "b"} letter */
const other = (letter) => (letter === "a" ? "b" : "a");

/**
 * Keep which two are compared; the second choice of a letter moves it, pressing it again takes it back.
 * @param {Trigger} trigger
 * @param {() => void} changed
 */
const makePairing = (trigger, changed) => {
  /** @type {Pair} */
  const pair = { a: null, b: null };
  /** @param {"a" | "b"} letter @param {string} key */
  const pick = (letter, key) => {
    pair[letter] = pair[letter] === key ? null : key;
    if (pair[other(letter)] === key) pair[other(letter)] = null;
    changed();
    if (pair.a && pair.b) trigger("compare", { ...pair });
  };
  return { pair, pick };
};

/** @param {PastRun} run @param {boolean} ariaPressed @param {() => void} onclick */
const makePicture = (run, ariaPressed, onclick) => {
  const { title, text, facts, clip } = run;
  const ariaLabel = `Show ${title}: ${text}`;
  const about = { className: "rg-run-picture", type: "button", title: text, ariaLabel, ariaPressed, onclick };
  /** @param {string} part @param {string} words */
  const makeLine = (part, words) => make("span", { className: "rg-run-" + part, dir: "auto" }, words);
  return make(
    "button",
    about,
    make("img", { src: run.picture, alt: "" }),
    makeLine("text", text),
    makeLine("facts", clip || facts),
  );
};

/** @param {PastRun} run @param {ReturnType<typeof makePairing>} pairing */
const makeLetters = (run, { pair, pick }) => {
  /** @param {"a" | "b"} letter */
  const makeLetter = (letter) => {
    const name = letter.toUpperCase();
    const ariaLabel = `Compare as ${name}: ${run.title}`;
    const about = { ariaLabel, ariaPressed: pair[letter] === run.key };
    return button("rg-tool", name, () => pick(letter, run.key), ariaLabel, about);
  };
  return make("div", "rg-letters", makeLetter("a"), makeLetter("b"));
};

/** @param {PastRun} run @param {boolean} isOnly whose settings are in the form @param {Trigger} trigger */
const makeBar = ({ key }, isOnly, trigger) => {
  const hint = "Put its words and settings into the form";
  const use = button("rg-tool", "Use these settings", () => trigger("use", { key }), hint);
  const removeRun = () => trigger("remove", { key });
  const remove = iconButton("rg-tool", "bin", "Remove this result and its files", removeRun, "Remove");
  return make("div", "rg-history-bar", !isOnly && use, remove);
};

/** @param {HistoryView} value @param {Pair} pair */
const noteOf = (value, { a, b }) => {
  if (a && b) return "A and B play above. Choose a picture to see one result with its figures.";
  if (a || b) return `Now press ${a ? "B" : "A"} on another result.`;
  return value.note || (value.runs.length > 1 ? PICK : "");
};

/** @type {import("./types").Mount<"history">} */
export function mount(element, props, trigger, watch) {
  const pairing = makePairing(trigger, () => draw());
  let unfolded = false; // results of other clips
  /** @param {string} key */
  const show = (key) => {
    Object.assign(pairing.pair, { a: null, b: null });
    trigger("show", { key });
    showStage("edit");
  };
  /** @param {import("./types").PastRunView} run @param {HistoryView} all */
  const makeItem = (run, { runs, shown }) => {
    const picture = makePicture(run, shown.includes(run.key), () => show(run.key));
    return make("li", {}, picture, runs.length > 1 && makeLetters(run, pairing));
  };
  // What has the focus is made anew, and is known again by its name.
  const focusedName = () => {
    const active = document.activeElement;
    return active?.closest("#history") ? active.ariaLabel : null;
  };
  /** @param {string} name */
  const focus = (name) => {
    /** @type {HTMLElement | null} */
    const node = element.querySelector(`[aria-label="${CSS.escape(name)}"]`);
    node?.focus();
  };
  const draw = () => {
    const { value } = props;
    if (!value || !value.runs.length) {
      element.replaceChildren();
      return;
    }
    const { runs, shown } = value;
    const { pair } = pairing;
    /** @param {string | null} wanted */
    const isThere = (wanted) => runs.some(({ key }) => key === wanted);
    if (!isThere(pair.a)) pair.a = null;
    if (!isThere(pair.b)) pair.b = null;
    const focused = focusedName();
    /** @param {PastRun[]} some @param {string} ariaLabel */
    const makeRuns = (some, ariaLabel) =>
      make("ul", { className: "rg-runs", ariaLabel }, ...some.map((run) => makeItem(run, value)));
    const own = runs.filter(({ clip }) => !clip);
    const others = runs.filter(({ clip }) => clip);
    const list = makeRuns(own, "Results of this clip, the newest first");
    const title = make("summary", {}, `Of other clips (${others.length})`);
    const open = unfolded || others.some(({ key }) => shown.includes(key));
    const rest = makeRuns(others, "Results of other clips");
    const fold = others.length > 0 && make("details", { className: "rg-details", open }, title, rest);
    if (fold) fold.addEventListener("toggle", () => (unfolded = fold.open));
    const alone = shown.length === 1 && runs.find(({ key }) => key === shown[0]);
    const bar = alone && makeBar(alone, runs.length === 1, trigger);
    const note = make("p", { className: "rg-note", role: "status" }, noteOf(value, pair));
    element.replaceChildren(make("div", "rg-history", list, fold, bar, note));
    if (focused) focus(focused);
  };
  follow(props, watch, (value) => {
    if (value && value.shown.length === 1) Object.assign(pairing.pair, { a: null, b: null });
    draw();
  });
}
