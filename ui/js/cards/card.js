// The card of one region.
import { isColor } from "../shared/color.js";
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { badge } from "../shared/marks.js";
import { makeChange, makeMargin, makeName, makeStrength, makeText } from "./fields.js";

const makeSwatch = (region, card, changed) => {
  const swatch = make("label", "rg-swatch"),
    color = make("input");
  Object.assign(color, { type: "color", value: region.color });
  color.setAttribute("aria-label", "Colour of " + region.name);
  const draw = () => {
    card.style.setProperty("--region", region.color);
    swatch.replaceChildren(badge(region.label, region.color), color);
  };
  color.addEventListener("input", () => {
    region.color = color.value;
    draw();
    hub.tell("regions");
    changed();
  });
  if (isColor(region.color)) draw();
  return swatch;
};

const makeEye = ({ label }) => {
  const eye = iconButton("rg-mini", "eye", "Show or hide its mask", () => {
    if (!hub.hidden.delete(label)) hub.hidden.add(label);
    eye.replaceChildren(icon(hub.hidden.has(label) ? "blind" : "eye"));
    hub.tell("regions");
  });
  return eye;
};

const makeButtons = ({ label }, { move, act }) => {
  const up = iconButton("rg-mini", "up", "Move up: it covers those below", () => move(label, -1));
  const down = iconButton("rg-mini", "down", "Move down: those above cover it", () => move(label, 1));
  const bin = iconButton("rg-mini", "bin", "Delete this region", () => act("delete", label));
  up.dataset.move = "up";
  down.dataset.move = "down";
  bin.dataset.act = "delete";
  return [up, down, bin];
};

// What few regions need.
const makeMore = (region, changed) => {
  const more = make("details", "rg-details");
  more.open = Boolean(region.negative) || region.strength < 1;
  more.append(
    make("summary", "", "More"),
    makeText(region, "negative", "Avoid", "e.g. blurry, a hat", changed),
    makeStrength(region, changed),
  );
  return more;
};

// `deck` is what the cards can do together: changed, move, act.
export const makeCard = (region, deck) => {
  const card = make("div", "rg-card"),
    top = make("div", "rg-card-head"),
    tools = make("div", "rg-card-tools");
  card.dataset.label = region.label;
  tools.append(makeEye(region), ...makeButtons(region, deck));
  top.append(makeSwatch(region, card, deck.changed), makeName(region, deck.changed), tools);
  const example = region.label === deck.rest ? "e.g. on the grass" : "e.g. a cat";
  const now = makeText(region, "source", "Now", example, deck.changed);
  card.append(
    top,
    now,
    makeChange(region, now.querySelector("input"), deck.changed),
    ...(region.label === deck.rest ? [] : [makeMargin(region, deck.changed)]),
    makeMore(region, deck.changed),
    make("p", "rg-covered"),
  );
  for (const kind of ["pointerdown", "focusin"])
    card.addEventListener(kind, () => {
      if (hub.active !== region.label) hub.tell("choose", region.label);
    });
  return { card, region };
};
