// @ts-check
// What came out: files, answers and figures, attention.
import { Inspector } from "./result/inspector.js";
import { icon, iconButton, make } from "./shared/dom.js";
import { fileUrl, follow, hub } from "./shared/hub.js";
import { makeMenu } from "./shared/menu.js";
import { nearest } from "./shared/numbers.js";

/** @typedef {import("./types").ResultView} ResultView */
/**
 * Has a picture show the frame nearest to the player's of those it has.
 * @typedef {(picture: HTMLImageElement, sources: string[], indices: number[]) => void} Follows
 */

/** @type {Record<string, [text: string, hint: string]>} */
const FILES = {
  "edited.mp4": ["Video", "edited.mp4"],
  "whole.mp4": ["Whole clip", "Your whole clip, with the edited frames in their place"],
  "report.json": ["Report", "All settings and figures of this run, as JSON"],
  "reconstruction.mp4": ["Rebuilt source", "The source rebuilt from its own noise, without an edit"],
  "project.zip": ["Save", "Save this run with its clip, masks, words and settings, to open it here again"],
};

/**
 * Return what a file is called on the page, and a hint.
 * @param {string} name
 * @returns {string[]}
 */
const describeFile = (name) => {
  const [, number] = /^edited_(\d+)\.mp4$/.exec(name) ?? [];
  if (number) return [`Video ${number}`, name];
  return FILES[name] ?? [name, name];
};

/** @param {ResultView["files"][number]} file */
const linkTo = ({ name, path, saves }) => {
  const [text, title] = describeFile(name);
  const about = { className: "rg-item", href: fileUrl(path), download: saves, title, data: { file: name } };
  return make("a", about, icon("save"), make("span", {}, text));
};

/** Make the menu of all that can be taken away. */
const makeFiles = () => {
  const panel = make("div", "rg-downloads");
  const about = "The video, other forms of it, and the project";
  const opener = iconButton("rg-tool rg-download", "save", about, undefined, "Download");
  const { node, open } = makeMenu(opener, panel);
  panel.addEventListener("click", () => open(false));
  /**
   * @param {ResultView} value
   * @param {(file: ResultView["makes"][number]) => void} wants asks for a file that is yet to be made
   */
  const fill = ({ files, makes }, wants) => {
    /** @param {ResultView["makes"][number]} file */
    const makeButton = (file) => iconButton("rg-item", "save", file.hint, () => wants(file), file.title);
    panel.replaceChildren(...files.map(linkTo), ...makes.map(makeButton));
  };
  return { node, opener, fill };
};

/** @param {ResultView["facts"]} facts */
const makeFacts = (facts) => {
  const boxes = facts.map(({ name, value, text, doubt }) => {
    const lines = [make("dt", {}, name), make("dd", "rg-value", value), make("dd", {}, text)];
    return make("div", doubt ? "rg-doubt" : {}, ...lines);
  });
  return make("dl", "rg-facts", ...boxes);
};

/**
 * Fold away what few need to see: figures, and where attention went.
 * @param {ResultView["figures"]} figures
 * @param {(Node | undefined)[]} maps
 */
const makeFigures = (figures, ...maps) => {
  const shown = maps.filter((one) => one !== undefined);
  if (!figures.length && !shown.length) return null;
  const lines = figures.flatMap(({ name, value }) => [make("dt", {}, name), make("dd", {}, value)]);
  const title = shown.length ? "Figures and attention" : "Figures";
  return make("details", "rg-figures", make("summary", {}, title), make("dl", {}, ...lines), ...shown);
};

/**
 * Make a row of small pictures, each with a word below.
 * @param {{ text: string, frames: string[] }[]} entries
 * @param {number[]} indices
 * @param {Follows} follows
 */
const smallPictures = (entries, indices, follows, about = {}) => {
  const items = entries.map(({ text, frames }) => {
    const picture = make("img", { alt: "" });
    follows(picture, frames, indices);
    return make("li", {}, picture, make("span", {}, text));
  });
  return make("ul", { className: "rg-words-row", ...about }, ...items);
};

/** @param {ResultView["words"]} words @param {Follows} follows */
const makeWords = (words, follows) => {
  if (!words) return [];
  /** @param {string} ariaLabel @param {import("./types").WordMaps[]} maps */
  const makeRow = (ariaLabel, maps) => {
    const entries = maps.map(({ word, frames }) => ({ text: word, frames }));
    const row = smallPictures(entries, words.indices, follows, { ariaLabel });
    return [make("span", "rg-row-name", ariaLabel), row];
  };
  const rows = [...makeRow("Source", words.source), ...makeRow("Edit", words.edit)];
  const title = make("h2", {}, "Attention on each word, before the edit changes it");
  return [title, make("div", "rg-word-rows", ...rows)];
};

/** @param {ResultView["areas"]} areas @param {Follows} follows */
const makeAreas = (areas, follows) => {
  if (!areas) return [];
  const entries = areas.steps.map(({ step, frames }) => ({ text: `step ${step}`, frames }));
  return [make("h2", {}, "Edited area at each step"), smallPictures(entries, areas.indices, follows)];
};

/**
 * Ask for files that are made when they are wanted: one at a time, and what went wrong is said.
 * @param {HTMLButtonElement} opener of their menu
 * @param {import("./types").Trigger<"result">} trigger
 */
const makeWanting = (opener, trigger) => {
  const said = make("p", { className: "rg-note", role: "status" });
  /** @param {string} key @param {ResultView["makes"][number]} file */
  const want = (key, { name, kind }) => {
    if (opener.ariaBusy) return;
    opener.ariaBusy = "true";
    said.textContent = `Making the ${kind}…`;
    trigger("make", { key, name });
  };
  hub.on("made", ({ failed }) => {
    opener.ariaBusy = null;
    said.textContent = failed ?? "";
  });
  return { want, said };
};

/** @type {import("./types").Mount<"result">} */
export function mount(element, props, trigger, watch) {
  /** @type {Parameters<Follows>[]} */
  let shown = [];
  /** @type {Inspector | null} null where no method kept any maps */
  let inspector = null;
  const menu = makeFiles();
  const wanting = makeWanting(menu.opener, trigger);
  // Pictures follow the player: each shows the frame nearest to the player's of those it has.
  /** @param {number} frame */
  const turn = (frame) => {
    for (const [picture, sources, indices] of shown) {
      const source = sources[nearest(indices, frame)];
      if (picture.src !== source) picture.src = source;
    }
    inspector?.turn(frame);
  };
  /** @type {Follows} */
  const follows = (...picture) => {
    shown.push(picture);
  };
  hub.on("frame", turn);
  follow(props, watch, (value) => {
    shown = [];
    const maps = value?.attention;
    inspector = maps?.maps.length ? new Inspector(maps) : null;
    element.replaceChildren();
    const taking = document.querySelector(".rg-taking"); // below the picture, wherever settings end
    taking?.replaceChildren();
    if (!value) return;
    menu.fill(value, (file) => wanting.want(value.key, file));
    const root = make(
      "div",
      "rg-result",
      !taking && menu.node,
      wanting.said,
      value.whole && make("p", "rg-note", value.whole),
      makeFacts(value.facts),
      makeFigures(
        value.figures,
        inspector?.root,
        ...makeWords(value.words, follows),
        ...makeAreas(value.areas, follows),
      ),
      ...value.warnings.map((warning) => make("p", "rg-warning", warning)),
    );
    turn(1);
    element.replaceChildren(root);
    taking?.replaceChildren(menu.node);
  });
}
