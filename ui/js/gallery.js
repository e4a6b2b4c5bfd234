import { button, icon, make, press } from "./shared/dom.js";
import { hub, openFile } from "./shared/hub.js";
import { badge } from "./shared/marks.js";
import { follow } from "./shared/server.js";

const OWN = "Choose a video or a project.zip, or drop it anywhere. Up to 100 MB.";

const openDropped = (files) =>
  openFile(files, /\.safetensors$/i.test(files[0].name) ? "adapter-file" : "upload");

const acceptDrops = () => {
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      if (kind === "drop" && event.dataTransfer.files.length) openDropped(event.dataTransfer.files);
    });
  }
};

const ownCard = () => {
  const card = button("rg-own", "", () => openFile()),
    said = make("span", "rg-example-text");
  card.id = "open";
  said.append(make("strong", "", "Your own clip"), make("span", "rg-change", OWN));
  card.append(icon("open"), said);
  return card;
};

const line = (hint, ...parts) => {
  const node = make("span", "rg-change");
  node.append(...parts);
  node.title = hint;
  return node;
};

const changeLine = ({ label, color, source, prompt }) => {
  const said = make("span", "", prompt ? "→ " + prompt : "unchanged");
  return line(prompt ? source + " → " + prompt : source + ": unchanged", badge(label, color), said);
};

const exampleCard = (item, chosen, act) => {
  const card = button("rg-example", "", act),
    picture = make("img"),
    text = make("span", "rg-example-text");
  card.dataset.name = item.name;
  press(card, item.name === chosen);
  picture.src = item.picture;
  picture.alt = "";
  text.append(make("strong", "", item.title));
  text.append(...item.changes.map(changeLine));
  text.append(...item.prompts.map((prompt) => line(prompt, make("span", "", prompt))));
  card.append(picture, text);
  return card;
};

// Examples, and a clip of one's own.
export function mount(element, props, trigger, watch) {
  let own = null;
  const mark = (clip) => own && press(own, Boolean(clip?.own));
  acceptDrops();
  hub.on("clip", mark);
  follow(props, watch, (value) => {
    const row = make("div", "rg-gallery");
    own = ownCard();
    mark(hub.clip);
    row.append(own);
    for (const item of value.items)
      row.append(exampleCard(item, value.chosen, () => trigger("pick", { name: item.name })));
    element.replaceChildren(row);
  });
}
