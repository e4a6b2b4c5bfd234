// @ts-check
import assert from "node:assert/strict";
import { test } from "node:test";
import { stepOf } from "../../../ui/js/settings/steps.js";

test("a slider reaches its value by steps as coarse as its range allows", () => {
  const small = [0.3, 0.01, 0.37, 0, -0.5].map((value) => stepOf(1, value));
  assert.deepEqual(small, [0.05, 0.001, 0.01, 0.05, 0.05]);
  assert.equal(stepOf(20, 5), 0.5);
  assert.equal(stepOf(15, 7.5), 0.5);
  assert.equal(stepOf(15, 4.2), 0.05);
});
