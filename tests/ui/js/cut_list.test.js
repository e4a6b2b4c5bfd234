import assert from "node:assert/strict";
import { test } from "node:test";
import { readCuts, sayCuts, writeCuts } from "../../../ui/js/canvas/cut_list.js";

test("a text says where the clip is cut", () => {
  assert.deepEqual(readCuts("auto", 90, null), { kind: "auto", frames: [] });
  assert.deepEqual(readCuts("", 90, [24]), { kind: "found", frames: [24] });
  assert.deepEqual(readCuts("none", 90, [24]), { kind: "list", frames: [] });
  assert.deepEqual(readCuts(" 60,24, 24", 90, null), { kind: "list", frames: [24, 60] });
  assert.deepEqual(readCuts("24, 90", 90, null), { kind: "beyond", frames: [24] });
  for (const text of ["0", "24 60", "x", "1,,2", "-3"])
    assert.equal(readCuts(text, 90, null).kind, "wrong", text);
});

test("what was found is auto again, and nothing is none", () => {
  assert.equal(writeCuts([24, 60], [24, 60]), "auto");
  assert.equal(writeCuts([], []), "auto");
  assert.equal(writeCuts([24], [24, 60]), "24");
  assert.equal(writeCuts([], [24]), "none");
  assert.equal(writeCuts([], null), "none");
});

test("shots are counted and cuts named", () => {
  assert.equal(sayCuts([24]), "2 shots; cut before frame 25");
  assert.equal(sayCuts([24, 60]), "3 shots; cut before frames 25 and 61");
  assert.equal(sayCuts([1, 2, 3, 4]), "5 shots; cut before frames 2, 3, 4 and 5");
  assert.equal(sayCuts([1, 2, 3, 4, 5, 6]), "7 shots; cut before frames 2, 3, 4, 5 and 2 more");
});
