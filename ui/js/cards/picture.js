// @ts-check
// A region's picture: chosen, dropped, pasted, or the frame that is shown; a click cuts the thing out of it.
import { button, iconButton, make, slider } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { post } from "../shared/post.js";
import { makeSlider } from "./fields.js";

const SCALE = "How much the picture counts beside the words; 0 ignores it";
const CUT = "What the model sees. Click the thing in it to cut it out";
const FRAME = "The frame that is shown, of the clip or of an edit";

// The frame on the stage, of the clip or of an edit, as a file; null while there is none.
const frameShown = async () => {
  const edit = document.body.dataset.stage === "edit",
    video = edit && document.querySelector(".rg-edited:not([hidden]) video"),
    source = video || hub.editor?.bitmaps?.[hub.editor.frame];
  if (!source) return null;
  const { videoWidth: width = source.width, videoHeight: height = source.height } = source,
    canvas = make("canvas", { width, height });
  canvas.getContext("2d").drawImage(source, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  return new File([blob], "frame.png", { type: blob.type });
};

const makeScale = (region, changed) => {
  const about = { id: "rg-scale-" + region.label, ariaLabel: `${region.name}: how much its picture counts` };
  const take = (scale) => {
    region.picture_scale = scale;
    changed();
  };
  const say = () => region.picture_scale?.toFixed(2).replace(/0$/, "") ?? "usual";
  return makeSlider("Counts", SCALE, slider(0, 1.5, 0.05, region.picture_scale ?? 0.7, about), take, say);
};

const addTakingFiles = (card, send) => {
  const take = (files, event) => {
    const file = [...(files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    send(file);
  };
  card.addEventListener("paste", (event) => take(event.clipboardData?.files, event));
  card.addEventListener("drop", (event) => take(event.dataTransfer?.files, event));
};

export const makePicture = (region, card, { act, changed }) => {
  const said = make("span", { className: "rg-note", role: "status" });
  let asking = false; // its answer is said here, too
  const ask = (how, more = {}) => {
    asking = true;
    act("picture", region.label, { how, ...more });
  };
  let waiting = null; // a file that comes before what looks at it
  const send = (file) => {
    waiting = hub.blind.text ? file : null;
    if (waiting) return draw();
    said.textContent = "Sending the picture.";
    const failed = (words) => (said.textContent = words);
    post(file, { share: () => null, sent: (path) => ask("file", { path }), failed });
  };
  const field = make("input", { type: "file", accept: "image/*", hidden: true });
  field.onchange = () => {
    if (field.files.length) send(field.files[0]);
    field.value = "";
  };
  const cut = ({ target, clientX, clientY }) => {
    const { left, top, width, height } = target.getBoundingClientRect();
    ask("cut", { at: [(clientX - left) / width, (clientY - top) / height] });
  };
  const sendFrame = async () => send((await frameShown()) ?? new File([], ""));
  const picture = make("img", { alt: "Picture of " + region.name, title: CUT, onclick: cut }),
    choose = button("rg-tool rg-small", "Choose", () => field.click(), "Or drop or paste a picture here"),
    frame = button("rg-tool rg-small", "This frame", sendFrame, FRAME),
    others = make("span", "rg-picture-others"),
    lack = make("span"),
    get = button("rg-link", "Get one", () => hub.tell("models", hub.blind.ask)),
    bin = iconButton("rg-mini", "bin", "Remove the picture", () => ask("remove")),
    buttons = make("div", "rg-picture-buttons", choose, frame, others, bin, said),
    scale = makeScale(region, changed),
    title = make("span", "rg-picture-title", "Picture"),
    without = make("p", "rg-note", lack, " ", get),
    side = make("div", "rg-picture-side", buttons, scale),
    node = make("div", "rg-picture", title, without, picture, side, field);
  const draw = () => {
    const blind = hub.blind.text;
    node.hidden = Boolean(blind) && !hub.blind.ask && !region.picture && !waiting; // nothing can be had
    node.classList.toggle("rg-idle", !region.picture && !waiting); // seen under "More"
    without.hidden = !blind;
    lack.textContent = blind ?? "";
    get.hidden = !document.querySelector(".rg-real-model");
    choose.hidden = frame.hidden = Boolean(blind);
    picture.hidden = scale.hidden = bin.hidden = !region.picture;
    if (waiting && !blind) send(waiting);
    if (region.picture && picture.src !== region.picture) picture.src = region.picture;
    const ready = hub.regions.filter(({ picture: has }) => has && has !== region.picture);
    const same = ({ name, label }) =>
      button("rg-tool rg-small", "As " + name, () => ask("same", { other: label }), "The picture of " + name);
    others.hidden = Boolean(blind);
    others.replaceChildren(...ready.map(same));
  };
  addTakingFiles(card, send);
  draw();
  // What the server says of it.
  const show = (has) => {
    if (has === undefined || has === region.picture) return;
    region.picture = has;
    hub.tell("regions");
  };
  const note = ({ note: words, alarm }) => {
    said.textContent = asking ? words : "";
    said.classList.toggle("rg-alarm", asking && Boolean(alarm));
    asking = false;
  };
  return { node, show, draw, note };
};
