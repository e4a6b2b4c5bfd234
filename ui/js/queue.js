// @ts-check
import { iconButton, make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

const makeJob = ({ key, title, text }, at, { length }, trigger) => {
  const tool = (picture, hint, by, disabled = false) => {
    const more = { ariaLabel: `${hint}: ${text}`, disabled, data: { job: key + by } };
    return iconButton("rg-mini", picture, hint, () => trigger("arrange", { key, by }), "", more);
  };
  const words = [make("strong", { dir: "auto" }, text), make("span", {}, title)];
  const moves = [tool("up", "Move up", -1, at === 0), tool("down", "Move down", 1, at === length - 1)];
  return make(
    "li",
    {},
    make("span", { className: "rg-job", title: text }, ...words),
    ...(length > 1 ? moves : []),
    tool("bin", "Remove from the queue", 0),
  );
};

// Runs of this page that wait for the one before, the next first.
/** @type {import("./types").Mount<"queue">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    document.querySelector("#run")?.classList.remove("rg-asked");
    const { jobs = [], note = "" } = value ?? {},
      focused = element.contains(document.activeElement) && document.activeElement.dataset.job;
    const items = jobs.map((job, at) => makeJob(job, at, jobs, trigger)),
      list = make("ol", { ariaLabel: "Waiting runs" }, ...items);
    const said = make("p", { className: "rg-note", role: "status" }, note);
    element.replaceChildren(make("div", "rg-queue", jobs.length > 0 && list, said));
    if (!focused) return;
    const usable = [...element.querySelectorAll("button:not([disabled])")];
    (usable.find(({ dataset }) => dataset.job === focused) ?? usable[0])?.focus();
  });
}
