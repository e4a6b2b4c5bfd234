// @ts-check
// How source and edits are compared: side by side, under a wipe, or one in place of the other.
import { leftOf } from "../canvas/state.js";
import { button, chooser, mayMove, pressOnly, slider } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { makePane } from "./videos.js";

/** @typedef {import("../types").Player} Player */
/** @typedef {Player["mode"]} Compare */

const BESIDE = 4; // per cent of the width between the boundary and what is edited
const EDGE = 1; // and between it and the edge of the picture
const SWEEP = 3600; // milliseconds
const SEEN = 0.6; // share of them in which the source is seen alone, before the edit comes

/**
 * Return where the boundary rests, in per cent of the width: left of all that is edited, which lies on its right; in
 * the middle where two edits are compared.
 * @param {import("../types").PlayerView} value
 */
const restOf = ({ names }) => {
  const { editor } = hub;
  if (names || !editor?.clip) return 50;
  const left = 100 * leftOf(editor.masks, editor.clip.width);
  return Math.max(EDGE, Math.min(50, left - BESIDE));
};

/**
 * Make the slider that lies over the picture, whose edge is dragged there; it sweeps once over the edit, and rests
 * beside it.
 * @param {HTMLElement} stage
 * @param {import("../types").PlayerView} value
 */
const makeWipe = (stage, value) => {
  /** @type {Animation | undefined} */
  let sweep;
  const oninput = () => {
    sweep?.cancel();
    stage.style.setProperty("--cut", wipe.value + "%");
  };
  const about = { className: "rg-wipe", ariaLabel: "Boundary between source and edit", oninput };
  const rest = restOf(value);
  const wipe = slider(0, 100, 0.5, rest, about);
  oninput();
  const way = [{ "--cut": "100%" }, { "--cut": "100%", offset: SEEN }, { "--cut": `${rest}%` }];
  if (mayMove() && !value.names) sweep = stage.animate(way, { duration: SWEEP, easing: "ease-in-out" });
  return wipe;
};

/** @param {Player} player @param {string} path @param {() => void} changed */
const makeRebuilt = (player, path, changed) => {
  const addPane = () => {
    const pane = makePane("reconstruction", "Rebuilt source", path);
    player.source.box.after(pane.box);
    return { ...pane, on: false };
  };
  const turn = () => {
    player.rebuilt ??= addPane();
    player.rebuilt.on = !player.rebuilt.on;
    changed();
  };
  return button("rg-tool", "Rebuilt source", turn, "The source rebuilt from its own noise, without an edit");
};

/**
 * Show the first video, in place of the edit, while the stage is held.
 * @param {Player} player
 * @param {() => boolean} isFlipping whether one video is shown in place of the other
 */
const watchHolding = ({ stage, root }, isFlipping) => {
  /** @param {boolean} on */
  const hold = (on) => root.toggleAttribute("data-held", on);
  stage.addEventListener("pointerdown", () => hold(isFlipping()));
  for (const kind of ["pointerup", "pointerleave", "pointercancel"])
    stage.addEventListener(kind, () => hold(false));
};

/**
 * Add the controls to a player that has edits.
 * @param {Player} player
 * @param {HTMLElement} bar
 * @param {() => void} arrange shows what is chosen
 */
export const addComparison = (player, bar, arrange) => {
  const { value, stage, edits } = player;
  const isFlipping = () => player.mode === "flip";
  /** @type {[number, string, string][]} */
  const numbered = value.edits.map(({ prompt }, i) => [i, String(i + 1), `Edit ${i + 1}: ${prompt}`]);
  const which = chooser("Edit to compare", numbered, (number) => {
    player.chosen = number;
    changed();
  });
  const hold = `; hold to see ${value.names ? "A" : "the source"}`;
  const changed = () => {
    pressOnly(which, player.chosen);
    if (rebuilt) rebuilt.ariaPressed = String(Boolean(player.rebuilt?.on));
    which.hidden = edits.length < 2 || player.mode === "side";
    for (const { box, title } of edits) {
      const [caption] = box.getElementsByTagName("figcaption");
      caption.textContent = isFlipping() ? title + hold : title;
    }
    arrange();
  };
  const rebuilt = value.reconstruction && makeRebuilt(player, value.reconstruction, changed);
  stage.append(makeWipe(stage, value));
  watchHolding(player, isFlipping);
  bar.append(which);
  if (rebuilt) bar.append(rebuilt);
  player.look = changed;
  changed();
};

const OWN = "regrain-look"; // under which the browser keeps what somebody has chosen
const GAP = 12; // pixels of the screen between two pictures

/** @type {Compare[]} */
const LOOKS = ["flip", "wipe", "side"];

/** @param {Compare} mode */
export const keepLook = (mode) => localStorage.setItem(OWN, mode);

/**
 * Return how source and edit are shown where nobody has chosen: beside each other if each is as large as one alone.
 * @param {Player | null} player
 * @param {HTMLElement} element where it stands
 * @returns {Compare | null} null where it stays as it is
 */
const usualLook = (player, element) => {
  const column = element.closest(".rg-left");
  const stage = document.querySelector(".rg-canvas-stage");
  if (!player || !column || !stage || player.edits.length !== 1) return null;
  const { width, height } = player.value;
  const alone = (parseFloat(getComputedStyle(stage).maxHeight) * width) / height;
  return column.clientWidth >= 2 * alone + GAP ? "side" : "wipe";
};

/**
 * Look at source and edit as somebody has chosen, or as is usual.
 * @param {Player | null} player
 * @param {HTMLElement} element where it stands
 */
export const chooseLook = (player, element) => {
  const own = LOOKS.find((look) => look === localStorage.getItem(OWN));
  const look = own ?? usualLook(player, element);
  if (look && look !== hub.compare) hub.tell("compare", look);
};

// Players come and go; the one that is shown follows what was chosen.
/** @type {Player | null} */
let current = null;
hub.on("compare", (mode) => {
  hub.compare = mode;
  if (!current?.root.isConnected) return;
  current.mode = mode;
  current.look?.();
});

/** @param {Player} player */
export const followChoice = (player) => {
  current = player;
};
