import assert from "node:assert/strict";
import { test } from "node:test";
import { dragged, readPath, withBox, writePath } from "../../../ui/js/canvas/box_paths.js";

const CLIP = { width: 320, height: 200 };
const SHOTS = "60x40+10+20+12+20+14+21, 3:80x50+100+90";

test("a box that stays where it is, is written once", () => {
  assert.equal(writePath(readPath("8x8+1+1+1+1")), "8x8+1+1");
});

test("a box that was dragged takes those of its shot along, and no others", () => {
  const parts = withBox(readPath(SHOTS), 1, [22, 25, 70, 40], CLIP);
  assert.equal(writePath(parts), "70x40+20+25+22+25+24+26, 3:80x50+100+90");
  const last = withBox(readPath(SHOTS), 5, [0, 0, 90, 60], CLIP);
  assert.equal(writePath(last), "60x40+10+20+12+20+14+21, 3:90x60+0+0");
});

test("boxes that go along stay in the clip", () => {
  const parts = withBox(readPath("60x40+10+20+200+20"), 0, [100, 150, 100, 50], CLIP);
  assert.equal(writePath(parts), "100x50+100+150+220+150");
});

test("a box is moved within the clip, in whole pixels", () => {
  const box = [10, 20, 60, 40];
  assert.deepEqual(dragged(box, "move", 5.4, -3.6, CLIP), [15, 16, 60, 40]);
  assert.deepEqual(dragged(box, "move", -99, 999, CLIP), [0, 160, 60, 40]);
});

test("a corner that is dragged leaves the one across where it is", () => {
  const box = [100, 80, 60, 40];
  assert.deepEqual(dragged(box, "se", 10, -5, CLIP), [100, 80, 70, 35]);
  assert.deepEqual(dragged(box, "nw", 10, -5, CLIP), [110, 75, 50, 45]);
  assert.deepEqual(dragged(box, "ne", 10, -5, CLIP), [100, 75, 70, 45]);
  assert.deepEqual(dragged(box, "sw", 10, -5, CLIP), [110, 80, 50, 35]);
});

test("a box is at least 16 pixels, and at most the clip", () => {
  const box = [100, 80, 60, 40];
  assert.deepEqual(dragged(box, "nw", 999, 999, CLIP), [144, 104, 16, 16]);
  assert.deepEqual(dragged(box, "se", -999, -999, CLIP), [100, 80, 16, 16]);
  assert.deepEqual(dragged(box, "se", 999, 999, CLIP), [100, 80, 220, 120]);
  assert.deepEqual(dragged(box, "nw", -999, -999, CLIP), [0, 0, 160, 120]);
});
