// @ts-check
// Weights tuned on a clip that every method may use: chosen, renamed, downloaded, added.
import { iconButton, make, textField } from "./shared/dom.js";
import { follow, hub, openFile } from "./shared/hub.js";

const ADD = "Add a model, LoRA or tuned model from a .safetensors file";

/** @param {import("./types").AdaptersView["groups"][number]} group */
const makeGroup = ({ title, entries }) => {
  const options = entries.map(({ key, name }) => new Option(name, key));
  return make("optgroup", { label: title }, ...options);
};

/**
 * Let the chosen model be renamed in the place of the list; Enter or leaving the field keeps the name, Escape does not.
 * @param {HTMLSelectElement} pick
 * @param {HTMLInputElement} name
 * @param {HTMLButtonElement} rename
 * @param {import("./types").Trigger<"adapters">} trigger
 */
const addRenaming = (pick, name, rename, trigger) => {
  let key = "";
  /** @param {boolean} keep */
  const end = (keep) => {
    if (!key) return;
    const sent = { key, name: name.value };
    key = "";
    name.hidden = true;
    pick.hidden = false;
    if (keep) trigger("rename", sent);
  };
  rename.onclick = () => {
    key = pick.value;
    name.value = pick.selectedOptions[0].text;
    name.hidden = false;
    pick.hidden = true;
    name.select();
    name.focus();
  };
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) end(true);
    else if (event.key === "Escape") end(false);
    else return;
    pick.focus();
  });
  name.addEventListener("blur", () => end(true));
};

/** @type {import("./types").Mount<"adapters">} */
export function mount(element, props, trigger, watch) {
  const pick = make("select", {
    id: "rg-models-pick",
    onchange: () => trigger("choose", { key: pick.value }),
  });
  const name = textField({ maxLength: 60, hidden: true, ariaLabel: "Name of the tuned model" });
  const rename = iconButton("rg-tool", "pen", "Rename this tuned model");
  const exportChosen = () => trigger("export", { key: pick.value });
  const save = iconButton("rg-tool", "save", "Download this tuned model", exportChosen);
  // Elsewhere than on one's own machine, tuned models alone are taken.
  const chooseFile = () => (hub.takesWeights ? hub.tell("weights", null) : openFile(null, "adapter-file"));
  const add = iconButton("rg-tool", "open", ADD, chooseFile, "Add file", { ariaLabel: ADD });
  const [addWords] = add.getElementsByTagName("span");
  const detail = make("p");
  const problem = make("p", { className: "rg-alarm", role: "status" });
  const label = make("label", { htmlFor: pick.id }, "Tuned model");
  const row = make("div", "rg-models-row", label, pick, name, rename, save, add);
  element.replaceChildren(make("div", "rg-models", row, detail, problem));
  addRenaming(pick, name, rename, trigger);
  follow(props, watch, (value) => {
    const list = JSON.stringify([value.none, value.groups]); // made anew only when it changes: it may be open
    if (pick.dataset.list !== list)
      pick.replaceChildren(new Option(value.none, ""), ...value.groups.map(makeGroup));
    pick.dataset.list = list;
    pick.value = value.chosen;
    const entries = value.groups.flatMap((group) => group.entries);
    const chosen = entries.find(({ key }) => key === value.chosen);
    rename.hidden = !chosen?.own;
    save.hidden = !chosen?.own;
    addWords.hidden = !rename.hidden; // room for the other two
    detail.textContent = value.detail;
    problem.textContent = value.problem;
  });
}
