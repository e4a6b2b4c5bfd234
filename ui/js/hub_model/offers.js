// @ts-check
// The published models: the one that is recommended for a wish first, then the others.
import { button, childrenOf, chooser, make, pressOnly } from "../shared/dom.js";

/** @typedef {import("../types").OfferView} Offer */

/** @param {string} text @param {string} what it is */
export const makeCopy = (text, what) => {
  const copy = () => navigator.clipboard?.writeText(text);
  return button("rg-tool rg-small", "Copy", copy, "", { ariaLabel: `Copy ${what}` });
};

/**
 * @param {Offer} offer
 * @param {boolean | null | undefined} online whether the hub answers; while it is being asked, nobody knows
 * @param {(id: string) => void} fetch
 */
const makeOffer = ({ id, title, good, trouble, facts, command }, online, fetch) => {
  const rows = Object.entries(facts).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  const about = [make("h4", {}, title), make("p", {}, good), make("p", "rg-alarm", trouble)];
  const parts = [...about, make("dl", {}, ...rows), make("code", "rg-offer-id", id)];
  const byHand = [make("code", { title: command }, command), makeCopy(command, `the command for ${title}`)];
  if (online === false) parts.push(make("p", "rg-path rg-offer-command", ...byHand));
  if (online) parts.push(button("rg-tool", "Fetch", () => fetch(id), "", { ariaLabel: `Fetch ${id}` }));
  return make("article", "rg-offer", ...parts);
};

/** @param {(id: string) => void} fetch */
export const makeOffers = (fetch) => {
  const node = make("section", "rg-offers");
  let chosen = ""; // the wish
  /** @param {Partial<import("../types").HubView>} view */
  const fill = ({ offers, wishes, online }) => {
    const known = wishes ?? [];
    const wish = known.find(({ name }) => name === chosen) ?? known.find(({ first }) => first);
    node.hidden = !wish;
    if (!wish) return;
    /** @type {[string, string][]} */
    const entries = known.map(({ name, title }) => [name, title]);
    const bar = chooser("What matters most", entries, (name) => {
      chosen = name;
      fill({ offers, wishes, online });
      childrenOf(node.children[1])
        .find((one) => one.ariaPressed === "true")
        ?.focus();
    });
    pressOnly(bar, wish.name);
    /** @param {Offer} offer */
    const draw = (offer) => makeOffer(offer, online, fetch);
    const best = (offers ?? []).filter(({ id }) => id === wish.id);
    const rest = (offers ?? []).filter(({ id }) => id !== wish.id);
    const said = best.some(({ trouble }) => trouble)
      ? "Nearest to it"
      : "Recommended for this clip and machine";
    const others = make("details", {}, make("summary", {}, "Others"), ...rest.map(draw));
    others.open = node.querySelector("details")?.open ?? false;
    const asked = [make("h3", {}, "What matters most?"), bar, make("h3", {}, said)];
    node.replaceChildren(...asked, ...best.map(draw), make("p", {}, wish.better), others);
  };
  return { node, fill };
};
