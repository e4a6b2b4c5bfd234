// @ts-check
// A region's picture: chosen, dropped, pasted, or the frame that is shown; the thing in it may be cut out.
import { button, contextOf, iconButton, make, slider } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { post } from "../shared/post.js";
import { makeCutout } from "./cutout.js";
import { makeSlider } from "./fields.js";

/** @typedef {import("../types").Region} Region */
/** @typedef {import("../types").Deck} Deck */

const SCALE = "How much the picture counts beside the words; 0 ignores it";
const CUT = "What the model sees. Click it to cut the thing out";
const FRAME = "The frame that is shown, of the clip or of an edit";

const USUAL_SCALE = 0.7;

/**
 * Return the picture on the stage, of the clip or of an edit, and its size.
 * @returns {{ picture: CanvasImageSource, width: number, height: number } | null}
 */
const pictureShown = () => {
  /** @type {HTMLVideoElement | null} */
  const video = document.querySelector(".rg-edited:not([hidden]) video");
  if (video && document.body.dataset.stage === "edit")
    return { picture: video, width: video.videoWidth, height: video.videoHeight };
  const frame = hub.editor?.bitmaps[hub.editor.frame];
  return frame ? { picture: frame, width: frame.width, height: frame.height } : null;
};

/** @returns {Promise<File | null>} */
const frameShown = async () => {
  const shown = pictureShown();
  if (!shown) return null;
  const { picture, width, height } = shown;
  const canvas = make("canvas", { width, height });
  contextOf(canvas).drawImage(picture, 0, 0);
  const type = "image/png";
  const blob = await new Promise((done) => canvas.toBlob(done, type));
  return new File([blob], "frame.png", { type });
};

/** @param {Region} region @param {() => void} changed */
const makeScale = (region, changed) => {
  const about = { id: "rg-scale-" + region.label, ariaLabel: `${region.name}: weight of its picture` };
  /** @param {number} scale */
  const take = (scale) => {
    region.picture_scale = scale;
    changed();
  };
  const say = () => region.picture_scale?.toFixed(2).replace(/0$/, "") ?? "normal";
  const place = slider(0, 1.5, 0.05, region.picture_scale ?? USUAL_SCALE, about);
  return makeSlider("Weight", SCALE, place, take, say);
};

/** @param {HTMLElement} card @param {(file: File) => void} send */
const addTakingFiles = (card, send) => {
  /** @param {FileList | undefined} files @param {Event} event */
  const take = (files, event) => {
    const file = [...(files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    send(file);
  };
  card.addEventListener("paste", (event) => take(event.clipboardData?.files, event));
  card.addEventListener("drop", (event) => take(event.dataTransfer?.files, event));
};

/** @param {(file: File) => void} send */
const makeFileField = (send) => {
  const field = make("input", { type: "file", accept: "image/*", hidden: true });
  field.onchange = () => {
    if (field.files?.length) send(field.files[0]);
    field.value = "";
  };
  return field;
};

/**
 * Return what shows how a picture is cut out, in a dialog that is made when it is first needed.
 * @param {Region} region
 * @param {(points: import("../types").ClickOn[]) => void} ask
 */
const openCutout = (region, ask) => {
  /** @type {ReturnType<typeof makeCutout> | null} */
  let cutout = null;
  /** @param {import("../types").Cutting} told @param {string | null} words */
  return (told, words) => {
    cutout ??= makeCutout(region.name, ask);
    cutout.show(told, words);
  };
};

/** @param {Region} region @param {HTMLElement} card @param {Deck} deck */
export const makePicture = (region, card, { act, changed }) => {
  const said = make("span", { className: "rg-note", role: "status" });
  let asking = false; // its answer is said here, too
  /** @param {string} how */
  const ask = (how, more = {}) => {
    asking = true;
    act("picture", region.label, { how, ...more });
  };
  /** @type {File | null} */
  let waiting = null; // a file that comes before what looks at it
  /** @param {File} file */
  const send = (file) => {
    hub.tell("show", region.label); // what becomes of it is said in its card
    waiting = hub.blind ? file : null;
    if (waiting) {
      draw();
      return;
    }
    said.textContent = "Sending the picture.";
    post(file, {
      share: () => {},
      sent: (path) => ask("file", { path }),
      failed: (words) => {
        said.textContent = words;
      },
    });
  };
  const field = makeFileField(send);
  const showCutout = openCutout(region, (points) => ask("cut", { points }));
  const sendFrame = async () => send((await frameShown()) ?? new File([], ""));
  /** @param {string} text @param {() => void} onclick @param {string} [hint] */
  const small = (text, onclick, hint) => button("rg-tool rg-small", text, onclick, hint);
  const picture = make("img", { alt: "Picture of " + region.name });
  const opener = make("button", { className: "rg-picture-cut", type: "button", title: CUT }, picture);
  opener.onclick = () => ask("open");
  const choose = small("Choose", () => field.click(), "Or drop or paste a picture here");
  const frame = small("This frame", sendFrame, FRAME);
  const others = make("span", "rg-picture-others");
  const bin = iconButton("rg-mini", "bin", "Remove the picture", () => ask("remove"));
  const buttons = make("div", "rg-picture-buttons", choose, frame, others, bin, said);
  const scale = makeScale(region, changed);
  const without = make("p", "rg-note");
  const side = make("div", "rg-picture-side", buttons, scale);
  const title = make("span", "rg-picture-title", "Picture");
  const node = make("div", "rg-picture", title, without, opener, side, field);
  /** @param {import("../types").Region} other */
  const offerSame = ({ name, label }) =>
    small("Same picture as " + name, () => ask("same", { other: label }), "The picture of " + name);
  const drawUse = () => {
    const blind = Boolean(hub.blind);
    without.textContent = hub.blind;
    for (const part of [choose, frame, others]) part.hidden = blind;
  };
  const draw = () => {
    drawUse();
    node.classList.toggle("rg-idle", !region.picture && !waiting); // seen under "More"
    for (const part of [opener, scale, bin]) part.hidden = !region.picture;
    if (waiting && !hub.blind) send(waiting);
    if (region.picture && picture.src !== region.picture) picture.src = region.picture;
    const ready = hub.regions.filter(({ picture: has }) => has && has !== region.picture);
    others.replaceChildren(...ready.map(offerSame));
  };
  addTakingFiles(card, send);
  draw();
  /** @param {string | null | undefined} has what the server says */
  const show = (has) => {
    if (has === undefined || has === region.picture) return;
    if (has && !region.picture) hub.tell("pictured");
    region.picture = has;
    hub.tell("regions");
  };
  /** @param {import("../types").CanvasView} told */
  const note = ({ note: words, alarm, cutting }) => {
    if (asking && cutting?.label === region.label) showCutout(cutting, words);
    said.textContent = asking ? words : "";
    said.classList.toggle("rg-alarm", asking && Boolean(alarm));
    asking = false;
  };
  return { node, show, draw, note };
};
