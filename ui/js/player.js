import { make } from "./shared/dom.js";
import { hub, showStage } from "./shared/hub.js";
import { mayMove } from "./shared/motion.js";
import { follow } from "./shared/server.js";
import { addComparison } from "./player/compare.js";
import { arrange, keepInStep, makeControls, setPlaying } from "./player/controls.js";
import { inView, makeEmptyPane, makePane, showPreview } from "./player/panes.js";

const RESTING = 100; // milliseconds between looks while nothing plays

const makePlayer = (value, mode) => {
  const root = make("div", "rg-player"),
    stage = make("div", "rg-stage");
  root.style.setProperty("--aspect", value.width + " / " + value.height);
  root.style.setProperty("--ratio", value.width / value.height);
  const several = value.edits.length > 1;
  const [first, second] = value.names ?? ["Source", "Edited"]; // two edits may be compared
  const source = makePane("source", first, value.source);
  const alone = value.unfinished ?? value.caption ?? second;
  const edits = value.edits.map(({ prompt, path }) => makePane("edited", several ? prompt : alone, path));
  edits.forEach(({ box }) => box.classList.add("rg-edited"));
  const empty = edits.length ? null : makeEmptyPane();
  stage.append(source.box, ...edits.map(({ box }) => box), ...(empty ? [empty] : []));
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

const keepUp = (player) => {
  const { root, empty, seek } = player;
  if (!root.isConnected) return;
  if (empty) showPreview(empty, Number(seek.value));
  keepInStep(player);
  const resting = inView(player)[0].node.paused;
  player.due = setTimeout(
    () => (player.drawn = requestAnimationFrame(() => keepUp(player))),
    resting ? RESTING : 0,
  );
};

// The source clip beside its edits.
export function mount(element, props, trigger, watch) {
  let player = null;
  hub.on("stage", (name) => {
    if (name === "edit" && player && moves(player)) setPlaying(player, true);
  });
  follow(props, watch, (value) => {
    clearTimeout(player?.due);
    cancelAnimationFrame(player?.drawn);
    if (!value) {
      player = null;
      element.replaceChildren(make("p", "rg-note", "Press Run, and the edit plays here beside the clip."));
      return;
    }
    player = build(value, player?.mode ?? "side");
    element.replaceChildren(player.root);
    keepUp(player);
    if (player.empty || value.unfinished) return; // whoever looks at the masks stays there
    showStage("edit");
    if (!value.note && matchMedia("(max-width: 900px)").matches)
      player.root.scrollIntoView({ behavior: mayMove() ? "smooth" : "auto", block: "center" });
  });
}
