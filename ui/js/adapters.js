import { iconButton, make, textField } from "./shared/dom.js";
import { follow, openFile } from "./shared/hub.js";

const ADD = "Add a tuned model from a .safetensors file";

const groupOf = ({ title, entries }) =>
  make("optgroup", { label: title }, ...entries.map(({ key, name }) => new Option(name, key)));

// The name is typed in the place of the list; Enter or leaving the field keeps it, Escape does not.
const addRenaming = (pick, name, rename, trigger) => {
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

// Weights tuned on a clip that every method may use: chosen, renamed, downloaded, added.
export function mount(element, props, trigger, watch) {
  const send = (act) => () => trigger(act, { key: pick.value });
  const pick = make("select", { id: "rg-models-pick", onchange: send("choose") }),
    name = textField({ maxLength: 60, hidden: true, ariaLabel: "Name of the tuned model" }),
    rename = iconButton("rg-tool", "pen", "Rename this tuned model"),
    save = iconButton("rg-tool", "save", "Download this tuned model", send("export")),
    more = { ariaLabel: ADD },
    add = iconButton("rg-tool", "open", ADD, () => openFile(null, "adapter-file"), "Add file", more),
    detail = make("p"),
    problem = make("p", { className: "rg-alarm", role: "status" }),
    label = make("label", { htmlFor: pick.id }, "Tuned model"),
    row = make("div", "rg-models-row", label, pick, name, rename, save, add);
  element.replaceChildren(make("div", "rg-models", row, detail, problem));
  addRenaming(pick, name, rename, trigger);
  follow(props, watch, (value) => {
    const list = JSON.stringify([value.none, value.groups]); // made anew only when it changes: it may be open
    if (pick.dataset.list !== list)
      pick.replaceChildren(new Option(value.none, ""), ...value.groups.map(groupOf));
    pick.dataset.list = list;
    pick.value = value.chosen;
    const chosen = value.groups.flatMap(({ entries }) => entries).find(({ key }) => key === value.chosen);
    rename.hidden = save.hidden = !chosen?.own;
    add.lastChild.hidden = !rename.hidden; // room for the other two
    detail.textContent = value.detail;
    problem.textContent = value.problem;
  });
}
