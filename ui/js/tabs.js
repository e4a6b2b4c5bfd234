// @ts-check
import { chooser, iconButton, make, pressOnly } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";
import { hundredths } from "./shared/numbers.js";

const TABS = Object.entries({ masks: "Masks", edit: "Edit" });
const TRIM = "Choose which frames of this clip are used";
const SAVE = "Save the project with its masks as a zip file";

const factsOf = ({ count, fps, width, height }) =>
  `${count} ${count === 1 ? "frame" : "frames"} · ${hundredths(fps)} fps · ${width}×${height}`;

// Masks or edit; and which clip this is.
/** @type {import("./types").Mount<"tabs">} */
export function mount(element) {
  const tabs = chooser("What is shown", TABS, showStage),
    facts = make("p", "rg-facts-line"),
    trim = iconButton("rg-tool", "trim", TRIM, () => hub.tell("trimming"), "Frames"),
    save = iconButton("rg-tool", "save", SAVE, () => hub.tell("save"), "Save"),
    help = () => hub.tell("help"),
    keys = iconButton("rg-tool rg-help-button", "keys", "Keyboard shortcuts (?)", help, "Keys");
  trim.hidden = true;
  const tools = make("div", "rg-clip-tools", trim, save, keys);
  element.replaceChildren(make("div", "rg-tabs", tabs, facts, tools));
  const show = (clip) => {
    facts.replaceChildren(make("span", {}, clip.title), make("span", {}, factsOf(clip)));
    facts.title = `${clip.title} · ${factsOf(clip)}`;
    trim.hidden = !clip.total;
  };
  hub.on("stage", (name) => pressOnly(tabs, name));
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage || "masks");
}
