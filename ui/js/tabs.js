import { button, group, iconButton, make } from "./shared/dom.js";
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
    hub.on("stage", (stage) => (tab.ariaPressed = stage === name));
    return tab;
  });
  return group("What is shown", ...tabs);
};

// Masks or edit; and which clip this is.
export function mount(element) {
  const facts = make("p", "rg-facts-line"),
    trim = iconButton("rg-tool", "trim", TRIM, () => hub.tell("trimming"), "Frames"),
    save = iconButton("rg-tool", "save", SAVE, () => hub.tell("save"), "Save"),
    help = () => hub.tell("help"),
    keys = iconButton("rg-tool rg-help-button", "keys", "Keyboard shortcuts (?)", help, "Keys");
  trim.hidden = true;
  element.replaceChildren(
    make("div", "rg-tabs", makeTabs(), facts, make("div", "rg-clip-tools", trim, save, keys)),
  );
  const show = (clip) => {
    const [title, ...rest] = factsOf(clip);
    facts.replaceChildren(make("span", {}, title), make("span", {}, rest.join(" · ")));
    facts.title = [title, ...rest].join(" · ");
    trim.hidden = !clip.total;
  };
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage || "masks");
}
