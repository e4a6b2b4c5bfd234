// @ts-check
// Which clip this is, how it is looked at, and what few need of the page.
import { childrenOf, chooser, iconButton, make, pressOnly } from "./shared/dom.js";
import { makeDarkSwitch } from "./shared/dark.js";
import { openApi } from "./head/gradio_insides.js";
import { keepLook } from "./player/compare.js";
import { turnFull } from "./shared/full.js";
import { hub, showStage } from "./shared/hub.js";
import { makeMenu } from "./shared/menu.js";
import { hundredths } from "./shared/numbers.js";

/** @typedef {import("./types").Look} Look */

/** @type {[Look, string, string][]} */
const LOOKS = [
  ["masks", "Masks", "The clip with its masks, to be changed here"],
  ["flip", "Edit", "The edit; hold the picture to see the source"],
  ["wipe", "Wipe", "Source and edit under one picture, with an edge to drag"],
  ["side", "Side by side", "Source and edit beside each other"],
];
const TRIM = "Choose which frames of this clip are used";
const DIALOG = { ariaHasPopup: "dialog" };
const SAVE = "Save the project with its masks as a zip file";

/** @param {import("./types").ClipView} clip */
const factsOf = ({ count, fps, size, total, start, stride }) => {
  const isPart = total > count * stride;
  const last = start + (count - 1) * stride + 1;
  const frames = count === 1 ? "frame" : "frames";
  const which = isPart ? `frames ${start + 1}–${last} of ${total}` : `${count} ${frames}`;
  return `${which} · ${hundredths(fps)} fps · ${size}`;
};

const makeClipMenu = () => {
  /**
   * @param {Parameters<typeof iconButton>[1]} picture
   * @param {string} hint
   * @param {() => void} act
   * @param {string} [text]
   * @param {import("./shared/dom.js").Properties} [more]
   */
  const tool = (picture, hint, act, text, more) =>
    iconButton("rg-item", picture, hint, () => (menu.open(false), act()), text, more);
  const trim = tool("trim", TRIM, () => hub.tell("trimming"), "Frames");
  const save = tool("save", SAVE, () => hub.tell("save"), "Save");
  const full = tool("grow", "Full screen (L)", turnFull, "Full screen");
  const [, name] = childrenOf(full);
  hub.on("full", (on) => {
    name.textContent = on ? "Leave full screen" : "Full screen";
  });
  const keys = tool("keys", "Keyboard shortcuts (?)", () => hub.tell("help"), "Keys", DIALOG);
  keys.classList.add("rg-of-keys"); // a phone has none
  const api = tool("files", "How programs use this page", openApi, "API and MCP", DIALOG);
  const panel = make("div", "rg-clip-tools", full, trim, save, keys, makeDarkSwitch(), api);
  const about = "Full screen, Frames, Save, Keys, dark or light, API";
  const opener = iconButton("rg-tool rg-clip-menu", "more", about);
  const menu = makeMenu(opener, panel);
  trim.hidden = true;
  return { node: menu.node, trim };
};

/** @type {import("./types").Mount<"tabs">} */
export function mount(element) {
  const atEdit = () => document.body.dataset.stage === "edit";
  // From the masks one comes back to the look that was left.
  /** @param {import("./types").Look} name */
  const look = (name) => {
    if (name !== "masks" && atEdit()) {
      keepLook(name);
      hub.tell("compare", name);
    }
    showStage(name === "masks" ? "masks" : "edit");
  };
  const looks = chooser("What is shown", LOOKS, look);
  for (const one of looks.children) one.removeAttribute("aria-label"); // its text is its name
  const facts = make("p", "rg-facts-line");
  const { node: menu, trim } = makeClipMenu();
  element.replaceChildren(make("div", "rg-tabs", facts, looks, menu));
  let hasEdits = false;
  let hasRun = false; // or tried
  const draw = () => {
    const isEdit = atEdit();
    pressOnly(looks, isEdit ? hub.compare : "masks");
    for (const one of childrenOf(looks).slice(2)) one.hidden = !isEdit;
    looks.hidden = Boolean(hub.clip?.own) && !hasEdits && !isEdit && !hasRun;
  };
  /** @param {import("./types").ClipView} clip */
  const show = (clip) => {
    facts.replaceChildren(make("span", {}, clip.title), make("span", {}, factsOf(clip)));
    facts.title = `${clip.title} · ${factsOf(clip)}`;
    trim.hidden = !clip.total;
    draw();
  };
  hub.on("stage", draw);
  hub.on("compare", draw);
  hub.on("running", (on) => {
    hasRun ||= on;
    draw();
  });
  hub.on("edits", (count) => {
    hasEdits = count > 0;
    draw();
  });
  hub.on("clip", (clip) => {
    hasRun = Boolean(hub.running);
    show(clip);
  });
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage === "edit" ? "edit" : "masks");
}
