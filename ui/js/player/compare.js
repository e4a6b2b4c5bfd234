// How source and edits are compared: side by side, under a wipe, or one in place of the other.
import { button, group, slider } from "../shared/dom.js";
import { makePane } from "./videos.js";

const WAYS = [
  ["side", "Side by side"],
  ["wipe", "Wipe"],
  ["flip", "Flip"],
];

// Over the picture: its edge is dragged there.
const makeWipe = (stage) => {
  const oninput = () => stage.style.setProperty("--cut", wipe.value + "%");
  const about = { className: "rg-wipe", ariaLabel: "Boundary between source and edit", oninput };
  const wipe = slider(0, 100, 0.5, 50, about);
  oninput();
  return wipe;
};

const holdToFlip = (player) => {
  const { root, stage } = player;
  for (const kind of ["pointerdown", "pointerup", "pointerleave", "pointercancel"])
    stage.addEventListener(kind, () => {
      root.toggleAttribute("data-held", kind === "pointerdown" && player.mode === "flip");
    });
};

const choices = (title, entries, act) => {
  const buttons = entries.map(([kind, text, hint]) => {
    const about = { data: { kind }, ...(hint && { ariaLabel: hint }) };
    return button("rg-tool", text, () => act(kind), hint, about);
  });
  return group(title, ...buttons);
};

const pressOne = (buttons, kind) => {
  for (const one of buttons.children) one.ariaPressed = one.dataset.kind === String(kind);
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
  const ways = choices("How to compare", WAYS, choose("mode"));
  const which = choices("Edit to compare", numbered, choose("chosen"));
  const hold = `; hold to see ${value.names ? "A" : "the source"}`;
  const changed = () => {
    pressOne(ways, player.mode);
    pressOne(which, player.chosen);
    rebuilt.ariaPressed = Boolean(player.rebuilt?.on);
    which.hidden = edits.length < 2 || player.mode === "side";
    for (const { box, title } of edits)
      box.lastChild.textContent = player.mode === "flip" ? title + hold : title;
    arrange();
  };
  const rebuilt = makeRebuilt(player, changed);
  stage.append(makeWipe(stage));
  holdToFlip(player);
  bar.append(ways, which, ...(value.reconstruction ? [rebuilt] : []));
  changed();
};
