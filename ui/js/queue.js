// @ts-check
// Runs of this page that wait for the one before, the next first.
import { iconButton, make } from "./shared/dom.js";
import { follow } from "./shared/hub.js";

/**
 * @param {import("./types").WaitingRun} job
 * @param {import("./types").Trigger<"queue">} trigger
 */
const makeJob = ({ key, title, text }, trigger) => {
  const words = [make("strong", { dir: "auto" }, text), make("span", {}, title)];
  const hint = "Remove from the queue";
  const more = { ariaLabel: `${hint}: ${text}`, data: { job: key } };
  const bin = iconButton("rg-mini", "bin", hint, () => trigger("remove", { key }), "", more);
  return make("li", {}, make("span", { className: "rg-job", title: text }, ...words), bin);
};

/** @type {import("./types").Mount<"queue">} */
export function mount(element, props, trigger, watch) {
  follow(props, watch, (value) => {
    document.querySelector("#run")?.classList.remove("rg-asked");
    const { jobs, note } = value ?? { jobs: [], note: "" };
    const buttons = () => [...element.getElementsByTagName("button")];
    const focused = buttons().find((button) => button === document.activeElement)?.dataset.job;
    const items = jobs.map((job) => makeJob(job, trigger));
    const list = make("ol", { ariaLabel: "Waiting runs" }, ...items);
    const said = make("p", { className: "rg-note", role: "status" }, note);
    element.replaceChildren(make("div", "rg-queue", jobs.length > 0 && list, said));
    if (!focused) return;
    const same = buttons().find(({ dataset }) => dataset.job === focused) ?? buttons()[0];
    same?.focus();
  });
}
