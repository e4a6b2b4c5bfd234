// @ts-check
// Examples in one row, and a clip of one's own.
import { icon, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";
import { makeExample } from "./gallery/cards.js";
import { makeRow } from "./gallery/row.js";
import { makeUpload } from "./gallery/upload.js";

const HINT = "A video, or a project saved here as a zip file";

/** @param {() => void} onclick */
const makeOwn = (onclick) => {
  const about = { className: "rg-own", type: "button", id: "open", title: HINT, onclick };
  const words = [make("strong", {}, "Your own clip"), make("span", "rg-change", "Choose or drop a file")];
  return make("button", about, icon("open"), ...words);
};

/** @type {import("./types").Mount<"gallery">} */
export function mount(element, props, trigger, watch) {
  const { node, fill, choose } = makeRow("Clips");
  const upload = makeUpload((file) => trigger("open", file));
  const own = makeOwn(upload.choose);
  /** @param {import("./types").Clip | null} clip */
  const mark = (clip) => {
    const isOwn = Boolean(clip?.own);
    own.ariaPressed = String(isOwn);
    node.classList.toggle("rg-folded", isOwn); // to a line of names
  };
  element.replaceChildren(node, ...upload.nodes);
  hub.on("clip", mark);
  hub.on("open", upload.choose);
  mark(hub.clip);
  const pick = (name) => {
    choose(name); // at once; the server says the same
    trigger("pick", { name });
  };
  let shown = "";
  follow(props, watch, ({ items, chosen, failed }) => {
    if (failed) {
      upload.failed(failed);
      return;
    }
    const names = JSON.stringify(items.map(({ name }) => name));
    if (names === shown) {
      choose(chosen); // the card that was pressed keeps the focus
      return;
    }
    shown = names;
    fill([own, ...items.map((item) => makeExample(item, chosen, () => pick(item.name)))]);
  });
}
