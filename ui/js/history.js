// @ts-check
// The results of this page, the newest first; the one that is shown can be compared with another.
import { button, iconButton, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { makeMenu } from "./shared/menu.js";

/** @typedef {import("./types").PastRunView} PastRun */
/** @typedef {import("./types").HistoryView} HistoryView */

/** @param {PastRun} run @param {boolean} ariaPressed @param {() => void} onclick */
const makePicture = (run, ariaPressed, onclick) => {
  const { title, text, facts, clip } = run;
  const ariaLabel = `Show ${title}: ${text} ${clip || facts}`; // with all that is written on it
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

/** Make the menu of what can be done with the result that is shown. */
const makeMore = () => {
  const opener = iconButton("rg-tool", "more", "Use its settings, remove it");
  const panel = make("div");
  const menu = makeMenu(opener, panel);
  panel.addEventListener("click", () => menu.open(false));
  return { node: menu.node, panel };
};

/** @type {import("./types").Mount<"history">} */
export function mount(element, props, trigger, watch) {
  let unfolded = false; // results of other clips
  const more = makeMore();
  /** @param {string} key */
  const show = (key) => {
    trigger("show", { key });
    const { runs } = props.value ?? { runs: [] };
    const isTry = runs.some((run) => run.key === key && run.still);
    if (isTry) hub.tell("again");
    else showStage("edit");
  };
  /** @param {string} a @param {string} b */
  const compare = (a, b) => {
    trigger("compare", { a, b });
    showStage("edit");
  };
  /** @param {PastRun} run @param {string[]} shown keys */
  const makeItem = (run, [first, second]) => {
    const { key, title } = run;
    const picture = makePicture(run, [first, second].includes(key), () => show(key));
    const hint = `Compare what is shown with ${title}`;
    const isOther = first && key !== first;
    const about = { ariaLabel: `Compare: ${title}`, ariaPressed: String(key === second) };
    return make(
      "li",
      {},
      picture,
      isOther &&
        button("rg-tool", "Compare", () => (key === second ? show(first) : compare(first, key)), hint, about),
    );
  };
  // What has the focus is made anew, and is known again by its name.
  const focusedName = () => {
    const active = document.activeElement;
    return active?.closest(".rg-runs") ? active.ariaLabel : null;
  };
  /** @param {string} name */
  const focus = (name) => {
    /** @type {HTMLElement | null} */
    const node = element.querySelector(`[aria-label="${CSS.escape(name)}"]`);
    node?.focus();
  };
  /** @param {string} key @param {boolean} isOnly whose settings are in the form */
  const fillMore = (key, isOnly) => {
    const use = () => trigger("use", { key });
    const remove = () => trigger("remove", { key });
    const hint = "Put its words and settings into the form";
    more.panel.replaceChildren(
      isOnly ? "" : iconButton("rg-item", "back", hint, use, "Use these settings"),
      iconButton("rg-item", "bin", "Remove this result and its files", remove, "Remove"),
    );
  };
  const draw = () => {
    const { value } = props;
    if (!value || !value.runs.length) {
      element.replaceChildren();
      return;
    }
    const { runs, shown } = value;
    const focused = focusedName();
    /** @param {PastRun[]} some @param {string} ariaLabel */
    const makeRuns = (some, ariaLabel) =>
      make("ul", { className: "rg-runs", ariaLabel }, ...some.map((run) => makeItem(run, shown)));
    const own = runs.filter(({ clip }) => !clip);
    const others = runs.filter(({ clip }) => clip);
    const list = makeRuns(own, "Results of this clip, the newest first");
    const title = make("summary", {}, `Of other clips (${others.length})`);
    const open = unfolded || others.some(({ key }) => shown.includes(key));
    const rest = makeRuns(others, "Results of other clips");
    const fold = others.length > 0 && make("details", { className: "rg-details", open }, title, rest);
    if (fold) fold.addEventListener("toggle", () => (unfolded = fold.open));
    more.node.hidden = shown.length !== 1;
    if (shown.length === 1) fillMore(shown[0], runs.length === 1);
    const bar = make("div", "rg-history-bar", list, more.node);
    const note = make("p", { className: "rg-note", role: "status" }, value.note);
    element.replaceChildren(make("div", "rg-history", bar, fold, note));
    if (focused) focus(focused);
  };
  follow(props, watch, draw);
}
