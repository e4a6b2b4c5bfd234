import { iconButton, make } from "./shared/dom.js";
import { openFile } from "./shared/hub.js";
import { follow } from "./shared/server.js";

const ADD = "Add a tuned model from a .safetensors file";

const groupOf = ({ title, entries }) => {
  const group = make("optgroup");
  group.label = title;
  group.append(...entries.map(({ key, name }) => new Option(name, key)));
  return group;
};

const entryOf = (value, key) =>
  value.groups.flatMap((group) => group.entries).find((entry) => entry.key === key);

// The name is typed in the place of the list; Enter or leaving the field keeps it, Escape does not.
const addRenaming = (parts, trigger) => {
  const { pick, name, rename } = parts;
  let key = "";
  const end = (keep) => {
    if (!key) return;
    const sent = { key, name: name.value };
    key = "";
    name.hidden = true;
    pick.hidden = false;
    if (keep) trigger("rename", sent);
  };
  rename.addEventListener("click", () => {
    key = pick.value;
    name.value = pick.selectedOptions[0].text;
    name.hidden = false;
    pick.hidden = true;
    name.select();
    name.focus();
  });
  name.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) end(true);
    else if (event.key === "Escape") end(false);
    else return;
    pick.focus();
  });
  name.addEventListener("blur", () => end(true));
};

const makeParts = (trigger) => {
  const pick = make("select"),
    name = make("input"),
    send = (act) => () => trigger(act, { key: pick.value });
  pick.id = "rg-models-pick";
  Object.assign(name, { type: "text", maxLength: 60, autocomplete: "off", spellcheck: false, hidden: true });
  name.setAttribute("aria-label", "Name of the tuned model");
  pick.addEventListener("change", send("choose"));
  return {
    pick,
    name,
    rename: iconButton("rg-tool", "pen", "Rename this tuned model", () => {}),
    save: iconButton("rg-tool", "save", "Download this tuned model", send("export")),
    add: iconButton("rg-tool", "open", ADD, () => openFile(null, "adapter-file"), "Add file"),
    detail: make("p"),
    problem: make("p", "rg-alarm"),
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
  const root = make("div", "rg-models"),
    row = make("div", "rg-models-row"),
    label = make("label", "", "Tuned model"),
    parts = makeParts(trigger);
  const { pick, name, rename, save, add, detail, problem } = parts;
  label.htmlFor = pick.id;
  problem.setAttribute("role", "status");
  add.setAttribute("aria-label", ADD);
  row.append(label, pick, name, rename, save, add);
  root.append(row, detail, problem);
  element.replaceChildren(root);
  addRenaming(parts, trigger);
  follow(props, watch, (value) => {
    fillList(pick, value);
    rename.hidden = save.hidden = !entryOf(value, value.chosen)?.own;
    add.lastChild.hidden = !rename.hidden; // room for the other two
    detail.textContent = value.detail;
    problem.textContent = value.problem;
  });
}
