// @ts-check
// One region: a line that says what becomes of it, and below it, once opened, its words and what few need.
import { badge, isColor } from "../shared/color.js";
import { icon, iconButton, make } from "../shared/dom.js";
import { hub, titleOf } from "../shared/hub.js";
import { makePicture } from "./picture.js";
import { makeChange, makeMargin, makeStrength, makeText } from "./fields.js";

/** @typedef {import("../types").Region} Region */
/** @typedef {import("../types").Deck} Deck */

const NOW = "Names the region, and tells methods that compare words what is replaced; others do without it";

/** @param {Region} region @param {HTMLElement} card @param {() => void} changed */
const makeSwatch = (region, card, changed) => {
  const swatch = make("label", "rg-swatch");
  const ariaLabel = "Colour of " + region.name;
  const color = make("input", { type: "color", value: region.color, ariaLabel });
  const draw = () => {
    card.style.setProperty("--region", region.color);
    swatch.replaceChildren(badge(region.label, region.color), color);
  };
  color.oninput = () => {
    region.color = color.value;
    draw();
    hub.tell("regions");
    changed();
  };
  if (isColor(region.color)) draw();
  return swatch;
};

/**
 * @param {Region} region
 * @param {keyof typeof import("../shared/icons.js").ICONS} picture
 * @param {string} hint
 * @param {() => void} press
 */
const tool = ({ name }, picture, hint, press, data = {}) =>
  iconButton("rg-mini", picture, hint, press, "", { ariaLabel: `${name}: ${hint}`, data });

/** @param {Region} region */
const makeEye = (region) => {
  const { label } = region;
  const eye = tool(region, "eye", "Show or hide its mask", () => {
    if (!hub.hidden.delete(label)) hub.hidden.add(label);
    eye.replaceChildren(icon(hub.hidden.has(label) ? "blind" : "eye"));
    hub.tell("regions");
  });
  return eye;
};

/**
 * Make what moves a region above or below its neighbours; shown where masks overlap.
 * @param {Region} region
 * @param {Deck} deck
 */
const makeOrder = ({ label, name }, { move }) => {
  /** @param {"up" | "down"} side @param {string} text @param {string} hint @param {number} by */
  const mover = (side, text, hint, by) =>
    iconButton("rg-tool rg-small", side, hint, () => move(label, by), text, {
      ariaLabel: `${text}: ${name}`,
      data: { move: side },
    });
  return make(
    "div",
    "rg-card-order",
    mover("up", "Move up", "It covers those below", -1),
    mover("down", "Move down", "Those above cover it", 1),
  );
};

/**
 * Make what few regions need.
 * @param {Region} region
 * @param {Deck} deck
 * @param {HTMLElement | null} margin
 */
const makeMore = (region, { changed }, margin) => {
  const { negative, strength } = region;
  return make(
    "details",
    { className: "rg-details", open: Boolean(negative) || strength < 1 },
    make("summary", {}, "More"),
    margin,
    makeText(region, "negative", "Never show", "e.g. blurry, a hat", changed).node,
    makeStrength(region, changed),
  );
};

/**
 * Make the two fields that say what a region is and what it becomes, which stand in its card or at its mask.
 * @param {Region} region
 * @param {Deck} deck
 */
const makeWords = (region, { changed, rest }) => {
  const example = region.label === rest ? "e.g. on the grass" : "e.g. a cat; may be empty";
  const now = makeText(region, "source", "This is", example, changed);
  now.node.title = NOW;
  const change = makeChange(region, now.input, changed);
  const node = make(
    "div",
    { className: "rg-card-words", data: { label: region.label } },
    now.node,
    ...change,
  );
  node.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.isComposing;
    if (event.key !== "Enter" || !plain || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault(); // or it would press what has the focus next
    hub.correcting = false; // the region has all it needs
    hub.tell("try");
  });
  return node;
};

/**
 * Make the line of a region, which opens its card.
 * @param {Region} region
 * @param {HTMLElement} body
 */
const makeLine = (region, body) => {
  const mark = make("span", "rg-card-mark");
  const said = make("span", { className: "rg-card-said", dir: "auto" });
  const about = { className: "rg-card-line", type: "button", ariaExpanded: "false" };
  const node = make("button", about, mark, said);
  /** @param {boolean} on */
  const open = (on) => {
    body.hidden = !on;
    node.ariaExpanded = String(on);
  };
  node.addEventListener("click", () => open(Boolean(body.hidden)));
  const draw = () => {
    const title = titleOf(region);
    const change = region.prompt.trim();
    mark.replaceChildren(badge(region.label, region.color));
    const stays = region.picture ? "like its picture" : "stays";
    const name = make("strong", {}, title);
    if (title === change) said.replaceChildren(make("span", {}, "becomes"), name);
    else said.replaceChildren(name, make("span", {}, change ? `→ ${change}` : stays));
  };
  draw();
  return { node, open, draw };
};

/**
 * Select a region once its card is pressed or has the focus; not before the press is over, since words that go back
 * into another card move what is pressed.
 * @param {HTMLElement} card
 * @param {number} label
 */
const selectOnUse = (card, label) => {
  let pressing = false;
  const select = () => {
    pressing = false;
    if (hub.active !== label || !hub.correcting) hub.tell("choose", label);
  };
  card.addEventListener("pointerdown", () => {
    pressing = true;
    addEventListener("pointerup", () => setTimeout(select), { once: true });
  });
  card.addEventListener("focusin", () => {
    if (!pressing) select();
  });
};

/**
 * @param {Region} region
 * @param {Deck} deck
 * @returns {import("../types").Card}
 */
export const makeCard = (region, deck) => {
  const { changed, rest, act } = deck;
  const { label } = region;
  const card = make("div", { className: "rg-card", data: { label } });
  const body = make("div", { className: "rg-card-body", hidden: true });
  const line = makeLine(region, body);
  const words = makeWords(region, deck);
  const swatch = makeSwatch(region, card, changed);
  const picture = makePicture(region, card, deck);
  const remove = () => act("delete", label);
  const bin = tool(region, "bin", "Delete this region", remove, { act: "delete" });
  const margin = label === rest ? null : makeMargin(region, changed);
  const { show, note } = picture;
  const foot = make("div", "rg-card-foot", swatch, make("p", "rg-covered"), makeEye(region), bin);
  const elsewhere = make("p", "rg-note rg-elsewhere", "Its words stand at its mask, in the picture.");
  body.append(
    words,
    elsewhere,
    makeOrder(region, deck),
    makeMore(region, deck, margin?.node ?? null),
    picture.node,
    foot,
  );
  card.append(line.node, body);
  selectOnUse(card, label);
  const draw = () => {
    line.draw();
    picture.draw();
    margin?.draw();
  };
  const home = () => body.prepend(words);
  return { card, region, words: { node: words, home }, open: line.open, show, draw, note };
};
