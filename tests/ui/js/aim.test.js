// Where a click goes: every kind of chosen region, every tool, every place, with and without a try in the place of the
// masks; the pointing tool's part is the table in docs/page.md.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

globalThis.document = { documentElement: {}, addEventListener() {}, body: { classList: {} } };

const { hub } = await import("../../../ui/js/shared/hub.js");
const { hintFor } = await import("../../../ui/js/canvas/aim.js");
const { aimOf } = await import("../../../ui/js/canvas/pointer.js");

const POINT = [1.5, 0.5];
// On the first row of a clip of ten columns: region 1 covers four of them, region 2 three more.
const PLACES = { point: POINT, own: [3.5, 0.5], other: [5.5, 0.5], free: [8.5, 0.5] };
const OWN = { runs: "0 4", points: [[...POINT, 1]] };
const OTHER = { runs: "4 3", points: [] };
const TOOLS = ["add", "remove", "box", "brush", "erase"];

/** What is chosen, by name: the region, whether by hand, its words, its mask on this frame and on others. */
const CHOSEN = {
  none: { active: 0 },
  new: { active: 3, prompt: "" },
  "new, named": { active: 3, prompt: "a fox" },
  open: { active: 1, prompt: "" },
  "open by hand": { active: 1, prompt: "a fox", correcting: true },
  "open on this frame": { active: 1, prompt: "a fox", masks: [{ 2: OTHER }, { 1: OWN }] },
  done: { active: 1, prompt: "a fox" },
};

// What each tool does there, in the order of TOOLS; "2" where it takes that region first.
const TABLE = {
  none: {
    other: ["choose 2", "remove 2", "add 2", "add 2", "remove 2"],
    free: ["begin", "nothing", "begin", "begin", "nothing"],
  },
  new: {
    other: ["add", "remove", "add", "add", "remove"],
    free: ["add", "remove", "add", "add", "remove"],
  },
  open: {
    point: ["unpoint", "unpoint", "add", "add", "remove"],
    own: ["add", "remove", "add", "add", "remove"],
    other: ["choose 2", "remove", "add 2", "add", "remove"],
    free: ["add", "remove", "add", "add", "remove"],
  },
  done: {
    point: ["unpoint", "unpoint", "add", "add", "remove"],
    own: ["add", "remove", "add", "add", "remove"],
    other: ["choose 2", "remove", "add 2", "add", "remove"],
    free: ["begin", "remove", "begin", "add", "remove"],
  },
};
TABLE["new, named"] = TABLE.new;
TABLE["open by hand"] = TABLE.open;
// Its mask lies on another frame: here it has no place of its own.
TABLE["open on this frame"] = { other: TABLE.open.other, free: TABLE.open.free };

const editorOf = ({ active, prompt = "", correcting = false, masks }) => {
  const regions = [1, 2].map((label) => ({ label, prompt: label === active ? prompt : "a dog" }));
  if (active === 3) regions.push({ label: 3, prompt });
  Object.assign(hub, { active, correcting, regions, rest: 0 });
  return {
    clip: { width: 10, height: 1, count: 2 },
    labels: regions.map(({ label }) => label),
    lanes: { 1: "c ", 2: "c ", 3: "  " },
    masks: masks ?? [{ 1: OWN, 2: OTHER }],
    frame: 0,
    scale: 9,
    pending: [],
    still: null,
    adding: 0,
    tool: "add",
  };
};

/** @param {import("../../../ui/js/types").Aim} aim */
const said = ({ does, hit }) => (hit ? `${does} ${hit}` : does);

/** Every row: what is chosen, where, the tool, and what it does. */
const ROWS = Object.entries(TABLE).flatMap(([chosen, places]) =>
  Object.entries(places).flatMap(([where, acts]) =>
    TOOLS.map((tool, i) => ({ chosen, where, tool, does: acts[i] })),
  ),
);

test("there are enough states and clicks", () => assert.ok(ROWS.length >= 60, String(ROWS.length)));

for (const { chosen, where, tool, does } of ROWS) {
  test(`${tool}, ${chosen} chosen, ${where}: ${does}`, () => {
    const editor = editorOf(CHOSEN[chosen]);
    const at = PLACES[where];
    assert.equal(said(aimOf(editor, at, tool)), does);
    editor.still = { frame: 0 }; // a try, at whose press the masks come back
    assert.equal(said(aimOf(editor, at, tool)), does);
  });
}

test("the line below the picture says something else of everything that a tool does", () => {
  const lines = new Map();
  for (const { tool, does } of ROWS) {
    const act = does.split(" ")[0];
    const line = hintFor(tool, act, "“cat”", false);
    assert.ok(line.length > 10, `${tool} ${act}`);
    lines.set(`${tool} ${act}`, line);
  }
  const ofOne = (tool) => [...lines].filter(([key]) => key.startsWith(`${tool} `)).map(([, line]) => line);
  for (const tool of TOOLS) assert.equal(new Set(ofOne(tool)).size, ofOne(tool).length);
  assert.match(
    hintFor("add", "add", "“cat”", false),
    /Click an object to add it to “cat”.*Esc: another region/,
  );
  assert.match(hintFor("add", "add", "“cat”", true), /^Tap an object.*use \+/);
  assert.match(hintFor("add", "begin", "", false), /^Click a thing: it becomes a new region/);
  assert.equal(hintFor("brush", "add", "“cat”", true), "Paint onto “cat”.");
});

test("the rest of the frame is no mask to click, and cannot be drawn", () => {
  const editor = editorOf(CHOSEN.none);
  hub.rest = 2;
  assert.equal(said(aimOf(editor, PLACES.other, "add")), "begin");
  hub.active = 2;
  assert.equal(said(aimOf(editor, PLACES.free, "brush")), "begin");
});

test("a click right after a new region was wanted is its own, and a point on its way is not taken back", () => {
  const editor = editorOf(CHOSEN.done);
  editor.adding = 7;
  assert.equal(said(aimOf(editor, PLACES.other, "add")), "add");
  editor.adding = 0;
  editor.pending = [{ nonce: 1, frame: 0, label: 1, point: [...PLACES.free, 1] }];
  assert.equal(said(aimOf(editor, PLACES.free, "add")), "begin");
  assert.deepEqual(aimOf(editor, POINT, "add"), { does: "unpoint", known: POINT });
});

const WORDS = {
  "–": null,
  adds: "add",
  "begins a region": "begin",
  "chooses its region": "choose",
  "takes the point back": "unpoint",
};

test("the manual says the same of the pointing tool", () => {
  const manual = readFileSync(new URL("../../../docs/page.md", import.meta.url), "utf8");
  const part = manual.split("### Where a click goes")[1].split("\n\n")[1];
  const lines = part.trim().split("\n").slice(2);
  const told = lines.map((line) =>
    line
      .split("|")
      .slice(2, -1)
      .map((cell) => WORDS[cell.trim()]),
  );
  const places = ["point", "own", "other", "free"];
  const table = ["none", "new", "open", "done"].map((chosen) =>
    places.map((where) => TABLE[chosen][where]?.[0].split(" ")[0] ?? null),
  );
  assert.deepEqual(told, table);
});
