// @ts-check
// The field an error is about: marked, told why, brought into view and focused. What is marked is kept in the document.
import { inOrder, make, mayMove } from "./dom.js";
import { hub, showStage } from "./hub.js";

const CANVAS = ".rg-canvas-stage canvas";
/** @type {Record<string, string>} */
const FIELDS = {
  "The clip shows": "#rg-source",
  source_prompt: "#rg-source",
  prompt: "#rg-whole",
  more_prompts: "#rg-whole",
  regions: CANVAS,
  method: ".rg-method select",
  model: "#model input",
  loras: "#addons select",
  motion: "#addons select",
  seed: "#rg-set-seed",
  adapter: ".rg-models select",
};
const FOLDED = ["params", "method", "model", "loras", "motion", "seed", "adapter"];

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement | HTMLElement} Field */

/** @param {Element | null | undefined} node */
const isShown = (node) => Boolean(node?.getClientRects().length);

/**
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {HTMLInputElement | null}
 */
const find = (parent, selector) => parent.querySelector(selector);

/** @param {string} name of the region @param {string} key */
const inCard = (name, key) => {
  const region = hub.regions.find((one) => one.name === name);
  const of = region && `[data-label="${Number(region.label)}"]`;
  const card = of && find(document, ".rg-card" + of);
  if (!card || key === "mask") return find(document, CANVAS);
  const field = `[data-key="${CSS.escape(key)}"]`;
  return find(document, `.rg-card-words${of} ${field}`) ?? find(card, field) ?? find(card, "button");
};

/**
 * Return the field of a parameter, maybe folded away.
 * @param {string} name
 */
const inSettings = (name) => find(document, "#rg-set-" + CSS.escape(name));

/**
 * Return the element of a field, if the page has it.
 * @param {string} field as the server names it: `regions.left.prompt`, `params.steps`, `source_prompt`
 */
export const fieldOf = (field) => {
  const [first, ...rest] = field.split(".");
  if (first === "regions" && rest.length > 1) {
    const name = rest.slice(0, -1).join(".");
    return inCard(name, rest[rest.length - 1]);
  }
  if (first === "params") return inSettings(rest[0] ?? "");
  const selector = FIELDS[field] ?? FIELDS[first];
  return selector ? find(document, selector) : null;
};

/**
 * Take back what was said at a field.
 * @param {HTMLElement} node
 */
const clearNode = (node) => {
  const { wrong = "", described } = node.dataset;
  node.removeAttribute("aria-invalid");
  node.classList.remove("rg-is-wrong");
  document.getElementById(wrong)?.remove();
  if (node.getAttribute("aria-describedby") === wrong) {
    if (described) node.setAttribute("aria-describedby", described);
    else node.removeAttribute("aria-describedby");
  }
  delete node.dataset.wrong;
};

/** @param {string} [field] everything that is marked without */
export const clearWrong = (field) => {
  /** @type {Iterable<HTMLElement | null>} */
  const nodes = field ? [fieldOf(field)] : document.querySelectorAll("[data-wrong]");
  for (const node of nodes) if (node?.dataset.wrong) clearNode(node);
};

/**
 * Open the folds in which a field is.
 * @param {string} field
 */
const unfoldTo = (field) => {
  hub.tell("unfold");
  const node = fieldOf(field);
  for (let fold = node?.closest("details"); fold; fold = fold.parentElement?.closest("details"))
    fold.open = true;
  return node;
};

/** @param {Field} node */
const valueOf = (node) => ("value" in node ? node.value : "");

/** @type {Map<Field, { before: string, acts: (() => void)[] }>} */
const marked = new Map();

/**
 * Do something once a field says something else: by a person, or, as a list does, by what was chosen.
 * @param {Field} node
 * @param {() => void} act
 */
export const whenChanged = (node, act) => {
  const known = marked.get(node) ?? { before: valueOf(node), acts: [] };
  known.acts.push(act);
  marked.set(node, known);
  node.addEventListener("input", () => tellChanged(node), { once: true });
};

/** @param {Field} node */
const tellChanged = (node) => {
  const acts = marked.get(node)?.acts ?? [];
  marked.delete(node);
  for (const act of acts) act();
};

// The page looks at its words and settings after every change.
hub.on("look", () => {
  for (const [node, { before }] of marked) if (valueOf(node) !== before) tellChanged(node);
});

// What was wrong with another clip's words and settings goes with it.
hub.on("clip", () => clearWrong());

let marks = 0;

/** @param {HTMLElement} node @param {string} message */
const mark = (node, message) => {
  if (node.dataset.wrong) clearNode(node);
  if (!node.matches("input, select, textarea")) {
    hub.editor?.say(message, true); // the canvas has a line of its own
    return;
  }
  marks += 1;
  const id = `rg-wrong-${marks}`;
  // Not into a label: the message would become part of the field's name. Nor beside a field that shares its row.
  const row = node.closest(".rg-choices") ?? node.closest(".rg-field, .rg-shows, .rg-set") ?? node;
  row.after(make("p", { className: "rg-wrong", id, dir: "auto" }, inOrder(message)));
  node.dataset.described = node.getAttribute("aria-describedby") ?? "";
  node.dataset.wrong = id;
  node.setAttribute("aria-describedby", id);
  node.setAttribute("aria-invalid", "true");
  node.classList.add("rg-is-wrong");
  whenChanged(node, () => clearNode(node));
};

/** @param {HTMLElement} node */
const bringIntoView = (node) => {
  const card = node.closest(".rg-card");
  if (card instanceof HTMLElement) hub.tell("show", Number(card.dataset.label));
  if (!isShown(node)) showStage("masks");
  node.scrollIntoView({ block: "center", behavior: mayMove() ? "smooth" : "auto" });
  const opens = node.getAttribute("role") === "listbox" || node.getAttribute("role") === "combobox";
  if (!opens) node.focus({ preventScroll: true }); // a list of Gradio's would open
};

/**
 * Mark a field where the page has it, and return it.
 * @param {string} field as the server names it
 * @param {string} message
 * @param {boolean} [focus] whether to go there, as when Run was pressed; false while somebody types elsewhere
 */
export const markWrong = async (field, message, focus = true) => {
  const folded = FOLDED.includes(field.split(".")[0]);
  const node = focus && folded ? unfoldTo(field) : fieldOf(field);
  if (!node) return null;
  mark(node, message);
  if (focus) bringIntoView(node);
  return node;
};
