import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.window = {};
const { inView } = await import("../../../ui/js/player/panes.js");
const player = { mode: "side", chosen: 1, rebuilt: null, source: "source", edits: ["one", "two"] };

test("side by side shows everything there is", () => {
  assert.deepEqual(inView(player), ["source", "one", "two"]);
  const rebuilt = { on: true };
  assert.deepEqual(inView({ ...player, rebuilt }), ["source", rebuilt, "one", "two"]);
});

test("a comparison shows the chosen edit and the source, or its reconstruction", () => {
  const wipe = { ...player, mode: "wipe" };
  assert.deepEqual(inView(wipe), ["source", "two"]);
  assert.deepEqual(inView({ ...wipe, rebuilt: { on: false } }), ["source", "two"]);
  assert.deepEqual(inView({ ...wipe, rebuilt: { on: true } }), [{ on: true }, "two"]);
});
