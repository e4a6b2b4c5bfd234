// Play, pause, seek; all videos in step with the first.
import { icon, iconButton, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { loopGap } from "../shared/numbers.js";
import { inView } from "./panes.js";

const APART = 0.05; // seconds that two videos may differ

export const setPlaying = (player, on) => {
  const text = on ? "Pause" : "Play";
  player.play.replaceChildren(icon(on ? "pause" : "play"));
  player.play.setAttribute("aria-label", text);
  player.play.title = text;
  for (const { node } of inView(player)) {
    if (on) node.play().catch(() => {});
    else node.pause();
  }
};

// `frame` from 1.
const setFrame = (player, frame) => {
  player.seek.value = frame;
  player.count.textContent = frame + " / " + player.value.frames;
  hub.tell("frame", frame);
};

export const makeControls = (player) => {
  const { frames, fps } = player.value,
    bar = make("div", "rg-bar");
  player.play = iconButton("rg-tool", "pause", "Pause", () => {
    setPlaying(player, inView(player)[0].node.paused);
  });
  player.seek = make("input", "rg-seek");
  player.count = make("span", "rg-count", "1 / " + frames);
  Object.assign(player.seek, { type: "range", min: 1, max: frames, step: 1, value: 1 });
  player.seek.setAttribute("aria-label", "Frame of the players");
  player.seek.addEventListener("input", () => {
    setPlaying(player, false);
    for (const { node } of inView(player)) node.currentTime = (player.seek.value - 0.5) / fps;
    setFrame(player, Number(player.seek.value));
  });
  bar.append(player.play, player.seek, player.count);
  return bar;
};

// Show what is in view, all at the time of what played before.
export const arrange = (player) => {
  const here = inView(player),
    all = [player.source, player.rebuilt, ...player.edits].filter(Boolean);
  const lead = all.find(({ node }) => !node.paused) ?? here[0];
  const time = lead.node.currentTime,
    runs = !lead.node.paused;
  player.root.dataset.mode = player.mode;
  player.root.dataset.panes = here.length + (player.edits.length ? 0 : 1);
  for (const one of all) {
    one.box.hidden = !here.includes(one);
    if (one.box.hidden) one.node.pause();
    else if (Math.abs(one.node.currentTime - time) > APART) one.node.currentTime = time;
  }
  setPlaying(player, runs);
};

// Once per picture of the screen: the others follow the first video, the slider its frame.
export const keepInStep = (player) => {
  const { frames, fps } = player.value;
  const [lead, ...others] = inView(player).map(({ node }) => node);
  if (lead.paused || lead.seeking) return;
  // Only the first frames are there of an edit that goes on, or of a try; of two edits, one may be shorter.
  const shorter = player.value.unfinished || player.value.names || player.value.caption === "Try";
  if (shorter && lead.currentTime >= frames / fps) lead.currentTime = 0;
  for (const node of others) {
    const gap = loopGap(node.currentTime, lead.currentTime, frames / fps);
    if (gap > APART && !node.seeking && node.readyState > 1) node.currentTime = lead.currentTime;
    if (node.paused) node.play().catch(() => {});
  }
  const frame = Math.min(frames, Math.floor(lead.currentTime * fps + 0.01) + 1);
  if (Number(player.seek.value) !== frame) setFrame(player, frame);
};
