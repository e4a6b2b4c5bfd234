// @ts-check
// How far the run is, and what went wrong.
import { childrenOf, fillWith, inOrder, isStacked, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { notify, TITLE } from "./shared/notify.js";
import { clearWrong, markWrong, whenChanged } from "./shared/wrong.js";

/** @typedef {import("./types").ProgressView} ProgressView */

const makeBar = () => make("div", "rg-step", make("i"), make("span"));

/** @param {HTMLElement} bar @param {number} share @param {string} text */
const fillBar = (bar, share, text) => {
  const [strip, words] = childrenOf(bar);
  strip.style.setProperty("--share", String(share));
  words.textContent = text;
};

/** @param {HTMLElement} bars @param {ProgressView["stages"]} stages */
const drawStages = (bars, stages) => {
  bars.hidden = !stages.length;
  fillWith(bars, stages, makeBar, (bar, stage) => {
    bar.classList.toggle("rg-now", stage.now);
    bar.classList.toggle("rg-long", stage.long);
    fillBar(bar, stage.share, stage.name);
  });
};

/**
 * Show the windows of a long clip, if it has several.
 * @param {HTMLElement} bar
 * @param {ProgressView["windows"]} windows
 */
const drawWindows = (bar, windows) => {
  bar.hidden = !windows;
  if (windows) fillBar(bar, windows.share, windows.text);
};

/** @param {HTMLElement} line @param {ProgressView} value */
const drawLine = (line, value) => {
  const failed = value.state === "error";
  line.role = failed ? "alert" : "status";
  const text = make("strong", { dir: "auto" }, inOrder(value.text));
  const detail = make("span", "rg-detail", value.detail);
  line.replaceChildren(...(failed ? [detail, text] : [text, detail]));
};

/**
 * Begin a new run without marks, and mark the field of an error, which goes away with what is written there.
 * @param {HTMLElement} root
 * @param {ProgressView} value
 */
const markFields = async (root, { asked, state, field, text }) => {
  if (asked) clearWrong();
  delete root.dataset.marked;
  if (state !== "error" || !field) return;
  const node = await markWrong(field, text);
  if (!node) return;
  const hide = () => {
    root.hidden = true;
  };
  root.dataset.marked = "true"; // on a small screen it is said there alone
  whenChanged(node, hide);
};

/**
 * Show the edit once a run of the whole clip has begun.
 * @param {boolean} now
 * @param {boolean} before
 */
const turnOnBegin = (now, before) => {
  if (now && !before && !hub.attempt) showStage("edit");
  return now;
};

/** @param {boolean} on */
const noteRunning = (on) => {
  if (on === hub.running) return;
  hub.running = on;
  if (on && isStacked()) document.querySelector(".rg-top")?.scrollIntoView({ block: "start" });
  document.body.classList.toggle("rg-running", on);
  hub.tell("running", on);
};

const INTERRUPTED = "The run was interrupted: the server has begun anew. Press Run again.";

/** @param {ProgressView} value */
const titleOf = ({ state, text, detail }) => {
  const [, step] = /step (\d+ of \d+)/.exec(detail) ?? [];
  if (state === "running") return `${step ?? "…"} · ${TITLE}`;
  return document.hidden ? `${state === "done" ? "✓" : "!"} ${text} · ${TITLE}` : TITLE;
};

/**
 * Say in the browser's tab how far the run is and, to whoever is elsewhere, that it is over.
 * @param {ProgressView | null} value
 * @param {boolean} ran until now
 */
const tellElsewhere = (value, ran) => {
  if (!value) return;
  document.title = titleOf(value);
  if (ran && value.state !== "running") notify(TITLE, value.text);
};
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !hub.running) document.title = TITLE;
});

/** @type {import("./types").Mount<"progress">} */
export function mount(element, props, trigger, watch) {
  const bars = make("div", { className: "rg-stages", ariaHidden: true });
  const windows = makeBar();
  const line = make("div", "rg-line");
  const root = make("div", "rg-progress", windows, bars, line);
  windows.classList.add("rg-windows");
  windows.ariaHidden = "true";
  element.replaceChildren(root);
  const sayInterrupted = () => {
    root.hidden = false;
    root.dataset.state = "error";
    bars.hidden = true;
    windows.hidden = true;
    line.role = "alert";
    line.replaceChildren(make("strong", {}, INTERRUPTED));
  };
  hub.on("interrupted", sayInterrupted);
  let begun = false;
  let stopped = false;
  follow(props, watch, (value) => {
    document.querySelector("#run")?.classList.remove("rg-asked");
    // What a stopped run still had to say can arrive after the notice that it was stopped.
    const { state } = value ?? { state: "" };
    const runs = state === "running" && !value?.asked;
    if (stopped && runs) return;
    stopped = state === "stopped";
    const ran = hub.running;
    noteRunning(state === "running");
    tellElsewhere(value, ran);
    // Of several variants the best is told, but not again if it is the one that was told last.
    if (ran && state === "done" && hub.attempt) hub.tell("again");
    root.hidden = !value;
    root.dataset.state = state;
    line.replaceChildren();
    if (!value) return;
    begun = turnOnBegin(Boolean(runs && value.stages.length), begun);
    markFields(root, value);
    drawStages(bars, value.stages);
    drawWindows(windows, value.windows);
    drawLine(line, value);
  });
  if (hub.interrupted) sayInterrupted();
}
