import { icon, make } from "./shared/dom.js";
import { hub } from "./shared/hub.js";
import { badge, heatLegend } from "./shared/marks.js";
import { nearest } from "./shared/numbers.js";
import { fileUrl, follow } from "./shared/server.js";

const FILES = {
  "edited.mp4": ["Download video", "edited.mp4"],
  "whole.mp4": ["Whole clip", "Your whole clip, with the edited frames in their place"],
  "report.json": ["Report", "All settings and figures of this run, as JSON"],
  "reconstruction.mp4": ["Reconstruction", "The source rebuilt from its inversion"],
  "project.zip": ["Project", "Clip, masks, prompts and settings, to open here again"],
};

const describeFile = (name) => {
  const number = /^edited_(\d+)\.mp4$/.exec(name)?.[1];
  return number ? ["Video " + number, name] : (FILES[name] ?? [name, name]);
};

const makeFiles = (files) => {
  const row = make("div", "rg-files");
  for (const { name, path } of files) {
    const link = make("a", "rg-tool"),
      [text, hint] = describeFile(name);
    Object.assign(link, { href: fileUrl(path), download: name, title: hint });
    link.append(icon("save"), make("span", "", text));
    row.append(link);
  }
  return row;
};

const makeFacts = (facts) => {
  const list = make("dl", "rg-facts");
  for (const { name, value, text } of facts) {
    const box = make("div");
    box.append(make("dt", "", name), make("dd", "rg-value", value), make("dd", "", text));
    list.append(box);
  }
  return list;
};

const makePair = (region, captions, indices, follows) => {
  const pair = make("div", "rg-pair");
  [region.before, region.after].forEach((pictures, i) => {
    const figure = make("figure"),
      picture = make("img");
    picture.alt = region.caption + ", " + captions[i];
    follows(picture, pictures, indices);
    figure.append(picture, make("figcaption", "", captions[i]));
    pair.append(figure);
  });
  return pair;
};

const makeAttention = (value, follows) => {
  if (!value.attention.length) return [];
  const [heading, ...captions] = value.looks,
    grid = make("div", "rg-attention");
  for (const region of value.attention) {
    const box = make("div", "rg-look"),
      title = make("div", "rg-row-name");
    title.append(badge(region.label, region.color), make("span", "", region.name), heatLegend(region.color));
    box.append(title, makePair(region, captions, value.indices, follows), make("p", "", region.text));
    grid.append(box);
  }
  return [make("h2", "", heading), grid];
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

// What came out: files, figures, attention.
export function mount(element, props, trigger, watch) {
  let shown = [];
  // Pictures follow the player: each shows the frame nearest to the player's of those it has.
  const turn = (frame) => {
    for (const [picture, sources, indices] of shown) {
      const source = sources[nearest(indices, frame)];
      if (picture.src !== source) picture.src = source;
    }
  };
  const follows = (...picture) => shown.push(picture);
  hub.on("frame", turn);
  follow(props, watch, (value) => {
    shown = [];
    element.replaceChildren();
    if (!value) return;
    const root = make("div", "rg-result");
    root.append(makeFiles(value.files));
    if (value.whole) root.append(make("p", "rg-note", value.whole));
    root.append(makeFacts(value.facts), ...makeAttention(value, follows));
    root.append(...makeWords(value.words, follows), ...makeAreas(value.areas, follows));
    root.append(...value.warnings.map((warning) => make("p", "rg-warning", warning)));
    turn(1);
    element.replaceChildren(root);
  });
}
