// @ts-check
import { isStacked, make, mayMove } from "./shared/dom.js";
import { follow, hub, showStage } from "./shared/hub.js";
import { addComparison } from "./player/compare.js";
import { arrange, keepUp, makeControls, makeEmptyPane, makePane, setPlaying } from "./player/videos.js";

const makePlayer = (value, mode) => {
  const several = value.edits.length > 1;
  const [first, second] = value.names ?? ["Source", "Edited"]; // two edits may be compared
  const source = makePane("source", first, value.source);
  const alone = value.unfinished ?? value.caption ?? second;
  const edits = value.edits.map(({ prompt, path }) => makePane("edited", several ? prompt : alone, path));
  edits.forEach(({ box }) => box.classList.add("rg-edited"));
  const empty = edits.length ? null : makeEmptyPane(),
    stage = make("div", "rg-stage", source.box, ...edits.map(({ box }) => box), empty),
    style = `--aspect: ${value.width} / ${value.height}; --ratio: ${value.width / value.height}`,
    root = make("div", { className: "rg-player", style });
  return { value, mode: empty ? "side" : mode, chosen: 0, rebuilt: null, root, stage, source, edits, empty };
};

// Unless less motion is wanted; a single frame stays as it is.
const moves = ({ value }) => mayMove() && value.frames > 1;

const build = (value, mode) => {
  const player = makePlayer(value, mode),
    bar = makeControls(player);
  if (player.empty) arrange(player);
  else addComparison(player, bar, () => arrange(player));
  setPlaying(player, moves(player));
  player.root.append(player.stage, bar);
  if (value.note) player.root.append(make("p", "rg-made", value.note));
  return player;
};

// The source clip beside its edits.
/** @type {import("./types").Mount<"player">} */
export function mount(element, props, trigger, watch) {
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
    if (player.empty || value.unfinished || hub.editor?.tracking > 0) return; // whoever looks at the masks stays there
    showStage("edit");
    if (!value.note && isStacked())
      player.root.scrollIntoView({ behavior: mayMove() ? "smooth" : "auto", block: "center" });
  });
}
