import assert from "node:assert/strict";
import { test } from "node:test";
import { besideMask } from "../../../ui/js/canvas/bubble.js";
import { labelAt } from "../../../ui/js/canvas/state.js";
import { WHOLE, panBy, within, zoomAt } from "../../../ui/js/shared/view.js";

const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);
// The place of the picture below a place of what is seen.
const below = ({ zoom, x, y }, [u, v]) => [x + u / zoom, y + v / zoom];

test("what lies below the pointer stays there while the picture is magnified", () => {
  const at = [0.3, 0.8];
  let view = WHOLE;
  for (const factor of [1.5, 2, 0.7]) {
    const before = below(view, at);
    view = zoomAt(view, factor, at);
    below(view, at).forEach((place, i) => near(place, before[i]));
  }
  near(view.zoom, 1.5 * 2 * 0.7);
});

test("a view ends at the picture's edges, at the whole of it and at eight times", () => {
  assert.deepEqual(zoomAt(WHOLE, 0.5, [0.2, 0.2]), { zoom: 1, x: 0, y: 0 });
  assert.equal(zoomAt(WHOLE, 99, [0.5, 0.5]).zoom, 8);
  const corner = zoomAt(WHOLE, 2, [1, 1]);
  assert.deepEqual(corner, { zoom: 2, x: 0.5, y: 0.5 });
  assert.deepEqual(panBy(corner, -5, 0), { zoom: 2, x: 0.5, y: 0.5 });
  assert.deepEqual(panBy(corner, 0.5, 0.5), { zoom: 2, x: 0.25, y: 0.25 });
  assert.deepEqual(within({ zoom: 4, x: 0.9, y: -1 }), { zoom: 4, x: 0.75, y: 0 });
});

test("words stand beside the mask, off other masks, and nowhere on the stage without room", () => {
  const room = { width: 600, height: 400 };
  const size = { width: 200, height: 50 };
  const box = [250, 150, 350, 250];
  assert.deepEqual(besideMask(box, [], size, room), [200, 260]);
  assert.deepEqual(besideMask(box, [[100, 255, 400, 330]], size, room), [200, 90]);
  assert.deepEqual(besideMask([100, 0, 200, 400], [], size, room), [210, 175]);
  assert.deepEqual(besideMask([100, 20, 200, 380], [[205, 150, 600, 250]], size, room), [210, 20]);
  assert.equal(besideMask([0, 0, 600, 400], [], size, room), null);
});

test("the uppermost mask at a place is the one that was clicked", () => {
  const clip = { width: 4, height: 2 };
  const masks = [{ 1: { runs: "1 2 5" }, 2: { runs: "2 2 4" } }];
  const editor = { masks, frame: 0, clip, labels: [2, 1] };
  assert.deepEqual(
    [0, 1, 2, 3].map((x) => labelAt(editor, [x + 0.5, 0.5])),
    [0, 1, 2, 2],
  );
  assert.equal(labelAt(editor, [3.5, 1.5]), 0);
  assert.equal(labelAt({ ...editor, frame: 7 }, [1.5, 0.5]), 0);
});
