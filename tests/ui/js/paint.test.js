import assert from "node:assert/strict";
import { test } from "node:test";
import { handleOf } from "../../../ui/js/canvas/paint.js";
import { hub } from "../../../ui/js/shared/hub.js";

test("a ring is as wide as the margin of a box, until somebody changes it", () => {
  const region = { label: 1, margin: 15, prompt: "a fox" };
  const shape = { region, crown: [40, 30] };
  assert.deepEqual(handleOf(shape), [40, 15]);
  hub.margins = { 1: [15, 4] };
  assert.deepEqual(handleOf(shape), [40, 26]);
  region.margin = 14;
  assert.deepEqual(handleOf(shape), [40, 16]);
  hub.margins = {};
});
