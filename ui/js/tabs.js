import { button, group, iconButton, make, press } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";

const TABS = { masks: "Masks", edit: "Edit" };
const TRIM = "Choose which frames of this clip are used";
const SAVE = "Save the project with its masks as a zip file";

const factsOf = ({ title, count, fps, width, height }) => [
  title,
  count + (count === 1 ? " frame" : " frames"),
  Math.round(fps * 100) / 100 + " fps",
  width + "×" + height,
];

const makeTabs = () => {
  const tabs = Object.entries(TABS).map(([name, text]) => {
    const tab = button("rg-tool", text, () => showStage(name));
    hub.on("stage", (stage) => press(tab, stage === name));
    return tab;
  });
  return group("What is shown", ...tabs);
};

// Masks or edit; and which clip this is.
export function mount(element) {
  const root = make("div", "rg-tabs"),
    facts = make("p", "rg-facts-line"),
    tools = make("div", "rg-clip-tools");
  const trim = iconButton("rg-tool", "trim", TRIM, () => hub.tell("trimming"), "Frames");
  const save = iconButton("rg-tool", "save", SAVE, () => hub.tell("save"), "Save");
  const keys = iconButton("rg-tool", "keys", "Keyboard shortcuts (?)", () => hub.tell("help"), "Keys");
  keys.classList.add("rg-help-button");
  trim.hidden = true;
  tools.append(trim, save, keys);
  root.append(makeTabs(), facts, tools);
  element.replaceChildren(root);
  const show = (clip) => {
    const [title, ...rest] = factsOf(clip);
    facts.replaceChildren(make("span", "", title), make("span", "", rest.join(" · ")));
    facts.title = [title, ...rest].join(" · ");
    trim.hidden = !clip.total;
  };
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage || "masks");
}
