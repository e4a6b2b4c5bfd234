// @ts-check
// Runs of this page that wait for the one before, the next first.
import { iconButton, make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

/**
 * @param {import("./types").WaitingRun} job
 * @param {number} place
 * @param {number} count
 * @param {import("./types").Trigger<"queue">} trigger
 */
const makeJob = ({ key, title, text }, place, count, trigger) => {
  /** @param {Parameters<typeof iconButton>[1]} picture @param {string} hint @param {number} by */
  const tool = (picture, hint, by, disabled = false) => {
    const more = { ariaLabel: `${hint}: ${text}`, disabled, data: { job: key + by } };
    return iconButton("rg-mini", picture, hint, () => trigger("arrange", { key, by }), "", more);
  };
  const words = [make("strong", { dir: "auto" }, text), make("span", {}, title)];
  const row = make("li", {}, make("span", { className: "rg-job", title: text }, ...words));
  if (count > 1) {
    row.append(tool("up", "Move up", -1, place === 0));
    row.append(tool("down", "Move down", 1, place === count - 1));
  }
  row.append(tool("bin", "Remove from the queue", 0));
  return row;
};

/** @type {import("./types").Mount<"queue">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    document.querySelector("#run")?.classList.remove("rg-asked");
    const { jobs, note } = value ?? { jobs: [], note: "" };
    const buttons = () => [...element.getElementsByTagName("button")];
    const focused = buttons().find((button) => button === document.activeElement)?.dataset.job;
    const items = jobs.map((job, place) => makeJob(job, place, jobs.length, trigger));
    const list = make("ol", { ariaLabel: "Waiting runs" }, ...items);
    const said = make("p", { className: "rg-note", role: "status" }, note);
    element.replaceChildren(make("div", "rg-queue", jobs.length > 0 && list, said));
    if (!focused) return;
    const usable = buttons().filter(({ disabled }) => !disabled);
    const same = usable.find(({ dataset }) => dataset.job === focused) ?? usable[0];
    same?.focus();
  });
}
