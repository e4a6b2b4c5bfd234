import { iconButton, make, textField } from "./shared/dom.js";
import { follow, openFile } from "./shared/hub.js";

const ADD = "Add a tuned model from a .safetensors file";

const groupOf = ({ title, entries }) =>
  make("optgroup", { label: title }, ...entries.map(({ key, name }) => new Option(name, key)));

const entryOf = (value, key) =>
  value.groups.flatMap((group) => group.entries).find((entry) => entry.key === key);

// The name is typed in the place of the list; Enter or leaving the field keeps it, Escape does not.
const addRenaming = ({ pick, name, rename }, trigger) => {
  let key = "";
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

const makeParts = (trigger) => {
  const send = (act) => () => trigger(act, { key: pick.value });
  const pick = make("select", { id: "rg-models-pick", onchange: send("choose") });
  return {
    pick,
    name: textField({ maxLength: 60, hidden: true, ariaLabel: "Name of the tuned model" }),
    rename: iconButton("rg-tool", "pen", "Rename this tuned model"),
    save: iconButton("rg-tool", "save", "Download this tuned model", send("export")),
    add: iconButton("rg-tool", "open", ADD, () => openFile(null, "adapter-file"), "Add file"),
    detail: make("p"),
    problem: make("p", { className: "rg-alarm", role: "status" }),
  };
};

// The list is made anew only when it changes: it may be open.
const fillList = (pick, value) => {
  const text = JSON.stringify([value.none, value.groups]);
  if (pick.dataset.list !== text)
    pick.replaceChildren(new Option(value.none, ""), ...value.groups.map(groupOf));
  pick.dataset.list = text;
  pick.value = value.chosen;
};

// Weights tuned on a clip that every method may use: chosen, renamed, downloaded, added.
export function mount(element, props, trigger, watch) {
  const parts = makeParts(trigger),
    { pick, name, rename, save, add, detail, problem } = parts,
    label = make("label", { htmlFor: pick.id }, "Tuned model");
  add.ariaLabel = ADD;
  const row = make("div", "rg-models-row", label, pick, name, rename, save, add);
  element.replaceChildren(make("div", "rg-models", row, detail, problem));
  addRenaming(parts, trigger);
  follow(props, watch, (value) => {
    fillList(pick, value);
    rename.hidden = save.hidden = !entryOf(value, value.chosen)?.own;
    add.lastChild.hidden = !rename.hidden; // room for the other two
    detail.textContent = value.detail;
    problem.textContent = value.problem;
  });
}
