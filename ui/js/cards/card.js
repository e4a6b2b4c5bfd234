// The card of one region.
import { isColor } from "../shared/color.js";
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { badge } from "../shared/marks.js";
import { makeMargin, makeName, makeText } from "./fields.js";

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

// `deck` is what the cards can do together: changed, move, act.
export const makeCard = (region, deck) => {
  const card = make("div", "rg-card"),
    top = make("div", "rg-card-head"),
    tools = make("div", "rg-card-tools");
  card.dataset.label = region.label;
  tools.append(makeEye(region), ...makeButtons(region, deck));
  top.append(makeSwatch(region, card, deck.changed), makeName(region, deck.changed), tools);
  card.append(
    top,
    makeText(region, "source", "Now", "e.g. a cat", deck.changed),
    makeText(region, "prompt", "Change to", "leave empty to keep it", deck.changed),
    makeMargin(region, deck.changed),
    make("p", "rg-covered"),
  );
  for (const kind of ["pointerdown", "focusin"])
    card.addEventListener(kind, () => {
      if (hub.active !== region.label) hub.tell("choose", region.label);
    });
  return { card, region };
};
