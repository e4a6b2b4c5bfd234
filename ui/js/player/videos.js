// @ts-check
// The videos side by side: which are in view, play, pause, seek; all in step with the first.
import { icon, iconButton, make, mayMove, slider } from "../shared/dom.js";
import { fileUrl, hub } from "../shared/hub.js";
import { loopGap, nearest } from "../shared/numbers.js";

const APART = 0.05; // seconds that two videos may differ
const RESTING = 100; // milliseconds between looks while nothing plays

// Two at a time to compare, or all of them.
export const inView = ({ mode, chosen, source, rebuilt, edits }) => {
  const first = rebuilt?.on ? rebuilt : source;
  if (mode !== "side") return [first, edits[chosen]];
  return [source, ...(rebuilt?.on ? [rebuilt] : []), ...edits];
};

export const makePane = (className, title, path) => {
  const plays = { muted: true, loop: true, playsInline: true, autoplay: mayMove(), preload: "auto" },
    node = make("video", { className, ariaLabel: title, ...plays, src: fileUrl(path) });
  node.setAttribute("muted", "");
  const box = make("figure", { className: "rg-pane", title }, node, make("figcaption", {}, title));
  return { box, node, title };
};

// The place of the first edit, empty until there is one.
export const makeEmptyPane = () => {
  const picture = make("img", { className: "rg-coming", hidden: true, alt: "Live preview" }),
    waits = make("p", {}, "The edit appears here");
  return make("figure", "rg-pane rg-empty", waits, picture, make("figcaption"));
};

// While a run goes on, the empty place shows the preview of the frame that is nearest to the source's.
const showPreview = (box, frame) => {
  const live = hub.live,
    picture = box.querySelector("img");
  if (picture.hidden !== !live) {
    picture.hidden = !live;
    box.lastChild.textContent = live ? "Preview" : "";
  }
  if (!live) return;
  const source = live.frames[nearest(live.indices, frame)];
  if (picture.src !== source) picture.src = source;
};

export const setPlaying = (player, on) => {
  const text = on ? "Pause" : "Play";
  player.play.replaceChildren(icon(on ? "pause" : "play"));
  player.play.ariaLabel = player.play.title = text;
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
  const { frames, fps } = player.value;
  const oninput = () => {
    setPlaying(player, false);
    for (const { node } of inView(player)) node.currentTime = (player.seek.value - 0.5) / fps;
    setFrame(player, Number(player.seek.value));
  };
  player.play = iconButton("rg-tool", "pause", "Pause", () => {
    setPlaying(player, inView(player)[0].node.paused);
  });
  player.seek = slider(1, frames, 1, 1, { className: "rg-seek", ariaLabel: "Frame of the players", oninput });
  player.count = make("span", "rg-count", "1 / " + frames);
  return make("div", "rg-bar", player.play, player.seek, player.count);
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

// Four times a frame or more: the others follow the first video, the slider its frame.
const keepInStep = (player) => {
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

// As long as the player is in the page.
export const keepUp = (player) => {
  const { root, empty, seek } = player;
  if (!root.isConnected) return;
  if (empty) showPreview(empty, Number(seek.value));
  keepInStep(player);
  const resting = inView(player)[0].node.paused;
  // No animation frames: each would have the browser go over the whole page.
  player.due = setTimeout(
    () => keepUp(player),
    resting ? RESTING : Math.min(RESTING, 250 / player.value.fps),
  );
};
