// @ts-check
import { fillWith, inOrder, make } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { clearWrong, markWrong } from "./shared/wrong.js";

const bar = () => make("div", "rg-step", make("i"), make("span"));

const drawStages = (bars, stages) => {
  bars.hidden = !stages.length;
  fillWith(bars, stages, bar, (box, stage) => {
    box.classList.toggle("rg-now", stage.now);
    box.classList.toggle("rg-long", stage.long);
    box.firstChild.style.setProperty("--share", stage.share);
    box.lastChild.textContent = stage.name;
  });
};

// The windows of a long clip, if it has several.
const drawWindows = (node, windows) => {
  node.hidden = !windows;
  if (!windows) return;
  node.firstChild.style.setProperty("--share", windows.share);
  node.lastChild.textContent = windows.text;
};

const drawLine = (line, value) => {
  const failed = value.state === "error";
  line.role = failed ? "alert" : "status";
  const text = make("strong", { dir: "auto" }, inOrder(value.text)),
    detail = make("span", "rg-detail", value.detail);
  line.replaceChildren(...(failed ? [detail, text] : [text, detail]));
};

// A new run begins without marks; an error marks its field, and goes away with what is written there.
const markFields = async (root, { asked, state, field, text }) => {
  if (asked) clearWrong();
  delete root.dataset.marked;
  const node = state === "error" && field && (await markWrong(field, text));
  if (!node) return;
  root.dataset.marked = "true"; // on a small screen it is said there alone
  node.addEventListener("input", () => (root.hidden = true), { once: true });
};

// How far the run is, and what went wrong.
/** @type {import("./types").Mount<"progress">} */
export function mount(element, props, trigger, watch) {
  const bars = make("div", { className: "rg-stages", ariaHidden: true }),
    windows = bar(),
    line = make("div", "rg-line"),
    root = make("div", "rg-progress", windows, bars, line);
  windows.classList.add("rg-windows");
  windows.ariaHidden = true;
  element.replaceChildren(root);
  hub.on("wrong", ({ field, note }) => markWrong(field, note)); // said elsewhere
  let begun = false,
    stopped = false;
  follow(props, watch, (value) => {
    document.querySelector("#run")?.classList.remove("rg-asked");
    // What a stopped run still had to say can arrive after the notice that it was stopped.
    if (stopped && value && value.state === "running" && !value.asked) return;
    stopped = value?.state === "stopped";
    root.hidden = !value;
    root.dataset.state = value ? value.state : "";
    if (!value) return line.replaceChildren();
    const now = value.state === "running" && !value.asked && value.stages.length > 0;
    if (now && !begun) showStage("edit");
    begun = now;
    markFields(root, value);
    drawStages(bars, value.stages);
    drawWindows(windows, value.windows);
    drawLine(line, value);
  });
}
