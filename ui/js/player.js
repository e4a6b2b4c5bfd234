// @ts-check
// The edits on the stage, with the source beside, below or in place of them.
import { labelAt, placeIn } from "./canvas/state.js";
import { isStacked, make, mayMove } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { watchLooking } from "./shared/looking.js";
import { addComparison, chooseLook, followChoice } from "./player/compare.js";
import { arrange, keepUp, makeComing, makeControls, makePane, setPlaying } from "./player/videos.js";

/** @typedef {import("./types").Player} Player */
/** @typedef {import("./types").PlayerView} PlayerView */

/** @param {PlayerView} value @returns {Player} */
const makePlayer = (value) => {
  const { width, height } = value;
  const several = value.edits.length > 1;
  const [first, second] = value.names ?? ["Source", "Edited"]; // two edits may be compared
  const source = makePane("source", first, value.source);
  const alone = value.unfinished ?? value.caption ?? second;
  const edits = value.edits.map(({ prompt, path }) => makePane("edited", several ? prompt : alone, path));
  const boxes = edits.map(({ box }) => box);
  for (const box of boxes) box.classList.add("rg-edited");
  const coming = makeComing();
  (boxes[0] ?? source.box).append(coming);
  const stage = make("div", "rg-stage", source.box, ...boxes);
  const style = `--aspect: ${width} / ${height}; --ratio: ${width / height}`;
  const root = make("div", { className: "rg-player", style });
  const shown = { root, stage, source, edits, coming };
  const controls = makeControls(() => player, value.frames);
  const player = { value, mode: hub.compare, chosen: 0, rebuilt: null, ...shown, ...controls };
  return player;
};

const SHORT = 350; // milliseconds of a press that is a click, and not a hold

/**
 * Open the words of the thing that is clicked in the picture, on the frame that is shown.
 * @param {Player} player
 */
const openWordsOnClick = ({ stage, seek, value }) => {
  let since = 0;
  stage.addEventListener("pointerdown", () => (since = Date.now()));
  stage.addEventListener("click", ({ target, clientX, clientY }) => {
    const { editor } = hub;
    const pane = target instanceof Element ? (target.closest(".rg-pane") ?? stage) : stage;
    if (!editor?.clip || value.names || Date.now() - since > SHORT) return;
    const frame = Number(seek.value) - 1;
    const at = placeIn(pane.getBoundingClientRect(), editor.clip, clientX, clientY, hub.view);
    const { masks, clip, labels } = editor;
    const label = labelAt({ masks, clip, labels, frame }, at);
    if (!label) return;
    editor.go(frame);
    showStage("masks");
    hub.tell("choose", label);
    editor.parts.bubble.open();
  });
};

/**
 * Tell whether a player plays by itself: unless less motion is wanted, or there is a single frame.
 * @param {Player} player
 */
const moves = ({ value }) => mayMove() && value.frames > 1;

/** @param {PlayerView} value @param {HTMLElement} taking stands in the bar */
const build = (value, taking) => {
  const player = makePlayer(value);
  const bar = make("div", "rg-bar", player.play, player.seek, player.count);
  watchLooking(player.stage);
  openWordsOnClick(player);
  if (player.edits.length) addComparison(player, bar, () => arrange(player));
  else arrange(player);
  setPlaying(player, moves(player));
  bar.append(taking);
  player.root.append(player.stage, bar);
  if (value.note) player.root.append(make("p", "rg-made", forFingers(value.note)));
  return player;
};

/**
 * Say what to do as it is done where fingers do it.
 * @param {string} note
 */
const forFingers = (note) => {
  if (!matchMedia("(pointer: coarse)").matches) return note;
  return note.replace("Click", "Tap").replace("press Enter", "press Try");
};

/**
 * Show a try of one frame at its place in the clip, under the words it tries.
 * @param {PlayerView} value
 */
const showStill = ({ still, note, at = 0 }) => {
  if (!still) return false;
  hub.editor?.go(at);
  showStage("masks");
  hub.tell("still", { picture: still, frame: at });
  hub.editor?.say(note ?? "");
  return true;
};

/**
 * Show what has been made, unless somebody is at the masks.
 * @param {Player} player
 */
const turnTo = ({ edits, value, root }) => {
  const tracks = (hub.editor?.tracking ?? 0) > 0;
  if (!edits.length || value.unfinished || tracks) return;
  showStage("edit");
  const behavior = mayMove() ? "smooth" : "auto";
  if (!value.note && isStacked()) root.scrollIntoView({ behavior, block: "center" });
};

/** @type {import("./types").Mount<"player">} */
export function mount(element, props, trigger, watch) {
  /** @type {Player | null} */
  let player = null;
  const taking = make("div", "rg-taking"); // what can be taken away, see result.js
  element.replaceChildren(taking);
  hub.on("stage", (name) => {
    const seen = name === "edit";
    // What nobody sees takes a tenth of a processor all the same.
    if (player && (!seen || moves(player))) setPlaying(player, seen);
  });
  const look = () => {
    const { zoom, x, y } = hub.view;
    element.style.setProperty("--zoom", String(zoom));
    element.style.setProperty("--from-x", `${-100 * x}%`);
    element.style.setProperty("--from-y", `${-100 * y}%`);
  };
  hub.on("view", look);
  look();
  addEventListener("resize", () => chooseLook(player, element));
  /** @type {import("./types").PlayerView | null} */
  let tried = null;
  hub.on("again", () => tried && showStill(tried));
  /** @param {import("./types").PlayerView} value */
  const showTry = (value) => {
    const shows = showStill(value);
    if (shows) tried = value;
    return shows;
  };
  // What was made of the whole clip stays beside a try, and while another is made.
  /** @param {import("./types").PlayerView} value */
  const stays = (value) => showTry(value) || (value.begins && (player?.edits.length || hub.attempt));
  follow(props, watch, (value) => {
    if (value && stays(value)) return;
    clearTimeout(player?.due);
    hub.tell("edits", value?.edits.length ?? 0);
    if (!value) {
      player = null;
      element.replaceChildren(make("p", "rg-note", "Press Run, and the edit plays here."), taking);
      return;
    }
    player = build(value, taking);
    followChoice(player);
    element.replaceChildren(player.root);
    chooseLook(player, element);
    keepUp(player);
    turnTo(player);
  });
}
