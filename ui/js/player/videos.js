// @ts-check
// The videos side by side: which are in view, play, pause, seek; all in step with the first.
import { icon, iconButton, make, mayMove, slider } from "../shared/dom.js";
import { fileUrl, hub } from "../shared/hub.js";
import { loopGap, nearest } from "../shared/numbers.js";

/** @typedef {import("../types").Player} Player */
/** @typedef {import("../types").Pane} Pane */

const APART = 0.05; // seconds that two videos may differ
const RESTING = 100; // milliseconds between looks while nothing plays

/**
 * Return two panes at a time to compare, or all of them.
 * @param {Pick<Player, "mode" | "chosen" | "source" | "rebuilt" | "edits">} player
 * @returns {Pane[]}
 */
export const inView = ({ mode, chosen, source, rebuilt, edits }) => {
  const shown = rebuilt?.on ? rebuilt : null;
  if (!edits.length) return [source];
  if (mode !== "side") return [shown ?? source, edits[chosen]];
  return shown ? [source, shown, ...edits] : [source, ...edits];
};

/** @param {string} className @param {string} title @param {string} path @returns {Pane} */
export const makePane = (className, title, path) => {
  const plays = { muted: true, loop: true, playsInline: true, autoplay: mayMove(), preload: "auto" };
  const node = make("video", { className, ariaLabel: title, ...plays, src: fileUrl(path) });
  node.setAttribute("muted", "");
  const box = make("figure", { className: "rg-pane", title }, node, make("figcaption", {}, title));
  return { box, node, title };
};

// The preview of a run that goes on, over the edit, or over the source until there is one.
export const makeComing = () => {
  const picture = make("img", { alt: "Live preview" });
  const caption = make("span", "rg-coming-said");
  return make("div", { className: "rg-coming", hidden: true }, picture, caption);
};

/**
 * Show, while a run goes on, the preview of the frame that is nearest to the source's.
 * @param {HTMLElement} box
 * @param {number} frame
 */
const showPreview = (box, frame) => {
  const { live } = hub;
  const [picture] = box.getElementsByTagName("img");
  const [caption] = box.getElementsByTagName("span");
  box.hidden = !live;
  if (!live) return;
  if (caption.textContent !== live.caption) caption.textContent = live.caption;
  const source = live.frames[nearest(live.indices, frame)];
  if (picture.src !== source) picture.src = source;
};

const ignore = () => {}; // a video that may not play, or was taken away meanwhile

/** @param {Player} player @param {boolean} on */
export const setPlaying = (player, on) => {
  const text = on ? "Pause" : "Play";
  player.play.replaceChildren(icon(on ? "pause" : "play"));
  player.play.ariaLabel = text;
  player.play.title = text;
  for (const { node } of inView(player)) {
    if (on) node.play().catch(ignore);
    else node.pause();
  }
};

/** @param {Player} player @param {number} frame from 1 */
const setFrame = (player, frame) => {
  player.seek.value = String(frame);
  player.count.textContent = `${frame} / ${player.value.frames}`;
  hub.tell("frame", frame);
};

/**
 * Make what plays, seeks and says the frame.
 * @param {() => Player} getPlayer which has these
 * @param {number} frames
 */
export const makeControls = (getPlayer, frames) => {
  const oninput = () => {
    const player = getPlayer();
    const frame = Number(seek.value);
    setPlaying(player, false);
    for (const { node } of inView(player)) node.currentTime = (frame - 0.5) / player.value.fps;
    setFrame(player, frame);
  };
  const turn = () => {
    const player = getPlayer();
    setPlaying(player, inView(player)[0].node.paused);
  };
  const play = iconButton("rg-tool", "pause", "Pause", turn);
  const seek = slider(1, frames, 1, 1, { className: "rg-seek", ariaLabel: "Frame of the players", oninput });
  const count = make("span", "rg-count", `1 / ${frames}`);
  return { play, seek, count };
};

/**
 * Show what is in view, all at the time of what played before.
 * @param {Player} player
 */
export const arrange = (player) => {
  const here = inView(player);
  const { source, rebuilt, edits } = player;
  const all = rebuilt ? [source, rebuilt, ...edits] : [source, ...edits];
  const lead = all.find(({ node }) => !node.paused) ?? here[0];
  const time = lead.node.currentTime;
  const runs = !lead.node.paused;
  player.root.dataset.mode = edits.length ? player.mode : "flip";
  player.root.dataset.panes = String(here.length);
  for (const one of all) {
    one.box.hidden = !here.includes(one);
    if (one.box.hidden) one.node.pause();
    else if (Math.abs(one.node.currentTime - time) > APART) one.node.currentTime = time;
  }
  setPlaying(player, runs);
};

/**
 * Have the others follow the first video, and the slider its frame.
 * @param {Player} player
 */
const keepInStep = (player) => {
  const { frames, fps, unfinished, names, caption } = player.value;
  const [lead, ...others] = inView(player).map(({ node }) => node);
  if (lead.paused || lead.seeking) return;
  const length = frames / fps;
  // Only the first frames are there of an edit that goes on, or of a try; of two edits, one may be shorter.
  const shorter = unfinished || names || caption === "Try";
  if (shorter && lead.currentTime >= length) lead.currentTime = 0;
  for (const node of others) {
    const gap = loopGap(node.currentTime, lead.currentTime, length);
    const usable = !node.seeking && node.readyState > 1;
    if (usable && gap > APART) node.currentTime = lead.currentTime;
    if (node.paused) node.play().catch(ignore);
  }
  const frame = Math.min(frames, Math.floor(lead.currentTime * fps + 0.01) + 1);
  if (Number(player.seek.value) !== frame) setFrame(player, frame);
};

/**
 * Go on as long as the player is in the page, four times a frame or more.
 * @param {Player} player
 */
export const keepUp = (player) => {
  const { root, coming, seek } = player;
  if (!root.isConnected) return;
  showPreview(coming, Number(seek.value));
  keepInStep(player);
  const resting = inView(player)[0].node.paused;
  const quarter = 1000 / player.value.fps / 4; // of a frame, in milliseconds
  // No animation frames: each would have the browser go over the whole page.
  player.due = setTimeout(() => keepUp(player), resting ? RESTING : Math.min(RESTING, quarter));
};
