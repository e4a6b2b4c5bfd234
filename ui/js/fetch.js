// A published SAM that the page can fetch: offered on real clips, with size, progress and a way to stop.
import { button, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const megabytes = (bytes) => Math.round(bytes / 1e6);

const sayingOf = ({ state, title, note, done, total }) =>
  ({
    offer: note || `A published SAM, ${title}, masks real clips far better than the built-in one.`,
    busy: `${title}: ${megabytes(done)} of ${megabytes(total)} MB`,
    failed: note,
    done: `${title} is here and answers clicks on real clips. ${note}`,
  })[state];

// Drawn clips are what the built-in one is for, and another page may have fetched it meanwhile.
const isIdle = () => (hub.clip?.drawn ?? true) || Boolean(hub.editor?.who?.choices.some(({ cost }) => cost));

export function mount(element, props, trigger, watch) {
  const said = make("span", { className: "rg-fetch-said", role: "status" }),
    bar = make("progress", { className: "rg-fetch-bar", ariaLabel: "Fetched so far" }),
    get = button("rg-tool rg-small", "", () => trigger("fetch", {}), "Fetch it from the Hugging Face hub"),
    stop = button("rg-tool rg-small", "Stop", () => trigger("stop", {}), "Stop fetching"),
    root = make("div", "rg-fetch", said, bar, get, stop);
  let view = null;
  element.replaceChildren(root);
  const show = () => {
    root.hidden = !view || (view.state === "offer" && isIdle());
    if (!view) return;
    const { state, size, done, total, title, note } = view;
    said.classList.toggle("rg-alarm", state === "failed");
    said.textContent = sayingOf(view);
    Object.assign(bar, { max: total ?? 1, value: done ?? 0, hidden: state !== "busy" });
    stop.hidden = state !== "busy";
    get.hidden = !(state === "failed" || (state === "offer" && !note));
    get.textContent = `Get ${title} (${megabytes(size ?? 0)} MB)`;
  };
  hub.on("clip", show);
  hub.on("masks", show);
  follow(props, watch, (value) => {
    view = value;
    show();
  });
}
