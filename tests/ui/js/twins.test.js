import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { boxAt, readPath, writePath } from "../../../ui/js/canvas/box_paths.js";
import { readCuts, readKeys } from "../../../ui/js/canvas/mark_lists.js";
import { heatPixels } from "../../../ui/js/result/heat.js";

// Cases that `tests/ui/test_twins.py` gives the server.
const cases = JSON.parse(readFileSync(new URL("twins.json", import.meta.url), "utf8"));

test("key frames are read as the server reads them", () => {
  for (const { text, count, frames } of cases.keyframes) {
    const said = readKeys(text, count);
    if (typeof frames === "string") assert.equal(said.kind, frames, text);
    else assert.deepEqual(said.frames, frames, text);
  }
});

test("cuts are read as the server reads them", () => {
  for (const { text, count, cuts } of cases.cuts) {
    const said = readCuts(text, count, null);
    if (typeof cuts === "string") assert.equal(said.kind, cuts, text);
    else assert.deepEqual(said, cuts ? { kind: "list", frames: cuts } : { kind: "auto", frames: [] }, text);
  }
});

test("boxes are read and written as the server does", () => {
  for (const { text, boxes } of cases.boxes) {
    const parts = readPath(text);
    boxes.forEach((box, frame) => assert.deepEqual(boxAt(parts, frame), box));
    assert.equal(writePath(parts), text);
  }
});

test("maps have the colours that the server gives them", () => {
  for (const { color, level, pixel } of cases.heat) assert.deepEqual([...heatPixels([level], color)], pixel);
});
