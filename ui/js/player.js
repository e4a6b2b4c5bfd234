// @ts-check
// The source clip beside its edits.
import { isStacked, make, mayMove } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { addComparison } from "./player/compare.js";
import { arrange, keepUp, makeControls, makeEmptyPane, makePane, setPlaying } from "./player/videos.js";

/** @typedef {import("./types").Player} Player */
/** @typedef {import("./types").PlayerView} PlayerView */

/** @param {PlayerView} value @param {Player["mode"]} mode @returns {Player} */
const makePlayer = (value, mode) => {
  const { width, height } = value;
  const several = value.edits.length > 1;
  const [first, second] = value.names ?? ["Source", "Edited"]; // two edits may be compared
  const source = makePane("source", first, value.source);
  const alone = value.unfinished ?? value.caption ?? second;
  const edits = value.edits.map(({ prompt, path }) => makePane("edited", several ? prompt : alone, path));
  const boxes = edits.map(({ box }) => box);
  for (const box of boxes) box.classList.add("rg-edited");
  const empty = edits.length ? null : makeEmptyPane();
  const stage = make("div", "rg-stage", source.box, ...boxes, empty);
  const style = `--aspect: ${width} / ${height}; --ratio: ${width / height}`;
  const root = make("div", { className: "rg-player", style });
  const shown = { root, stage, source, edits, empty };
  const controls = makeControls(() => player, value.frames);
  const player = { value, mode: empty ? "side" : mode, chosen: 0, rebuilt: null, ...shown, ...controls };
  return player;
};

/**
 * Tell whether a player plays by itself: unless less motion is wanted, or there is a single frame.
 * @param {Player} player
 */
const moves = ({ value }) => mayMove() && value.frames > 1;

/** @param {PlayerView} value @param {Player["mode"]} mode */
const build = (value, mode) => {
  const player = makePlayer(value, mode);
  const bar = make("div", "rg-bar", player.play, player.seek, player.count);
  if (player.empty) arrange(player);
  else addComparison(player, bar, () => arrange(player));
  setPlaying(player, moves(player));
  player.root.append(player.stage, bar);
  if (value.note) player.root.append(make("p", "rg-made", value.note));
  return player;
};

/** @type {import("./types").Mount<"player">} */
export function mount(element, props, trigger, watch) {
  /** @type {Player | null} */
  let player = null;
  hub.on("stage", (name) => {
    if (name === "edit" && player && moves(player)) setPlaying(player, true);
  });
  follow(props, watch, (value) => {
    clearTimeout(player?.due);
    if (!value) {
      player = null;
      element.replaceChildren(make("p", "rg-note", "Press Run, and the edit plays here beside the clip."));
      return;
    }
    player = build(value, player?.mode ?? "side");
    element.replaceChildren(player.root);
    keepUp(player);
    const tracks = (hub.editor?.tracking ?? 0) > 0;
    if (player.empty || value.unfinished || tracks) return; // whoever looks at the masks stays there
    showStage("edit");
    const behavior = mayMove() ? "smooth" : "auto";
    if (!value.note && isStacked()) player.root.scrollIntoView({ behavior, block: "center" });
  });
}
