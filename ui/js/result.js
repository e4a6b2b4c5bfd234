// @ts-check
import { makeInspector } from "./result/inspector.js";
import { icon, iconButton, make } from "./shared/dom.js";
import { fileUrl, follow, hub } from "./shared/hub.js";
import { nearest } from "./shared/numbers.js";

const FILES = {
  "edited.mp4": ["Download video", "edited.mp4"],
  "whole.mp4": ["Whole clip", "Your whole clip, with the edited frames in their place"],
  "report.json": ["Report", "All settings and figures of this run, as JSON"],
  "reconstruction.mp4": ["Reconstruction", "The source rebuilt from its inversion"],
  "project.zip": ["Save", "Save this run with its clip, masks, words and settings, to open it here again"],
  "edited.gif": ["GIF", "An animated picture of at most 480 pixels a side; made when you press this"],
  "masks.zip": ["Masks", "The masks as indexed PNG files in a zip file; packed when you press this"],
};

const describeFile = (name) => {
  const number = /^edited_(\d+)\.mp4$/.exec(name)?.[1];
  return number ? ["Video " + number, name] : (FILES[name] ?? [name, name]);
};

const linkTo = ({ name, path, saves }) => {
  const [text, title] = describeFile(name),
    about = { className: "rg-tool", href: fileUrl(path), download: saves, title, data: { file: name } };
  return make("a", about, icon("save"), make("span", {}, text));
};

const makeFiles = (value, wants) => {
  const made = value.makes.map((name) => {
    const [text, hint] = FILES[name];
    return iconButton("rg-tool", "save", hint, ({ currentTarget }) => wants(name, currentTarget), text);
  });
  return make("div", "rg-files", ...value.files.map(linkTo), ...made);
};

const makeFacts = (facts) => {
  const boxes = facts.map(({ name, value, text, doubt }) => {
    const lines = [make("dt", {}, name), make("dd", "rg-value", value), make("dd", {}, text)];
    return make("div", doubt ? "rg-doubt" : {}, ...lines);
  });
  return make("dl", "rg-facts", ...boxes);
};

const makeFigures = (figures) => {
  const lines = figures.flatMap(({ name, value }) => [make("dt", {}, name), make("dd", {}, value)]);
  return make("details", "rg-figures", make("summary", {}, "Figures"), make("dl", {}, ...lines));
};

// Small pictures in a row, each with a word below.
const smallPictures = (entries, indices, follows, about = {}) => {
  const items = entries.map(([text, pictures]) => {
    const picture = make("img", { alt: "" });
    follows(picture, pictures, indices);
    return make("li", {}, picture, make("span", {}, text));
  });
  return make("ul", { className: "rg-words-row", ...about }, ...items);
};

const makeWords = (words, follows) => {
  if (!words) return [];
  const rows = Object.entries({ Source: words.source, Edit: words.edit }).flatMap(([ariaLabel, entries]) => {
    const pairs = entries.map(({ word, frames }) => [word, frames]);
    const row = smallPictures(pairs, words.indices, follows, { ariaLabel });
    return [make("span", "rg-row-name", ariaLabel), row];
  });
  const title = make("h2", {}, "Attention on each word, before the edit changes it");
  return [title, make("div", "rg-word-rows", ...rows)];
};

const makeAreas = (areas, follows) => {
  if (!areas) return [];
  const pairs = areas.steps.map(({ step, frames }) => ["step " + step, frames]);
  return [make("h2", {}, "Edited area at each step"), smallPictures(pairs, areas.indices, follows)];
};

// Files that are made when they are wanted: one at a time, and what went wrong is said.
const makeWanting = (trigger) => {
  let busy = null;
  const said = make("p", { className: "rg-note", role: "status" });
  const wants = (key) => (name, one) => {
    if (busy) return;
    busy = one;
    one.ariaBusy = true;
    said.textContent = `Making the ${name.split(".")[1] === "gif" ? "GIF" : "zip file"}…`;
    trigger("make", { key, name });
  };
  hub.on("made", ({ failed }) => {
    if (busy) busy.ariaBusy = null;
    busy = null;
    said.textContent = failed ?? "";
  });
  return { wants, said };
};

// What came out: files, answers and figures, attention.
/** @type {import("./types").Mount<"result">} */
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
    const root = make(
      "div",
      "rg-result",
      makeFiles(value, wanting.wants(value.key)),
      wanting.said,
      value.whole && make("p", "rg-note", value.whole),
      makeFacts(value.facts),
      value.figures.length > 0 && makeFigures(value.figures),
      inspector?.root,
      ...makeWords(value.words, follows),
      ...makeAreas(value.areas, follows),
      ...value.warnings.map((warning) => make("p", "rg-warning", warning)),
    );
    turn(1);
    element.replaceChildren(root);
  });
}
