// @ts-check
// What the canvas asks of the server, and what it says below the frame.
import { button, inOrder, make } from "../shared/dom.js";
import { hub, titleOf } from "../shared/hub.js";
import { masksToAsk } from "./nearby.js";
import { aimAt } from "./pointer.js";
import { hintFor } from "./state.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").CanvasView} CanvasView */
/** @typedef {import("../types").Trigger<"canvas">} Trigger */

const NOTED = 4000; // milliseconds that a note without alarm stays while the mouse moves
const PATIENCE = 2000; // milliseconds until masks are asked for again
const MARKS = ["point", "stroke", "box"]; // what goes to the selected region

/** @param {Editor} editor */
export const makeNote = (editor) => {
  const node = make("p", { className: "rg-say", role: "status", dir: "auto" });
  const touch = matchMedia("(pointer: coarse)");
  let noted = false;
  let urgent = false;
  let since = 0; // when it was said
  const hint = () => {
    const click = touch.matches ? "Tap" : "Click";
    if (editor.tracking > 0) return `${click} the frame to stop there and correct it.`;
    const { does, hit = hub.active } = aimAt(editor, editor.hover, false);
    const region = hub.regions.find((one) => one.label === hit);
    const name = region ? `“${titleOf(region)}”` : "a new region";
    return hintFor(editor.tool, name, touch.matches, does, hub.correcting);
  };
  // Without a text, what a click does now.
  editor.say = (text, alarm = false) => {
    noted = Boolean(text);
    urgent = alarm;
    since = Date.now();
    node.textContent = inOrder(text || hint());
    node.classList.toggle("rg-alarm", noted && alarm);
  };
  editor.offerBox = () => {
    urgent = true;
    const choose = () => editor.choose("box");
    node.append(" ", button("rg-link", "Draw a box around it", choose, "Draw a box (R)"));
  };
  editor.hintAnew = () => {
    const stays = noted && (urgent || Date.now() - since < NOTED);
    if (!stays) editor.say("");
  };
  return node;
};

/**
 * Return what sends an act to the server.
 * @param {Editor} editor
 * @param {Trigger} trigger
 * @returns {Editor["ask"]}
 */
export const makeAsk = (editor, trigger) => {
  let nonce = 0;
  return (act, data = {}, wait = null) => {
    if (editor.id === null) {
      editor.say("Open a clip first.", true);
      return;
    }
    if (editor.adding && MARKS.includes(act)) {
      editor.held.push([act, data, wait]);
      return;
    }
    nonce += 1;
    if (act === "add") {
      editor.adding = nonce;
      editor.choose("add"); // an eraser has nothing to erase there
    }
    const { id, rev: have, frame } = editor;
    const label = hub.active;
    if (wait) editor.pending.push({ nonce, frame, label, ...wait });
    if (MARKS.includes(act)) editor.marked.add(nonce);
    const said = { act, id, have, nonce, frame, label, ...data };
    if (act === "preview") {
      trigger("hover", said); // nothing here looks different
      return;
    }
    trigger("act", said);
    editor.refresh();
    editor.draw();
  };
};

/**
 * Send what was meant for a new region, once there is one. A click right after the wish for it waits here, and is left
 * out if there is none.
 * @param {Editor} editor
 * @param {CanvasView} view
 * @param {number} count regions before it
 */
export const release = (editor, { acknowledged }, count) => {
  if (!editor.adding || !acknowledged.includes(editor.adding)) return;
  const held = editor.held.splice(0);
  editor.adding = 0;
  if (editor.labels.length > count) for (const what of held) editor.ask(...what);
};

/**
 * Return what asks for masks that are about to be shown and not here, one question at a time.
 * @param {Editor} editor
 */
export const makeLook = (editor) => () => {
  const frames = masksToAsk(editor);
  if (!frames.length || Date.now() - editor.looking < PATIENCE) return;
  editor.looking = Date.now();
  editor.ask("look", { wanted: frames });
};

/** @param {Editor} editor @param {Trigger} trigger */
export const makeTrack = (editor, trigger) => () => {
  if (editor.tracking) {
    editor.led = null;
    editor.stopping = true;
    editor.ask("stop");
  } else if (editor.clip) {
    editor.play(false);
    editor.tracking = -1;
    editor.refresh();
    trigger("track", { id: editor.id, have: editor.rev, frame: editor.frame });
  }
};

/**
 * Show the frame that was tracked last, unless somebody goes elsewhere meanwhile; at the end, where it began.
 * @param {Editor} editor
 */
export const goAlong = (editor) => {
  const { tracking, followed, frame, led } = editor;
  if (!tracking) editor.stopping = false;
  if (editor.stopping) return;
  if (tracking > 0 && followed && (!led || led.at === frame)) {
    editor.led = { from: led?.from ?? frame, at: followed[3] };
    editor.go(followed[3]);
  } else if (!tracking && led) {
    editor.led = null;
    if (led.at === frame) editor.go(led.from);
  }
};
