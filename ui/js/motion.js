// @ts-check
// What moves from the frame in view to the next, on demand.
import { iconButton, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const PAUSE = 200; // milliseconds on a frame before its motion is asked for
const HINT = "Show what moves to the next frame, and what has no counterpart";

/** @typedef {import("./types").MotionView} MotionView */

/** @param {{ url: string, text: string }} picture */
const makePicture = ({ url, text }) =>
  make("figure", {}, make("img", { src: url, alt: text }), make("figcaption", {}, text));

/** @param {MotionView} value */
const makeWheel = ({ wheel, reach }) => {
  const picture = make("img", { src: wheel, alt: `Colours of the directions; at the rim, ${reach}` });
  return make("span", "rg-wheel", picture, make("span", {}, reach));
};

/** @type {import("./types").Mount<"motion">} */
export function mount(element, props, trigger, watch) {
  const pictures = make("div", "rg-motion-pictures");
  const note = make("span", { role: "status" });
  const toggle = iconButton("rg-tool", "flow", HINT, () => show(!open), "Motion");
  const root = make("div", "rg-motion", make("div", "rg-motion-bar", toggle, note), pictures);
  /** @type {Map<number, MotionView>} */
  const known = new Map(); // by frame
  let open = false;
  let asked = 0; // the question that is not answered
  let nonce = 0;
  let timer = 0;
  /** @param {MotionView} value */
  const draw = (value) => {
    root.dataset.busy = "false";
    note.textContent = value.note;
    note.classList.toggle("rg-alarm", Boolean(value.alarm));
    const figures = (value.pictures ?? []).map(makePicture);
    pictures.replaceChildren(...figures);
    if (!figures.length) return;
    root.style.setProperty("--aspect", String(value.aspect));
    figures[0].append(makeWheel(value));
  };
  const ask = () => {
    if (!hub.editor) return;
    const { id, rev: have, frame } = hub.editor;
    nonce += 1;
    asked = nonce;
    trigger("look", { id, have, frame, nonce });
  };
  // The frame in view is shown, or asked for once the one asked before has come.
  const look = () => {
    clearTimeout(timer);
    const editor = hub.editor;
    if (!open || !editor?.clip || editor.playing) return;
    const there = known.get(editor.frame);
    if (there) {
      draw(there);
      return;
    }
    root.dataset.busy = "true";
    note.textContent = "Estimating the motion to frame " + (editor.frame + 2);
    note.classList.remove("rg-alarm");
    if (!asked) timer = setTimeout(ask, PAUSE);
  };
  /** @param {MotionView} value */
  const take = (value) => {
    if (value.nonce !== asked || !hub.editor) return;
    asked = 0;
    if (value.id === hub.editor.id && !value.alarm) known.set(value.frame, value);
    if (value.alarm && value.frame === hub.editor.frame) draw(value);
    else look();
  };
  /** @param {boolean} on */
  const show = (on) => {
    open = on;
    toggle.ariaPressed = String(on);
    pictures.hidden = !on;
    note.hidden = !on;
    look();
  };
  element.replaceChildren(root);
  hub.on("scrub", look);
  hub.on("clip", () => {
    known.clear();
    asked = 0;
    pictures.replaceChildren();
    look();
  });
  show(false);
  follow(props, watch, (value) => {
    if (value) take(value);
  });
}
