// @ts-check
// The box that is edited, on the picture: dragged and resized by mouse, finger and keys; and the choice of it.
import { button, chooser, make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { boxAt, dragged, readPath, withBox, writePath } from "./box_paths.js";

/** @typedef {import("../types").Editor} Editor */
/** @typedef {import("../types").FocusView} FocusView */
/** @typedef {import("./box_paths.js").FrameBox} FrameBox */
/** @typedef {import("./box_paths.js").Grip} Grip */
/** @typedef {ReturnType<typeof makeOutline>} Outline */
/** @typedef {ReturnType<typeof makeHeldBox>} HeldBox */

/** @type {Grip[]} */
const CORNERS = ["nw", "ne", "sw", "se"];
const KEY_STEP = 1 / 100; // of the shorter side of the clip
const SEND_AFTER = 500; // milliseconds after the last key
const HEAD = 30; // pixels of the screen: what stands above a box
/** @type {Record<string, number[]>} */
const SIDES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = "Drag it, or use the arrow keys; with Shift they change its size";

/** @type {[how: string, text: string, hint: string][]} */
const CHOICES = [
  ["auto", "Auto", "Edit a box around the regions where that makes small things larger"],
  ["on", "On", "Edit a box around the regions"],
  ["each", "Each region", "Edit a box for each region, one after the other"],
  ["off", "Off", "Edit the whole frame"],
];

/** @type {Record<string, string>} */
const WHOLE = {
  off: "The whole frame is edited.",
  auto: "The regions are large enough, so the whole frame is edited.",
  on: "The box would be most of the frame, so the whole frame is edited.",
  each: "The boxes would be most of the frame, so the whole frame is edited.",
  boxes: "The box is the whole frame.",
};

/** @param {number} gain */
const times = (gain) => `${gain.toFixed(1)}×`;

/**
 * Say in words where a run works.
 * @param {FocusView} view
 */
const wordsOf = ({ how, edits, boxes }) => {
  if (how === "off" || (edits && !boxes.length)) return WHOLE[how];
  if (!boxes.length) return "Say what a region becomes to see its box.";
  if (how === "each") return "Each region is edited in a box of its own, one after the other.";
  const larger = `The box in the picture is edited; things in it are ${times(boxes[0].gain)} larger to the model.`;
  return how === "boxes" ? `${larger} Auto finds it anew.` : larger;
};

/**
 * Make the outline of a box, and what it is held by.
 * @param {(grip: Grip, event: PointerEvent) => void} begin
 * @param {(how: string) => void} choose
 */
const makeOutline = (begin, choose) => {
  const held = button("rg-tool rg-box-grip", "", undefined, KEYS, { data: { grip: "move" } });
  /** @param {string} how @param {string} text @param {string} hint */
  const tool = (how, text, hint) => button("rg-tool rg-small", text, () => choose(how), hint);
  const others = [tool("auto", "Auto", "Find the box anew"), tool("off", "Off", CHOICES[3][2])];
  const head = make("div", { className: "rg-box-head", role: "group", ariaLabel: "Focus" }, held, ...others);
  const lines = ["top", "right", "bottom", "left"].map((place) =>
    make("span", { className: "rg-box-line", data: { grip: "move", place } }),
  );
  const corners = CORNERS.map((grip) => make("span", { className: "rg-box-corner", data: { grip } }));
  const node = make("div", { className: "rg-box", hidden: true }, ...lines, ...corners, head);
  node.addEventListener("pointerdown", (event) => {
    const on = event.target instanceof HTMLElement ? event.target.closest("[data-grip]") : null;
    event.stopPropagation();
    if (on instanceof HTMLElement) begin(/** @type {Grip} */ (on.dataset.grip), event);
  });
  node.addEventListener("dblclick", (event) => event.stopPropagation());
  return { node, head, held };
};

/**
 * Let a box be dragged, by itself or by a corner, from a press to its end.
 * @param {PointerEvent} event the press
 * @param {(right: number, down: number) => void} move is told how far, in pixels of the screen
 * @param {(whole: boolean) => void} end is told whether it was let go, and not taken away
 */
const followPointer = (event, move, end) => {
  const node = /** @type {HTMLElement} */ (event.target);
  const listening = new AbortController();
  const how = { signal: listening.signal };
  node.setPointerCapture(event.pointerId);
  node.addEventListener(
    "pointermove",
    ({ clientX, clientY }) => move(clientX - event.clientX, clientY - event.clientY),
    how,
  );
  for (const kind of ["pointerup", "pointercancel"])
    node.addEventListener(
      kind,
      () => {
        listening.abort();
        end(kind === "pointerup");
      },
      how,
    );
};

/**
 * Put an outline where its box is on the stage, and its head within that.
 * @param {Editor} editor
 * @param {Outline} outline
 * @param {FrameBox} box
 */
const place = ({ clip, scale }, { node, head }, [left, top, width, height]) => {
  const canvas = node.parentElement?.querySelector("canvas");
  if (!clip || !canvas) return;
  const x = canvas.offsetLeft + (left - hub.view.x * clip.width) * scale;
  const y = canvas.offsetTop + (top - hub.view.y * clip.height) * scale;
  const where = { left: x, top: y, width: width * scale, height: height * scale };
  for (const [name, value] of Object.entries(where)) node.style.setProperty(name, `${value}px`);
  const above = y < HEAD ? Math.max(0, -y) : -HEAD;
  Object.assign(head.style, { left: `${Math.max(0, -x)}px`, top: `${above}px` });
};

/**
 * The box that is shown: what the server found, and how it was dragged since.
 * @param {Editor} editor
 */
const makeHeldBox = (editor) => {
  /** @type {FocusView | null} */
  let view = null;
  /** @type {FrameBox | null} */
  let moved = null; // until the server has answered
  const here = () => (view && view.id === editor.id ? view : null);
  const paths = () => (here()?.boxes ?? []).map(({ path }) => readPath(path));
  /** @returns {FrameBox[]} */
  const boxes = () => paths().map((path, i) => (i === 0 && moved ? moved : boxAt(path, editor.frame)));
  /** @param {FocusView | null} value */
  const take = (value) => {
    view = value;
    moved = null;
  };
  /** @param {FrameBox | null} box */
  const move = (box) => {
    moved = box;
  };
  // What to ask for, where it was dragged.
  const written = () => {
    const [path] = paths();
    if (!moved || !path || !editor.clip) return "";
    const after = writePath(withBox(path, editor.frame, moved, editor.clip));
    return after === writePath(path) ? "" : after;
  };
  return { here, boxes, take, move, written, isMoved: () => moved !== null };
};

/**
 * Return what drags and resizes the box: by a press on its outline, and by a key.
 * @param {Editor} editor
 * @param {HeldBox} held
 * @param {() => void} refresh
 * @param {() => void} send
 */
const makeDrags = (editor, held, refresh, send) => {
  let timer = 0;
  /** @param {FrameBox | null} box */
  const show = (box) => {
    held.move(box);
    refresh();
  };
  /** @param {Grip} grip @param {PointerEvent} event */
  const begin = (grip, event) => {
    const { clip } = editor;
    const [from, ...others] = held.boxes();
    if (!clip || !from || others.length || event.button > 0) return;
    editor.play(false);
    /** @param {number} right @param {number} down */
    const move = (right, down) => show(dragged(from, grip, right / editor.scale, down / editor.scale, clip));
    followPointer(event, move, (whole) => (whole ? send() : show(null)));
  };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    const toward = SIDES[event.key];
    const [box] = held.boxes();
    const { clip } = editor;
    if (!toward || !box || !clip) return;
    event.preventDefault();
    event.stopPropagation();
    const step = Math.max(1, Math.round(Math.min(clip.width, clip.height) * KEY_STEP));
    const grip = event.shiftKey ? "se" : "move";
    show(dragged(box, grip, toward[0] * step, toward[1] * step, clip));
    clearTimeout(timer);
    timer = setTimeout(send, SEND_AFTER);
  };
  return { begin, press };
};

