// @ts-check
// The model that is chosen is of no use for the clip: one sentence in place of Run, and the way to another model.
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/** @param {boolean} on */
const setUseless = (on) => {
  hub.useless = on;
  document.body.classList.toggle("rg-useless", on);
};

/** @type {import("./types").Mount<"notice">} */
export function mount(element, props, trigger, watch) {
  let wanted = ""; // of which clip nonsense is wanted all the same
  const get = button("rg-tool rg-get", "Get a model", () => hub.tell("models"));
  const anyway = button("rg-link rg-anyway", "Run anyway", () => {
    wanted = hub.clip?.folder ?? "";
    draw();
    const run = /** @type {HTMLButtonElement | null} */ (document.querySelector("#run"));
    run?.focus(); // what had it is gone
    run?.click();
  });
  const text = make("p", { className: "rg-notice", role: "status" });
  const about = { className: "rg-tool rg-get", target: "_blank", rel: "noopener" };
  const copy = make("a", about, "Duplicate on a GPU (T4, 16 GB)");
  const root = make("div", {}, text, get, copy, anyway);
  const draw = () => {
    const { value } = props;
    const isUseless = Boolean(value && typeof value === "object") && hub.clip?.folder !== wanted;
    setUseless(isUseless);
    text.textContent = isUseless && value ? value.text : "";
    const address = (isUseless && value?.duplicate) || "";
    copy.href = address;
    copy.hidden = !address;
    get.hidden = Boolean(address) && !hub.getsModels;
    element.replaceChildren(...(isUseless ? [root] : []));
  };
  follow(props, watch, draw);
  hub.on("clip", draw);
  hub.on("blocked", () => (get.hidden ? copy : get).focus());
}
