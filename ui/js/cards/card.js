// @ts-check
// One region: its name and colour, what it should become, and what few need.
import { badge, isColor } from "../shared/color.js";
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { makePicture } from "./picture.js";
import { makeChange, makeMargin, makeName, makeStrength, makeText } from "./fields.js";

/** @typedef {import("../types").Region} Region */
/** @typedef {import("../types").Deck} Deck */

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
const tool = ({ label }, picture, hint, press, data = {}) =>
  iconButton("rg-mini", picture, hint, press, "", { ariaLabel: `Region ${label}: ${hint}`, data });

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
 * Make what few regions need.
 * @param {Region} region
 * @param {Deck} deck
 */
const makeMore = (region, { changed, move, rest }) => {
  const { label, negative, strength } = region;
  const up = tool(region, "up", "Move up: it covers those below", () => move(label, -1), { move: "up" });
  const down = tool(region, "down", "Move down: those above cover it", () => move(label, 1), {
    move: "down",
  });
  return make(
    "details",
    { className: "rg-details", open: Boolean(negative) || strength < 1 },
    make("summary", {}, "More"),
    label !== rest && makeMargin(region, changed),
    makeText(region, "negative", "Avoid", "e.g. blurry, a hat", changed).node,
    makeStrength(region, changed),
    make("div", "rg-card-order", up, down),
  );
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
  const example = label === rest ? "e.g. on the grass" : "e.g. a cat";
  const now = makeText(region, "source", "Now", example, changed);
  const swatch = makeSwatch(region, card, changed);
  const picture = makePicture(region, card, deck);
  const remove = () => act("delete", label);
  const bin = tool(region, "bin", "Delete this region", remove, { act: "delete" });
  const tools = make("div", "rg-card-tools", makeEye(region), bin);
  const { show, draw, note } = picture;
  card.append(
    make("div", "rg-card-head", swatch, makeName(region, changed), tools),
    now.node,
    makeChange(region, now.input, changed),
    makeMore(region, deck),
    picture.node,
    make("p", "rg-covered"),
  );
  const select = () => {
    if (hub.active !== label) hub.tell("choose", label);
  };
  card.addEventListener("pointerdown", select);
  card.addEventListener("focusin", select);
  return { card, region, show, draw, note };
};
