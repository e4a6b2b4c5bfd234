// @ts-check
import { badge, isColor } from "../shared/color.js";
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { makePicture } from "./picture.js";
import { makeChange, makeMargin, makeName, makeStrength, makeText } from "./fields.js";

const makeSwatch = (region, card, changed) => {
  const swatch = make("label", "rg-swatch"),
    color = make("input", { type: "color", value: region.color, ariaLabel: "Colour of " + region.name });
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

const tool = ({ label }, picture, hint, press, data = {}) =>
  iconButton("rg-mini", picture, hint, press, "", { ariaLabel: `Region ${label}: ${hint}`, data });

const makeEye = (region) => {
  const { label } = region;
  const eye = tool(region, "eye", "Show or hide its mask", () => {
    if (!hub.hidden.delete(label)) hub.hidden.add(label);
    eye.replaceChildren(icon(hub.hidden.has(label) ? "blind" : "eye"));
    hub.tell("regions");
  });
  return eye;
};

// What few regions need.
const makeMore = (region, { changed, move, rest }) => {
  const { label, negative, strength } = region,
    up = tool(region, "up", "Move up: it covers those below", () => move(label, -1), { move: "up" }),
    down = tool(region, "down", "Move down: those above cover it", () => move(label, 1), { move: "down" });
  return make(
    "details",
    { className: "rg-details", open: Boolean(negative) || strength < 1 },
    make("summary", {}, "More"),
    label !== rest && makeMargin(region, changed),
    makeText(region, "negative", "Avoid", "e.g. blurry, a hat", changed),
    makeStrength(region, changed),
    make("div", "rg-card-order", up, down),
  );
};

// `deck` is what the cards can do together: changed, move, act.
export const makeCard = (region, deck) => {
  const { changed, rest, act } = deck,
    { label } = region;
  const card = make("div", { className: "rg-card", data: { label } });
  const now = makeText(region, "source", "Now", label === rest ? "e.g. on the grass" : "e.g. a cat", changed);
  const swatch = makeSwatch(region, card, changed),
    picture = makePicture(region, card, deck),
    bin = tool(region, "bin", "Delete this region", () => act("delete", label), { act: "delete" }),
    tools = make("div", "rg-card-tools", makeEye(region), bin);
  card.append(
    make("div", "rg-card-head", swatch, makeName(region, changed), tools),
    now,
    makeChange(region, now.querySelector("input"), changed),
    makeMore(region, deck),
    picture.node,
    make("p", "rg-covered"),
  );
  for (const kind of ["pointerdown", "focusin"])
    card.addEventListener(kind, () => {
      if (hub.active !== label) hub.tell("choose", label);
    });
  return { card, region, ...picture };
};
