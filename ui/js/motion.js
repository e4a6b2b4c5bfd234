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

const draw = ({ root, pictures, note }, value) => {
  note.textContent = value.note;
  note.classList.toggle("rg-alarm", Boolean(value.alarm));
  pictures.replaceChildren(...(value.pictures ?? []).map(makePicture));
  if (!value.pictures) return;
  root.style.setProperty("--aspect", value.aspect);
  pictures.firstChild.append(makeWheel(value));
};

const addLooking = (panel, trigger) => {
  let timer = 0,
    nonce = 0;
  const wait = (text) => {
    panel.root.dataset.busy = "true";
    panel.note.textContent = text;
    panel.note.classList.remove("rg-alarm");
  };
  const ask = () => {
    const { id, rev: have, frame } = hub.editor;
    panel.asked = ++nonce;
    trigger("look", { id, have, frame, nonce });
  };
  // The frame in view is shown, or asked for once the one asked before has come.
  panel.look = () => {
    clearTimeout(timer);
    const editor = hub.editor;
    if (!panel.open || !editor?.clip || editor.playing) return;
    const known = panel.known.get(editor.frame);
    panel.root.dataset.busy = String(!known);
    if (known) {
      draw(panel, known);
      return;
    }
    wait("Estimating the motion to frame " + (editor.frame + 2));
    if (!panel.asked) timer = setTimeout(ask, PAUSE);
  };
  panel.take = (value) => {
    if (value.nonce !== panel.asked) return;
    panel.asked = 0;
    if (value.id === hub.editor.id && !value.alarm) panel.known.set(value.frame, value);
    if (value.alarm && value.frame === hub.editor.frame) {
      panel.root.dataset.busy = "false";
      draw(panel, value);
    } else panel.look();
  };
};

export function mount(element, props, trigger, watch) {
  const pictures = make("div", "rg-motion-pictures"),
    note = make("span", { role: "status" }),
    toggle = iconButton("rg-tool", "flow", HINT, () => show(!panel.open), "Motion"),
    root = make("div", "rg-motion", make("div", "rg-motion-bar", toggle, note), pictures);
  const panel = { root, pictures, note, open: false, asked: 0, known: new Map() };
  const show = (open) => {
    panel.open = open;
    toggle.ariaPressed = open;
    pictures.hidden = note.hidden = !open;
    panel.look();
  };
  element.replaceChildren(root);
  addLooking(panel, trigger);
  hub.on("scrub", () => panel.look());
  hub.on("clip", () => {
    panel.known.clear();
    panel.asked = 0;
    pictures.replaceChildren();
    panel.look();
  });
  show(false);
  follow(props, watch, (value) => value && panel.take(value));
}
