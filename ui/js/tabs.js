import { button, group, iconButton, make, press } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";

const TABS = { masks: "Masks", edit: "Edit" };
const TRIM = "Use other frames of this clip (deletes its masks)";
const SAVE = "Save the project with its masks as a zip file";

// Which frames of a clip of one's own are used.
const makeTrim = () => {
  const form = make("form", "rg-trim"),
    fields = {};
  for (const [name, title, most] of [
    ["start", "First frame", 99999],
    ["stride", "Every nth", 99999],
    ["frames", "Frames", 99999],
  ]) {
    const label = make("label", "", title);
    fields[name] = Object.assign(make("input"), { type: "number", min: 1, max: most, required: true });
    fields[name].inputMode = "numeric";
    label.append(fields[name]);
    form.append(label);
  }
  form.append(make("button", "rg-tool", "Use these frames"));
  form.hidden = true;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    form.hidden = true;
    const [start, stride, frames] = ["start", "stride", "frames"].map((name) => Number(fields[name].value));
    hub.tell("trim", { start: start - 1, stride, frames });
  });
  const fill = ({ start, stride, count, most }) => {
    form.hidden = true;
    fields.start.value = start + 1;
    fields.stride.value = stride;
    fields.frames.max = most;
    fields.frames.value = count;
  };
  return { form, fill };
};

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
  const { form, fill } = makeTrim();
  const trim = iconButton("rg-tool", "trim", TRIM, () => (form.hidden = !form.hidden), "Frames");
  const save = iconButton("rg-tool", "save", SAVE, () => hub.tell("save"), "Save");
  const keys = iconButton("rg-tool", "keys", "Keyboard shortcuts (?)", () => hub.tell("help"), "Keys");
  keys.classList.add("rg-help-button");
  trim.hidden = true;
  tools.append(trim, save, keys);
  root.append(makeTabs(), facts, tools);
  element.replaceChildren(root, form);
  const show = (clip) => {
    const [title, ...rest] = factsOf(clip);
    facts.replaceChildren(make("span", "", title), make("span", "", rest.join(" · ")));
    facts.title = [title, ...rest].join(" · ");
    trim.hidden = !clip.total;
    fill(clip);
  };
  hub.on("clip", show);
  if (hub.clip) show(hub.clip);
  showStage(document.body.dataset.stage || "masks");
}
