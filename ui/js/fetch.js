// @ts-check
// A published SAM that the page can fetch: offered on real clips, with size, progress and a way to stop.
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

/** @param {number} bytes */
const megabytes = (bytes) => Math.round(bytes / 1e6);

/** @param {import("./types").FetchView} view */
const wordsOf = ({ state, title, note, done = 0, total = 0 }) => {
  const offer = `A published SAM, ${title}, masks real clips far better than the built-in one.`;
  return {
    offer: note || offer,
    busy: `${title}: ${megabytes(done)} of ${megabytes(total)} MB`,
    failed: note,
    done: `${title} is here and answers clicks on real clips. ${note}`,
  }[state];
};

// Drawn clips are what the built-in one is for, and another page may have fetched it meanwhile.
const isUseless = () => {
  const drawn = hub.clip?.drawn ?? true;
  const choices = hub.editor?.who?.choices ?? [];
  return drawn || choices.some(({ cost }) => cost);
};

/** @type {import("./types").Mount<"fetch">} */
export function mount(element, props, trigger, watch) {
  const said = make("span", { className: "rg-fetch-said", role: "status" });
  const bar = make("progress", { className: "rg-fetch-bar", ariaLabel: "Fetched so far" });
  const fetchHint = "Fetch it from the Hugging Face hub";
  const get = button("rg-tool rg-small", "", () => trigger("fetch", {}), fetchHint);
  const stop = button("rg-tool rg-small", "Stop", () => trigger("stop", {}), "Stop fetching");
  const root = make("div", "rg-fetch", said, bar, get, stop);
  element.replaceChildren(root);
  const show = () => {
    const view = props.value;
    root.hidden = !view || (view.state === "offer" && isUseless());
    if (!view) return;
    const { state, size = 0, done = 0, total = 1, title, note } = view;
    const offered = state === "failed" || (state === "offer" && !note);
    said.classList.toggle("rg-alarm", state === "failed");
    said.textContent = wordsOf(view) ?? null;
    Object.assign(bar, { max: total, value: done, hidden: state !== "busy" });
    stop.hidden = state !== "busy";
    get.hidden = !offered;
    get.textContent = `Get ${title} (${megabytes(size)} MB)`;
  };
  hub.on("clip", show);
  hub.on("masks", show);
  follow(props, watch, show);
}
