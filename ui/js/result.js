import { makeInspector } from "./result/inspector.js";
import { icon, iconButton, make } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { nearest } from "./shared/numbers.js";
import { fileUrl, follow } from "./shared/server.js";

const FILES = {
  "edited.mp4": ["Download video", "edited.mp4"],
  "whole.mp4": ["Whole clip", "Your whole clip, with the edited frames in their place"],
  "report.json": ["Report", "All settings and figures of this run, as JSON"],
  "reconstruction.mp4": ["Reconstruction", "The source rebuilt from its inversion"],
  "project.zip": ["Project", "Clip, masks, prompts and settings, to open here again"],
  "edited.gif": ["GIF", "An animated picture of at most 480 pixels a side; made when you press this"],
  "masks.zip": ["Masks", "The masks as indexed PNG files in a zip file; packed when you press this"],
};

const describeFile = (name) => {
  const number = /^edited_(\d+)\.mp4$/.exec(name)?.[1];
  return number ? ["Video " + number, name] : (FILES[name] ?? [name, name]);
};

const linkTo = ({ name, path, saves }) => {
  const link = make("a", "rg-tool"),
    [text, hint] = describeFile(name);
  Object.assign(link, { href: fileUrl(path), download: saves, title: hint });
  link.dataset.file = name;
  link.append(icon("save"), make("span", "", text));
  return link;
};

const makeFiles = (value, wants) => {
  const row = make("div", "rg-files");
  row.append(...value.files.map(linkTo));
  for (const name of value.makes) {
    const [text, hint] = FILES[name];
    const one = iconButton("rg-tool", "save", hint, () => wants(name, one), text);
    row.append(one);
  }
  return row;
};

const makeFacts = (facts) => {
  const list = make("dl", "rg-facts");
  for (const { name, value, text, doubt } of facts) {
    const box = make("div", doubt ? "rg-doubt" : "");
    box.append(make("dt", "", name), make("dd", "rg-value", value), make("dd", "", text));
    list.append(box);
  }
  return list;
};

// The figures behind the words, for whoever wants them.
const makeFigures = (figures) => {
  if (!figures.length) return [];
  const fold = make("details", "rg-figures"),
    list = make("dl");
  for (const { name, value } of figures) list.append(make("dt", "", name), make("dd", "", value));
  fold.append(make("summary", "", "Figures"), list);
  return [fold];
};

// Small pictures in a row, each with a word below.
const smallPictures = (entries, indices, follows) => {
  const row = make("ul", "rg-words-row");
  for (const [text, pictures] of entries) {
    const item = make("li"),
      picture = make("img");
    picture.alt = "";
    follows(picture, pictures, indices);
    item.append(picture, make("span", "", text));
    row.append(item);
  }
  return row;
};

const makeWords = (words, follows) => {
  if (!words) return [];
  const table = make("div", "rg-word-rows");
  for (const [name, entries] of [
    ["Source", words.source],
    ["Edit", words.edit],
  ]) {
    const pairs = entries.map(({ word, frames }) => [word, frames]);
    const row = smallPictures(pairs, words.indices, follows);
    row.setAttribute("aria-label", name);
    table.append(make("span", "rg-row-name", name), row);
  }
  return [make("h2", "", "Attention on each word, before the edit changes it"), table];
};

const makeAreas = (areas, follows) => {
  if (!areas) return [];
  const pairs = areas.steps.map(({ step, frames }) => ["step " + step, frames]);
  return [make("h2", "", "Edited area at each step"), smallPictures(pairs, areas.indices, follows)];
};

// Files that are made when they are wanted: one at a time, and what went wrong is said.
const makeWanting = (trigger) => {
  let busy = null;
  const said = make("p", "rg-note");
  said.setAttribute("role", "status");
  const wants = (key) => (name, one) => {
    if (busy) return;
    busy = one;
    one.setAttribute("aria-busy", "true");
    said.textContent = `Making the ${name.split(".")[1] === "gif" ? "GIF" : "zip file"}…`;
    trigger("make", { key, name });
  };
  hub.on("made", ({ failed }) => {
    busy?.removeAttribute("aria-busy");
    busy = null;
    said.textContent = failed ?? "";
  });
  return { wants, said };
};

// What came out: files, answers and figures, attention.
export function mount(element, props, trigger, watch) {
  let shown = [],
    inspector = null;
  const wanting = makeWanting(trigger);
  // Pictures follow the player: each shows the frame nearest to the player's of those it has.
  const turn = (frame) => {
    for (const [picture, sources, indices] of shown) {
      const source = sources[nearest(indices, frame)];
      if (picture.src !== source) picture.src = source;
    }
    inspector?.turn(frame);
  };
  const follows = (...picture) => shown.push(picture);
  hub.on("frame", turn);
  follow(props, watch, (value) => {
    shown = [];
    inspector = value?.attention ? makeInspector(value.attention) : null;
    element.replaceChildren();
    if (!value) return;
    const root = make("div", "rg-result");
    root.append(makeFiles(value, wanting.wants(value.key)), wanting.said);
    if (value.whole) root.append(make("p", "rg-note", value.whole));
    root.append(makeFacts(value.facts), ...makeFigures(value.figures));
    if (inspector) root.append(inspector.root);
    root.append(...makeWords(value.words, follows), ...makeAreas(value.areas, follows));
    root.append(...value.warnings.map((warning) => make("p", "rg-warning", warning)));
    turn(1);
    element.replaceChildren(root);
  });
}
