// @ts-check
// The field an error is about: marked, told why, brought into view and focused. Every component has a copy of this
// module, so what is marked is kept in the document alone.
import { inOrder, make, mayMove } from "./dom.js";
import { hub, showStage } from "./hub.js";

const CANVAS = ".rg-canvas-stage canvas";
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
  seed: "#seed input",
  adapter: ".rg-models select",
};
const FOLDED = ["params", "loras", "motion", "seed", "adapter"];
const CLOSED = ":is(.rg-fold, .rg-more) > button.label-wrap:not(.open)";
const INPUTS = "textarea, select, input:not([type=range])";

const isShown = (node) => Boolean(node?.getClientRects().length);

const inCard = (name, key) => {
  const region = hub.regions.find((one) => one.name === name),
    card = region && document.querySelector(`.rg-card[data-label="${Number(region.label)}"]`);
  if (!card || key === "mask") return document.querySelector(CANVAS);
  return card.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? card.querySelector(".rg-name");
};

// Every method has fields of its own; one's are shown, maybe folded away.
const inSettings = (name) => {
  const all = [...document.querySelectorAll(".rg-param-" + CSS.escape(name))];
  const shown = all.find(isShown) ?? all.find((one) => !one.closest(".hide, .hidden"));
  return shown?.querySelector(INPUTS) ?? null;
};

// The element of a field as Python names it: `regions.left.prompt`, `params.steps`, `source_prompt`; maybe null.
export const fieldOf = (field) => {
  const [first, ...rest] = field.split(".");
  if (first === "regions" && rest.length > 1) return inCard(rest.slice(0, -1).join("."), rest.at(-1));
  if (first === "params") return inSettings(rest[0] ?? "");
  return document.querySelector(FIELDS[field] ?? FIELDS[first] ?? "#rg-nowhere");
};

// What was said goes as soon as something is written there.
const clearNode = (node) => {
  node.removeAttribute("aria-invalid");
  node.classList.remove("rg-is-wrong");
  document.getElementById(node.dataset.wrong)?.remove();
  if (node.getAttribute("aria-describedby") === node.dataset.wrong)
    if (node.dataset.described) node.setAttribute("aria-describedby", node.dataset.described);
    else node.removeAttribute("aria-describedby");
  delete node.dataset.wrong;
};

// Without a field, everything that is marked.
export const clearWrong = (field) => {
  const nodes = field ? [fieldOf(field)] : document.querySelectorAll("[data-wrong]");
  for (const node of nodes) if (node?.dataset.wrong) clearNode(node);
};

const nextPaint = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

// Folds are empty until they are opened: open them one by one until the field is there.
const unfoldTo = async (field) => {
  const tried = new Set(),
    next = (head) => !tried.has(head) && isShown(head);
  while (!isShown(fieldOf(field))) {
    const head = [...document.querySelectorAll(CLOSED)].find(next);
    if (!head) break;
    tried.add(head);
    head.click();
    await nextPaint();
    const inner = head.parentElement.querySelector(CLOSED);
    if (!inner && !isShown(fieldOf(field))) head.click();
  }
  return fieldOf(field);
};

const mark = (node, message) => {
  if (node.dataset.wrong) clearNode(node);
  // The canvas has a line of its own.
  if (!node.matches("input, select, textarea")) return hub.editor?.say(message, true);
  const id = `rg-wrong-${1 + document.querySelectorAll("[data-wrong]").length}-${Date.now().toString(36)}`;
  // Not into a label: the message would become part of the field's name.
  const row = node.closest(".rg-field, .rg-shows, .block") ?? node;
  row.after(make("p", { className: "rg-wrong", id, dir: "auto" }, inOrder(message)));
  node.dataset.described = node.getAttribute("aria-describedby") ?? "";
  node.dataset.wrong = id;
  node.setAttribute("aria-describedby", id);
  node.setAttribute("aria-invalid", "true");
  node.classList.add("rg-is-wrong");
  node.addEventListener("input", () => clearNode(node), { once: true });
};

const bringIntoView = (node) => {
  if (!isShown(node)) showStage("masks");
  node.scrollIntoView({ block: "center", behavior: mayMove() ? "smooth" : "auto" });
  node.focus({ preventScroll: true });
};

// Mark a field, by the name Python gives it, where the page has it.
// `focus`: go there, as when Run was pressed; false while somebody types elsewhere. Returns the field, if there is one.
export const markWrong = async (field, message, focus = true) => {
  const folded = FOLDED.includes(field.split(".")[0]);
  const node = focus && folded ? await unfoldTo(field) : fieldOf(field);
  if (!node) return null;
  mark(node, message);
  if (focus) bringIntoView(node);
  return node;
};