/**
 * Look again where a run works once masks, or the choice, have changed.
 * @param {Editor} editor
 * @param {HeldBox} held
 */
const watchMasks = (editor, held) => {
  let seen = 0; // revision of the masks for which the box was found
  let asked = false;
  hub.on("masks", () => {
    const matters = asked || (held.here()?.how ?? "off") !== "off";
    if (editor.rev === seen || !matters || editor.tracking || !hub.restored) return;
    seen = editor.rev;
    asked = false;
    hub.tell("look");
  });
  /** @param {string} how */
  return (how) => {
    asked = true;
    editor.ask("focus", { how });
  };
};

/**
 * Make the choice, and the words that say where a run works.
 * @param {(how: string) => void} choose
 */
const makeChoice = (choose) => {
  const node = chooser("Focus", CHOICES, choose);
  const caption = make("p", { className: "rg-caption", role: "status" });
  /** @param {FocusView} view */
  const show = (view) => {
    for (const one of node.querySelectorAll("button")) one.ariaPressed = String(one.dataset.key === view.how);
    caption.textContent = wordsOf(view);
  };
  return { nodes: [node, caption], show };
};

/**
 * @param {Editor} editor
 * @param {HTMLElement} stage
 */
export const makeFocusBox = (editor, stage) => {
  const held = makeHeldBox(editor);
  const choose = watchMasks(editor, held);
  const choice = makeChoice(choose);
  const send = () => {
    const how = held.written();
    if (how) choose(how);
  };
  const { begin, press } = makeDrags(editor, held, () => refresh(), send);
  const addOutline = () => {
    const outline = makeOutline(begin, choose);
    outline.held.addEventListener("keydown", press);
    stage.append(outline.node);
    outlines.push(outline);
  };
  /** @type {Outline[]} */
  const outlines = [];
  addOutline();
  const refresh = () => {
    const view = held.here();
    // While a region is yet to be told what it becomes, its mask is being made.
    const active = hub.regions.find(({ label }) => label === hub.active);
    const isMaking = active && active.label !== hub.rest && !active.prompt.trim() && !active.picture;
    const boxes = editor.hide || isMaking || !view ? [] : held.boxes();
    while (outlines.length < boxes.length) addOutline();
    for (const [i, outline] of outlines.entries()) {
      const box = boxes[i];
      outline.node.hidden = !box;
      if (!box || !view) continue;
      place(editor, outline, box);
      outline.node.classList.toggle("rg-fixed", boxes.length > 1);
      outline.node.classList.toggle("rg-moved", held.isMoved());
      const gain = times(view.boxes[i].gain);
      outline.held.textContent = `Focus ${gain}`;
      outline.node.dataset.gain = gain;
      outline.held.ariaLabel = `Box that is edited, ${gain} larger. ${KEYS}`;
    }
    if (view) choice.show(view);
  };
  hub.on("focus", (value) => {
    held.take(value);
    hub.margins = value?.margins ?? {};
    editor.draw();
    refresh();
  });
  hub.on("view", refresh);
  new ResizeObserver(refresh).observe(stage);
  return { nodes: choice.nodes, refresh };
};
