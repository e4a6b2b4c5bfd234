import assert from "node:assert/strict";
import { test } from "node:test";
import { path, scale, ticks, top } from "../../../ui/js/losses/scale.js";

test("an axis has round numbers that end where it ends", () => {
  assert.deepEqual(ticks(0.31, 4), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(ticks(200, 4), [0, 50, 100, 150, 200]);
  assert.deepEqual(ticks(0.0042, 4), [0, 0.002, 0.004]);
  assert.deepEqual(ticks(1, 3), [0, 0.5, 1]);
});

test("one outlier does not flatten the plot, the line always fits", () => {
  const dots = Array.from({ length: 100 }, (_, i) => [i + 1, i === 50 ? 40 : 0.2]);
  assert.equal(top(dots, [[1, 0.1]]), 0.2);
  assert.ok(top(dots, [[1, 0.5]]) > 0.5);
  assert.equal(top([[1, 0]], [[1, 0]]), 1);
});

test("steps go right, losses up, and what is too high lies at the edge", () => {
  const places = scale(200, 0.4, { left: 40, top: 20, width: 100, height: 60 });
  assert.deepEqual([places.x(0), places.x(200)], [40, 140]);
  assert.deepEqual([places.y(0), places.y(0.4), places.y(9)], [80, 20, 20]);
  assert.equal(
    path(
      [
        [0, 0],
        [100, 0.2],
      ],
      places,
    ),
    "M40.0 80.0L90.0 50.0",
  );
});
