// @ts-check
// Masks or edit; and which clip this is.
import { chooser, iconButton, make, pressOnly } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";
import { hundredths } from "./shared/numbers.js";

/** @type {[import("./types").Stage, string][]} */
const TABS = [
  ["masks", "Masks"],
  ["edit", "Edit"],
];
const TRIM = "Choose which frames of this clip are used";
const SAVE = "Save the project with its masks as a zip file";

/** @param {import("./types").Clip} clip */
const factsOf = ({ count, fps, width, height }) => {
  const frames = count === 1 ? "frame" : "frames";
  return `${count} ${frames} · ${hundredths(fps)} fps · ${width}×${height}`;
};

/** @type {import("./types").Mount<"tabs">} */
export function mount(element) {
  const tabs = chooser("What is shown", TABS, showStage);
  const facts = make("p", "rg-facts-line");
  const trim = iconButton("rg-tool", "trim", TRIM, () => hub.tell("trimming"), "Frames");
  const save = iconButton("rg-tool", "save", SAVE, () => hub.tell("save"), "Save");
  const help = () => hub.tell("help");
  const keys = iconButton("rg-tool rg-help-button", "keys", "Keyboard shortcuts (?)", help, "Keys");
  trim.hidden = true;
  const tools = make("div", "rg-clip-tools", trim, save, keys);
  element.replaceChildren(make("div", "rg-tabs", tabs, facts, tools));
  /** @param {import("./types").Clip} clip */
  const show = (clip) => {
    facts.replaceChildren(make("span", {}, clip.title), make("span", {}, factsOf(clip)));
    facts.title = `${clip.title} · ${factsOf(clip)}`;
    trim.hidden = !clip.total;
  };
  hub.on("stage", (name) => pressOnly(tabs, name));
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage === "edit" ? "edit" : "masks");
}
