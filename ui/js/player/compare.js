// @ts-check
// How source and edits are compared: side by side, under a wipe, or one in place of the other.
import { button, chooser, pressOnly, slider } from "../shared/dom.js";
import { makePane } from "./videos.js";

const WAYS = Object.entries({ side: "Side by side", wipe: "Wipe", flip: "Flip" });

// Over the picture: its edge is dragged there.
const makeWipe = (stage) => {
  const oninput = () => stage.style.setProperty("--cut", wipe.value + "%");
  const about = { className: "rg-wipe", ariaLabel: "Boundary between source and edit", oninput };
  const wipe = slider(0, 100, 0.5, 50, about);
  oninput();
  return wipe;
};

const makeRebuilt = (player, changed) => {
  const turn = () => {
    if (!player.rebuilt) {
      player.rebuilt = makePane("reconstruction", "Reconstruction", player.value.reconstruction);
      player.source.box.after(player.rebuilt.box);
    }
    player.rebuilt.on = !player.rebuilt.on;
    changed();
  };
  return button("rg-tool", "Reconstruction", turn, "The source rebuilt from its inversion, without an edit");
};

// Add the controls to a player that has edits; `arrange` shows what is chosen.
export const addComparison = (player, bar, arrange) => {
  const { value, stage, edits } = player;
  const choose = (key) => (kind) => {
    player[key] = kind;
    changed();
  };
  const numbered = value.edits.map(({ prompt }, i) => [i, String(i + 1), `Edit ${i + 1}: ${prompt}`]);
  const ways = chooser("How to compare", WAYS, choose("mode"));
  const which = chooser("Edit to compare", numbered, choose("chosen"));
  const hold = `; hold to see ${value.names ? "A" : "the source"}`;
  const changed = () => {
    pressOnly(ways, player.mode);
    pressOnly(which, player.chosen);
    rebuilt.ariaPressed = Boolean(player.rebuilt?.on);
    which.hidden = edits.length < 2 || player.mode === "side";
    for (const { box, title } of edits)
      box.lastChild.textContent = player.mode === "flip" ? title + hold : title;
    arrange();
  };
  const rebuilt = makeRebuilt(player, changed);
  stage.append(makeWipe(stage));
  for (const kind of ["pointerdown", "pointerup", "pointerleave", "pointercancel"])
    stage.addEventListener(kind, () => {
      player.root.toggleAttribute("data-held", kind === "pointerdown" && player.mode === "flip");
    });
  bar.append(ways, which, ...(value.reconstruction ? [rebuilt] : []));
  changed();
};
