// @ts-check
// Projects that stay on this machine, and files that are here already.
import { button, iconButton, make, textField } from "./shared/dom.js";
import { makeQuestion } from "./shared/dialog.js";
import { follow, hub, mayOpen } from "./shared/hub.js";

/** @typedef {import("./types").RecentView} RecentView */
/** @typedef {import("./types").Trigger<"recent">} Trigger */

/**
 * Return what projects are called: those of one name by their folders, too, which differ.
 * @param {RecentView["items"]} items
 */
const namesOf = (items) => {
  const titles = items.map(({ title }) => title);
  return items.map(({ title, key }) => {
    const isOnly = titles.indexOf(title) === titles.lastIndexOf(title);
    return isOnly ? title : `${title} (${key})`;
  });
};

/** @param {RecentView["items"][number]} item @param {string} title @param {() => void} open @param {() => void} ask */
const makeItem = (item, title, open, ask) => {
  const { picture, size, used, problem } = item;
  const shown = make("button", {
    className: "rg-recent-open",
    type: "button",
    title: problem,
    onclick: open,
  });
  shown.append(
    picture ? make("img", { src: picture, alt: "" }) : make("span", "rg-recent-empty"),
    make("span", { className: "rg-recent-title", dir: "auto" }, title),
    make("span", problem ? "rg-recent-facts rg-alarm" : "rg-recent-facts", problem || `${used}, ${size}`),
  );
  shown.disabled = Boolean(problem);
  const remove = iconButton("rg-tool", "bin", `Delete “${title}”`, ask);
  return make("li", { data: { key: item.key } }, shown, remove);
};

/** @param {(place: string) => void} take */
const makePath = (take) => {
  const field = textField({
    placeholder: "/path/to/a/clip.mp4",
    ariaLabel: "Path of a clip on this machine",
  });
  const open = () => {
    if (field.value.trim()) take(field.value);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // or it would press what has the focus next
    open();
  });
  const go = button(
    "rg-tool rg-small",
    "Open path",
    open,
    "Open a file that is on this machine; of any size",
  );
  return make("div", "rg-recent-path", field, go);
};

/** @param {string} folder @param {string} unkept */
const whereabouts = (folder, unkept) =>
  folder
    ? `Your clips, masks, words and results stay in ${folder} until you delete them.`
    : unkept || "Here your work stays in this session only: save the project, or download your results.";

/** @type {import("./types").Mount<"recent">} */
export function mount(element, props, trigger, watch) {
  const question = makeQuestion("Delete the project?", "Delete it", "Keep it");
  const list = make("ul", { className: "rg-recent-list", ariaLabel: "Recent projects, the last one first" });
  const title = make("summary", {}, "Recent");
  const folded = make("details", { className: "rg-recent", id: "recent-projects" }, title, list);
  let opening = false;
  const path = makePath((place) => {
    if (!mayOpen(`Opening ${place.split("/").at(-1)}`)) return;
    opening = true;
    trigger("path", { place });
  });
  const said = make("div"); // holds an alert while there is something to say
  const where = make("p", "rg-note");
  element.replaceChildren(folded, path, said, where);
  /** @param {RecentView["items"][number]} item */
  const open = ({ key, title: name }) => {
    if (!mayOpen(`Opening “${name}”`)) return;
    opening = true;
    trigger("open", { key });
  };
  let asked = ""; // the key of the project that the question is about
  /** @param {RecentView["items"][number]} item */
  const ask = async (item) => {
    asked = item.key;
    const words = `Delete “${item.title}” with its masks, words and results (${item.size})? It cannot be undone.`;
    if (await question.ask(words)) trigger("delete", { key: item.key });
  };
  // The list is made anew whenever it is told; a project that is gone leaves the focus to what stands above it.
  /** @param {string} key @param {number} place among the buttons of its item */
  const focus = (key, place) => {
    const item = [...list.children].find((one) => /** @type {HTMLElement} */ (one).dataset.key === key);
    const button = /** @type {HTMLElement | undefined} */ (item?.children[place]);
    (button ?? title).focus();
  };
  question.node.addEventListener("close", () => focus(asked, 1));
  follow(props, watch, (value) => {
    const { folder, paths, any_size, items, failed, unkept } = value;
    hub.kept = Boolean(folder);
    hub.anySize = any_size;
    hub.tell("kept");
    folded.hidden = !items.length;
    title.textContent = `Recent (${items.length})`;
    const active = document.activeElement;
    const held = /** @type {HTMLElement | null | undefined} */ (active?.closest(".rg-recent-list > li"));
    const place = active ? [...(held?.children ?? [])].indexOf(active) : -1;
    const names = namesOf(items);
    const made = items.map((item, i) =>
      makeItem(
        item,
        names[i],
        () => open(item),
        () => ask(item),
      ),
    );
    list.replaceChildren(...made);
    if (held) focus(held.dataset.key ?? "", place);
    path.hidden = !paths;
    const alert = make("p", { className: "rg-note", role: "alert" }, failed);
    said.replaceChildren(...(failed ? [alert] : []));
    where.textContent = whereabouts(folder, unkept);
    if (failed || opening) hub.tell(failed ? "unopened" : "opened");
    opening = false;
  });
  folded.addEventListener("toggle", () => {
    if (folded.open) trigger("list", {});
  });
  hub.on("clips", () => trigger("list", {}));
}
