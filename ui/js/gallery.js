// @ts-check
// A clip of one's own, and the examples, behind one button.
import { icon, iconButton, make } from "./shared/dom.js";
import { fileUrl, follow, hub, mayOpen } from "./shared/hub.js";
import { makeMenu } from "./shared/menu.js";
import { makeExample } from "./gallery/cards.js";
import { makeRow } from "./gallery/row.js";
import { makeUpload } from "./gallery/upload.js";

const HINT = "A video, or a project saved here as a zip file";
const CONSENT =
  "Examples are drawn. Open only clips you may edit, and none of real people without their consent.";

/** @param {() => void} onclick */
const makeOwn = (onclick) => {
  const about = { className: "rg-own", type: "button", id: "open", title: HINT, onclick };
  const words = [make("strong", {}, "Your own clip"), make("span", "rg-change", "Choose or drop a file")];
  return make("button", about, icon("open"), ...words);
};

/** @type {import("./types").Mount<"gallery">} */
export function mount(element, props, trigger, watch) {
  const { node, fill, choose } = makeRow("Clips");
  const limits = { clip: 0, project: 0 };
  const upload = makeUpload((file) => trigger("open", file), limits);
  const opener = iconButton(
    "rg-tool rg-opener",
    "open",
    "Your own clip, or an example",
    undefined,
    "Open a clip",
  );
  const recent = document.querySelector("#recent");
  const panel = make("div", "rg-clips", node, recent, make("p", "rg-caption", CONSENT));
  const menu = makeMenu(opener, panel);
  opener.addEventListener("click", () => hub.tell("clips"));
  const own = makeOwn(() => {
    menu.open(false);
    upload.choose();
  });
  /** @param {import("./types").ClipView | null} clip */
  const mark = (clip) => {
    own.ariaPressed = String(Boolean(clip?.own));
  };
  element.replaceChildren(menu.node, ...upload.nodes);
  hub.on("clip", (clip) => {
    menu.open(false);
    mark(clip);
  });
  hub.on("opened", () => menu.open(false)); // a project of the example that was open already, too
  hub.on("opening", () => menu.open(false));
  hub.on("unopened", () => menu.open(true)); // why is said there
  hub.on("open", upload.choose);
  mark(hub.clip);
  /** @param {string} name */
  const pick = (name) => {
    menu.open(false);
    if (hub.opening && !mayOpen("")) return;
    choose(name); // at once; the server says the same
    trigger("pick", { name });
  };
  let shown = "";
  follow(props, watch, (value) => {
    if ("failed" in value) {
      upload.failed(value.failed);
      return;
    }
    const { items, chosen } = value;
    Object.assign(limits, { clip: value.clip_mb, project: value.project_mb });
    const names = JSON.stringify(items.map(({ name }) => name));
    if (names === shown) {
      choose(chosen); // the card that was pressed keeps the focus
      return;
    }
    shown = names;
    const pictured = items.filter(({ after }) => after);
    hub.pictures = Object.fromEntries(
      pictured.map(({ name, picture, after }) => [name, [picture, after].map(fileUrl)]),
    );
    hub.tell("examples");
    fill([own, ...items.map((item) => makeExample(item, chosen, () => pick(item.name)))]);
  });
}
