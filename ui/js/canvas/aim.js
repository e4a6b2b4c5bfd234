// @ts-check
// Where a click goes: the one rule, of which the words below the picture are made, too. `docs/page.md` says it. Nothing
// here touches the document.

/** @typedef {import("../types").Tool} Tool */
/** @typedef {import("../types").Aim} Aim */

/**
 * Which region is chosen: none, as after Escape; a new one without any mask; one that takes more; or one that has all it
 * needs, a mask and its words, and that nobody has chosen by hand.
 * @typedef {"none" | "new" | "open" | "done"} Chosen
 */
/**
 * Where a click is: at a point of the chosen region or else on its mask, on that of another, or outside all.
 * @typedef {"point" | "own" | "other" | "free"} Where
 */
/**
 * Whose a click is: the chosen region's, that of the mask below it, or a region's that is yet to be made.
 * @typedef {"chosen" | "hit" | "fresh" | "nobody"} Whose
 */

/** @type {Record<Chosen, Record<Where, Whose>>} */
const WHOSE = {
  none: { point: "nobody", own: "nobody", other: "hit", free: "fresh" },
  new: { point: "chosen", own: "chosen", other: "chosen", free: "chosen" },
  open: { point: "chosen", own: "chosen", other: "hit", free: "chosen" },
  done: { point: "chosen", own: "chosen", other: "hit", free: "fresh" },
};

/**
 * Return whose a click of a tool is. What takes away, and the brush, stay with the chosen region wherever they are.
 * @param {Tool} tool
 * @param {Chosen} chosen
 * @param {Where} where
 * @returns {Whose}
 */
const whoseIs = (tool, chosen, where) => {
  const roams = tool !== "add" && tool !== "box";
  if (roams && chosen !== "none") return "chosen";
  const whose = WHOSE[chosen][where];
  const takesAway = tool === "remove" || tool === "erase";
  return takesAway && whose === "fresh" ? "nobody" : whose;
};

/** @param {Tool} tool @param {Whose} whose @param {Where} where @returns {Aim["does"]} */
const doneBy = (tool, whose, where) => {
  if (whose === "nobody") return "nothing";
  if (whose === "fresh") return "begin";
  const points = tool === "add" || tool === "remove";
  if (points && where === "point") return "unpoint";
  if (tool === "add" && whose === "hit") return "choose";
  return tool === "remove" || tool === "erase" ? "remove" : "add";
};

/**
 * Return what a click does, and whether with the region of the mask below it, which it chooses first.
 * @param {{ tool: Tool, chosen: Chosen, where: Where }} state
 * @returns {{ does: Aim["does"], hits: boolean }}
 */
export const actAt = ({ tool, chosen, where }) => {
  const whose = whoseIs(tool, chosen, where);
  return { does: doneBy(tool, whose, where), hits: whose === "hit" };
};

/** @type {Record<Tool, Partial<Record<Aim["does"], string>>>} */
const HINTS = {
  add: {
    add: "click an object to add it to NAME.",
    begin: "click a thing: it becomes a new region.",
    choose: "click to choose NAME.",
    unpoint: "click to take this point back.",
  },
  remove: { remove: "click what does not belong to NAME.", unpoint: "click to take this point back." },
  box: {
    add: "draw a box around an object for NAME.",
    begin: "draw a box around a thing: it becomes a new region.",
  },
  brush: { add: "paint onto NAME.", begin: "paint a thing: it becomes a new region." },
  erase: { remove: "erase from NAME." },
};
/** What is said more with a mouse and keys. @type {Partial<Record<Tool, string>>} */
const WITH_KEYS = {
  brush: " Hold Alt to erase.",
  box: " Shift takes all of it, Alt cuts it out.",
};
const NOTHING = "no region is chosen: click the mask of one first.";

/** @param {string} said @param {boolean} touch */
const fitted = (said, touch) => {
  const fit = touch ? said.replace("click", "tap") : said;
  return fit.charAt(0).toUpperCase() + fit.slice(1);
};

/**
 * Say what more can be done while a region takes clicks.
 * @param {Tool} tool
 * @param {Aim["does"]} does
 * @param {boolean} touch
 */
const moreOf = (tool, does, touch) => {
  const adds = tool === "add" && does === "add";
  if (touch) return adds ? " For another region, use +." : "";
  return adds ? " Right-click removes. Esc: another region." : (WITH_KEYS[tool] ?? "");
};

/**
 * Say what a click would do.
 * @param {Tool} tool
 * @param {Aim["does"]} does
 * @param {string} name of the region
 * @param {boolean} touch whether fingers do it
 */
export const hintFor = (tool, does, name, touch) => {
  if (does === "nothing") return fitted(NOTHING, touch);
  const said = (HINTS[tool][does] ?? "").replace("NAME", name);
  return fitted(said, touch) + moreOf(tool, does, touch);
};
