// @ts-check
// The mask that a click would make, shown while the mouse rests on the picture.
import { hub } from "../shared/hub.js";
import { aimAt, isTried } from "./pointer.js";
import { finderOf } from "./state.js";
import { pathOfRuns } from "./tint.js";

/** @typedef {import("../types").Editor} Editor */

const REST = 20; // milliseconds without a move
const PATIENCE = 20000; // milliseconds until an answer is given up
const SHOWN = ["add", "begin", "remove"]; // what a click does that changes a mask

/** @param {Editor} editor */
const isBusy = ({ playing, tracking, hide, adding, pending }) =>
  Boolean(playing || tracking || hide || adding || pending.length);

/**
 * Return what a click would do, as the server is asked about it; null where it changes no mask, or where its finder
 * is too slow to say so before.
 * @param {Editor} editor
 */
const questionOf = (editor) => {
  const { hover, clip, frame, tool, who, rev } = editor;
  const finder = who?.choices.find(({ name }) => name === finderOf(editor, hub.active));
  const points = tool === "add" || tool === "remove";
  if (!hover || !clip || !points || !finder?.previews) return null;
  if (isBusy(editor) || isTried(editor)) return null;
  const { does, hit } = aimAt(editor, hover, false);
  if (!SHOWN.includes(does) || hit) return null;
  return { at: hover, inside: does !== "remove", begins: does === "begin", have: rev, frame };
};

/**
 * Show what a click would make, as the server answers.
 * @param {Editor} editor
 */
export const makePreviews = (editor) => {
  let timer = 0;
  let asked = 0; // when; 0 while no answer is awaited
  let known = -1; // frame that was asked about last; the first answer takes longer
  /** @type {ReturnType<typeof questionOf>} */
  let question = null;
  const ask = () => {
    if (Date.now() - asked < PATIENCE) return;
    question = questionOf(editor);
    if (!question) return;
    asked = Date.now();
    known = editor.frame;
    editor.ask("preview", question);
  };
  const forget = () => {
    clearTimeout(timer);
    editor.preview = null;
  };
  const hovered = () => {
    forget();
    if (editor.hover) timer = setTimeout(ask, editor.frame === known ? REST : 0);
  };
  hub.on("pressed", forget);
  /** @param {string} runs the server's answer */
  const take = (runs) => {
    asked = 0;
    const now = questionOf(editor);
    if (JSON.stringify(now) !== JSON.stringify(question)) {
      ask(); // the mouse has moved meanwhile
      return;
    }
    if (!now || !editor.clip) return;
    editor.preview = { begins: now.begins, path: pathOfRuns(runs, editor.clip) };
    editor.draw();
  };
  return { hovered, take };
};
