// How source and edits are compared: side by side, under a wipe, or one in place of the other.
import { button, group, make, press } from "../shared/dom.js";
import { makePane } from "./panes.js";

const WAYS = [
  ["side", "Side by side"],
  ["wipe", "Wipe"],
  ["flip", "Flip"],
];

// Over the picture: its edge is dragged there.
const makeWipe = (stage) => {
  const wipe = make("input", "rg-wipe");
  Object.assign(wipe, { type: "range", min: 0, max: 100, value: 50, step: 0.5 });
  wipe.setAttribute("aria-label", "Boundary between source and edit");
  const cut = () => stage.style.setProperty("--cut", wipe.value + "%");
  wipe.addEventListener("input", cut);
  cut();
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
    const one = button("rg-tool", text, () => act(kind), hint);
    one.dataset.kind = kind;
    if (hint) one.setAttribute("aria-label", hint);
    return one;
  });
  return group(title, ...buttons);
};

const pressOne = (buttons, kind) => {
  for (const one of buttons.children) press(one, one.dataset.kind === String(kind));
};

const makeRebuilt = (player, changed) =>
  button(
    "rg-tool",
    "Reconstruction",
    () => {
      if (!player.rebuilt) {
        player.rebuilt = makePane("reconstruction", "Reconstruction", player.value.reconstruction);
        player.source.box.after(player.rebuilt.box);
      }
      player.rebuilt.on = !player.rebuilt.on;
      changed();
    },
    "The source rebuilt from its inversion, without an edit",
  );

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
    press(rebuilt, Boolean(player.rebuilt?.on));
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
