// @ts-check
// What few need of the masks, in one menu: the sections that were used last come first.
import { iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { EVERY_FRAME } from "./marks.js";

const KEPT = "regrain-refine"; // names of the sections, the one used last first

/** @returns {string[]} */
const usedBefore = () => {
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
  return Array.isArray(kept) ? kept.map(String) : [];
};

/**
 * @param {string} title
 * @param {...Node} content
 */
const makeSection = (title, ...content) => {
  const about = { className: "rg-refine-part", ariaLabel: title, data: { part: title } };
  return make("section", about, make("h2", {}, title), make("div", "rg-refine-row", ...content));
};

/**
 * @param {import("../types").Editor} editor
 * @param {{ focus: Node[], shape: Node[], finders: Node[], files: Node[], marks: Node[] }} parts
 */
export const makeRefine = (editor, { focus, shape, finders, files, marks }) => {
  /**
   * @param {Parameters<typeof iconButton>[1]} picture
   * @param {string} hint
   * @param {() => void} act
   * @param {string} text
   */
  const tool = (picture, hint, act, text, more = {}) =>
    iconButton("rg-tool rg-small", picture, hint, act, text, more);
  const redo = tool("redo", "Redo (Ctrl+Shift+Z)", () => editor.ask("redo"), "Redo");
  const back = tool("back", "Previous frame (,)", () => editor.go(editor.frame - 1), "Back");
  const next = tool("next", "Next frame (.)", () => editor.go(editor.frame + 1), "Next");
  const rest = "Everything that no other region covers, such as the background";
  const addRest = tool("rest", rest, () => hub.tell("rest"), "Rest of the frame", { id: "rg-rest" });
  const every = make("p", "rg-caption", EVERY_FRAME);
  const sections = [
    makeSection("Mask", ...shape),
    makeSection("Finding and following", ...finders),
    makeSection("Regions", addRest),
    makeSection("Focus", ...focus),
    makeSection("Frames", back, next, redo, ...marks, every),
    makeSection("Files", ...files),
  ];
  const node = make("div", { className: "rg-mask-tools", role: "group", ariaLabel: "Refine" });
  const arrange = () => {
    const used = usedBefore();
    /** @param {HTMLElement} section */
    const placeOf = (section) => {
      const at = used.indexOf(section.dataset.part ?? "");
      return at < 0 ? used.length : at;
    };
    node.replaceChildren(...[...sections].sort((a, b) => placeOf(a) - placeOf(b)));
  };
  node.addEventListener("click", ({ target }) => {
    const part = target instanceof Element ? target.closest("[data-part]") : null;
    const name = part instanceof HTMLElement ? part.dataset.part : undefined;
    if (!name || !(target instanceof Element) || !target.closest("button, select")) return;
    localStorage.setItem(KEPT, JSON.stringify([name, ...usedBefore().filter((one) => one !== name)]));
  });
  const refresh = () => {
    redo.disabled = !editor.redo;
    every.hidden = hub.written.keyframes.trim() !== "all";
    addRest.hidden = hub.rest > 0;
  };
  arrange();
  return { node, refresh };
};
