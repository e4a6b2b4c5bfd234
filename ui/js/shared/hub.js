// @ts-check
// What the components of the page share and tell each other, and what they hear from the server.

/** @typedef {import("../types").Told} Told data by the name of what is told */

/** What all components of the page share. */
export class Hub {
  /** Label of the selected region. */
  active = 0;
  /** Whether that was chosen by hand, and takes the next clicks. */
  correcting = false;
  /** Labels not shown. @type {Set<number>} */
  hidden = new Set();
  /** As selected. @type {import("../types").MethodView | null} */
  method = null;
  /** Before and after of the examples, by name. @type {Record<string, string[]>} */
  pictures = {};
  /** What the fields say that marks of the timeline write. @type {import("../types").Written} */
  written = { keyframes: "all", cuts: "auto" };
  /** Preview of the run. @type {import("../types").LiveView | null} */
  live = null;
  /** As the cards say, the uppermost first. @type {import("../types").Region[]} */
  regions = [];
  /** Why the model looks at no pictures; empty if it does. */
  blind = "";
  /** What the field is called that says what a region becomes, or what the model is told to do. */
  change = "Make it";
  /** Some things that the model can draw, in words. @type {string[]} */
  drawn = [];
  /** Label of the region of all that no other covers. */
  rest = 0;
  /** The canvas, once it is there. @type {import("../types").Editor | null} */
  editor = null;
  /** @type {import("../types").Margins} */
  margins = {};
  /** What is open. @type {import("../types").ClipView | null} */
  clip = null;
  /** Whether the server is away, or no longer has what this page had. */
  lost = false;
  /** Whether the server before this one ended while a run of this page went on. */
  interrupted = false;
  /** Whether work stays on this machine, after the page and the server. */
  kept = false;
  /** Whether clips may be larger than those of visitors. */
  anySize = false;
  /** Whether files of weights may be put into the folder of models. */
  takesWeights = false;
  /** Whether models can be got here. */
  getsModels = false;
  /** Whether the fields say what they said before a reload. */
  restored = false;
  /** "quick" where the next run is a try of one frame; "" for a whole run. */
  attempt = "";
  attemptFrame = 0;
  /** Whether a button of a try is pressing Run. */
  trying = false;
  /** How edits are compared. @type {import("../types").Player["mode"]} */
  compare = "wipe";
  /** What part of the picture is seen. @type {import("../types").View} */
  view = { zoom: 1, x: 0, y: 0 };
  /** What should change, as it was pressed or as the method does it best: "look". */
  wish = "";
  /** What the settings are called: "Draft". */
  quality = "";
  /** What is being opened, in words: nothing else is meanwhile. */
  opening = "";
  /** Whether a run goes on, or waits. */
  running = false;
  /** Whether the model draws nonsense of this clip, and nobody wants that all the same. */
  useless = false;
  /** @type {Map<string, Function[]>} */
  #listeners = new Map();

  /**
   * Return the fields of a region's words, and what takes them back into its card.
   * @type {(label: number) => { node: HTMLElement, home: () => void } | null}
   */
  wordsOf = () => null;

  /** @template {keyof Told} Name @param {Name} name @param {(data: Told[Name]) => void} act */
  on(name, act) {
    const known = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...known, act]);
  }

  /** @template {keyof Told} Name @param {Name} name @param {Told[Name] extends void ? [] : [Told[Name]]} data */
  tell(name, ...data) {
    for (const act of this.#listeners.get(name) ?? []) act(...data);
  }
}

export const hub = new Hub();

/**
 * Return what a region is called: by its words, unless somebody has named it.
 * @param {import("../types").Region} region
 */
export const titleOf = ({ name, source, prompt }) => {
  const named = !/^Region \d+$/.test(name);
  return named ? name : source.trim() || prompt.trim() || name;
};

/**
 * Say that something is being opened, unless something else is already, which is said instead; returns whether it may be.
 * @param {string} words
 */
export const mayOpen = (words) => {
  const before = hub.opening;
  hub.opening = before || words;
  hub.tell("opening", before ? `${before}. Wait until it is open.` : words);
  return !before;
};

/** @param {string} path */
export const apiUrl = (path) => window.gradio_config.root + window.gradio_config.api_prefix + path;

/** @param {string} path of a file on the server */
export const fileUrl = (path) => {
  const parts = path.split("/").map(encodeURIComponent);
  return apiUrl("/file=" + parts.join("/"));
};

/**
 * Draw now and whenever the server sends another value; Gradio has "" where the server sends none.
 * @template View
 * @param {{ value: View }} props
 * @param {import("../types").Watch} watch
 * @param {(value: View) => void} draw
 */
export const follow = (props, watch, draw) => {
  /** @type {string | undefined} */
  let shown;
  const update = () => {
    const value = props.value === "" ? /** @type {View} */ (null) : props.value;
    const text = JSON.stringify(value ?? null);
    if (text === shown) return;
    shown = text;
    draw(value);
  };
  update();
  watch("value", update);
};

/**
 * Show the masks or the edit; both stay as they are.
 * @param {import("../types").Stage} name
 */
export const showStage = (name) => {
  document.body.dataset.stage = name;
  hub.tell("stage", name);
};

/**
 * Hand files to Gradio's own upload button, which a better looking one on the page stands for.
 * @param {FileList | null} files null lets a person choose
 * @param {string} id of the button
 */
export const openFile = (files, id) => {
  const box = document.querySelector("#" + id)?.parentElement;
  /** @type {HTMLInputElement | null | undefined} */
  const field = box?.querySelector(":scope > input[type=file]");
  if (!field) return;
  if (!files) return field.click();
  field.files = files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
};

/**
 * Return the field of a parameter beside which a component stands; each method has fields of its own.
 * @param {HTMLElement} element
 * @param {string} name
 * @returns {HTMLInputElement | HTMLTextAreaElement | null}
 */
export const fieldBeside = (element, name) => {
  const group = element.closest(".rg-more");
  return group?.querySelector(`.rg-param-${CSS.escape(name)} :is(textarea, input)`) ?? null;
};
