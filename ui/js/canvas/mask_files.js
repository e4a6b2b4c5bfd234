// @ts-check
// Masks of the open clip, in from files and out to files.
import { makeDialog, showAbove } from "../shared/dialog.js";
import { iconButton, make } from "../shared/dom.js";
import { hub, openFile } from "../shared/hub.js";
import { isMasked } from "./cells.js";

/** @type {[form: import("../types").Events["canvas"]["export"]["form"], title: string, text: string][]} */
const FORMS = [
  ["png", "PNG files", "One indexed picture per frame, as a zip file. Exact."],
  ["coco", "COCO JSON", "Run lengths, for annotation tools. Exact."],
  ["mkv", "Mask video, exact", "Each region in its colour; lossless (.mkv)."],
  ["mp4", "Mask video, small", "For viewing anywhere (.mp4); it cannot be imported."],
];
const FILES = { data: { act: "files" }, ariaHasPopup: "dialog" };
const IMPORT =
  "PNG files (one per frame, or a zip), COCO JSON, or a mask video of this clip. Each mask becomes a region.";

/**
 * @param {import("../types").Editor} editor
 * @param {import("../types").Trigger<"canvas">} trigger
 */
export const makeMaskFiles = (editor, trigger) => {
  /** @param {import("../types").Events["canvas"]["export"]["form"]} form */
  const save = (form) => {
    editor.say("Writing the masks.");
    trigger("export", { form, id: editor.id, have: editor.rev });
  };
  /** @param {string} form @param {string} title @param {string} text @param {() => void} act */
  const makeRow = (form, title, text, act) => {
    const onclick = () => {
      dialog.close();
      act();
    };
    const about = { className: "rg-mask-file", type: "button", onclick, data: { form } };
    return make("button", about, make("strong", {}, title), make("span", {}, text));
  };
  const take = makeRow("import", "Choose files", IMPORT, () => openFile(null, "mask-file"));
  const rows = FORMS.map(([form, title, text]) => makeRow(form, title, text, () => save(form)));
  const dialog = makeDialog(
    "rg-help rg-mask-files",
    "Mask files",
    make("h3", {}, "Import"),
    take,
    make("h3", {}, "Export"),
    make("div", "rg-mask-forms", ...rows),
  );
  /** @param {import("../types").Region} region */
  const hasMask = ({ label }) => [...(editor.lanes[label] ?? "")].some(isMasked);
  const show = () => {
    for (const row of rows) row.disabled = !hub.regions.some(hasMask);
    showAbove(dialog);
  };
  const hint = "Import masks of this clip from files, or export them (M)";
  const node = iconButton("rg-tool rg-small", "files", hint, show, "Import or export", FILES);
  return { node, show };
};
