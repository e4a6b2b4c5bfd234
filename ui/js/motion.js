// @ts-check
// What moves from the frame in view to the next, on demand.
import { iconButton, make } from "./shared/dom.js";
import { follow, hub } from "./shared/hub.js";

const PAUSE = 200; // milliseconds on a frame before its motion is asked for
const HINT = "Show what moves to the next frame, and what has no counterpart";

const makePicture = ({ url, text }) =>
  make("figure", {}, make("img", { src: url, alt: text }), make("figcaption", {}, text));

const makeWheel = ({ wheel, reach }) => {
  const picture = make("img", { src: wheel, alt: "Colours of the directions; at the rim, " + reach });
  return make("span", "rg-wheel", picture, make("span", {}, reach));
};

/** @type {import("./types").Mount<"motion">} */
export function mount(element, props, trigger, watch) {
  const pictures = make("div", "rg-motion-pictures"),
    note = make("span", { role: "status" }),
    toggle = iconButton("rg-tool", "flow", HINT, () => show(!open), "Motion"),
    root = make("div", "rg-motion", make("div", "rg-motion-bar", toggle, note), pictures),
    known = new Map(); // by frame
  let open = false,
    asked = 0, // the question that is not answered
    nonce = 0,
    timer = 0;
  const draw = (value) => {
    root.dataset.busy = "false";
    note.textContent = value.note;
    note.classList.toggle("rg-alarm", Boolean(value.alarm));
    pictures.replaceChildren(...(value.pictures ?? []).map(makePicture));
    if (!value.pictures) return;
    root.style.setProperty("--aspect", value.aspect);
    pictures.firstChild.append(makeWheel(value));
  };
  const ask = () => {
    const { id, rev: have, frame } = hub.editor;
    asked = ++nonce;
    trigger("look", { id, have, frame, nonce });
  };
  // The frame in view is shown, or asked for once the one asked before has come.
  const look = () => {
    clearTimeout(timer);
    const editor = hub.editor;
    if (!open || !editor?.clip || editor.playing) return;
    if (known.has(editor.frame)) return draw(known.get(editor.frame));
    root.dataset.busy = "true";
    note.textContent = "Estimating the motion to frame " + (editor.frame + 2);
    note.classList.remove("rg-alarm");
    if (!asked) timer = setTimeout(ask, PAUSE);
  };
  const take = (value) => {
    if (value.nonce !== asked) return;
    asked = 0;
    if (value.id === hub.editor.id && !value.alarm) known.set(value.frame, value);
    if (value.alarm && value.frame === hub.editor.frame) draw(value);
    else look();
  };
  const show = (on) => {
    open = on;
    toggle.ariaPressed = on;
    pictures.hidden = note.hidden = !on;
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
  follow(props, watch, (value) => value && take(value));
}
