// @ts-check
// What the components of the page share and tell each other, and what they hear from the server.

/** @type {Map<string, Function[]>} */
const listeners = new Map();

/** @type {import("../types").Hub} */
export const hub = {
  active: 0,
  correcting: false,
  hidden: new Set(),
  method: null,
  pictures: {},
  written: { keyframes: "all", cuts: "auto" },
  live: null,
  regions: [],
  blind: {},
  rest: 0,
  editor: null,
  margins: {},
  clip: null,
  lost: false,
  interrupted: false,
  kept: false,
  anySize: false,
  takesWeights: false,
  getsModels: false,
  restored: false,
  attempt: "",
  attemptFrame: 0,
  trying: false,
  compare: "wipe",
  view: { zoom: 1, x: 0, y: 0 },
  quality: "",
  running: false,
  useless: false,
  wordsOf: () => null,
  on(name, act) {
    const known = listeners.get(name) ?? [];
    listeners.set(name, [...known, act]);
  },
  tell(name, ...data) {
    for (const act of listeners.get(name) ?? []) act(...data);
  },
};

/**
 * Return what a region is called: by its words, unless somebody has named it.
 * @param {import("../types").Region} region
 */
export const titleOf = ({ name, source, prompt }) => {
  const named = !/^Region \d+$/.test(name);
  return named ? name : source.trim() || prompt.trim() || name;
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
