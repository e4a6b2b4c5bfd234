// What components tell each other within the page, and what they hear from Python.
export const hub = {
  active: 0, // label of the selected region
  hidden: new Set(), // labels not shown
  method: null, // as selected: what it uses
  written: { keyframes: "all", cuts: "auto" }, // what the fields say that marks of the timeline write
  live: null, // preview of the run
  regions: [], // as the cards say, the uppermost first
  blind: {}, // why the model looks at no pictures, and what to ask the hub for; empty if it does
  rest: 0, // label of the region of all that no other covers
  editor: null, // state of the canvas
  clip: null, // what is open
  lost: false, // whether the server is away, or no longer has what this page had
  restored: false, // whether the fields say what they said before a reload
  heard: {},
  on(name, act) {
    (this.heard[name] ??= []).push(act);
  },
  tell(name, data) {
    for (const act of this.heard[name] ?? []) act(data);
  },
};

export const apiUrl = (path) => window.gradio_config.root + window.gradio_config.api_prefix + path;

export const fileUrl = (path) => apiUrl("/file=" + path.split("/").map(encodeURIComponent).join("/"));

// Draw now and whenever Python sends another value.
export const follow = (props, watch, draw) => {
  let shown;
  const update = () => {
    const text = JSON.stringify(props.value ?? null);
    if (text === shown) return;
    shown = text;
    draw(props.value);
  };
  update();
  watch("value", update);
};

// Show the masks or the edit; both stay as they are.
export const showStage = (name) => {
  document.body.dataset.stage = name;
  hub.tell("stage", name);
};

// Gradio's own button keeps the file; the one on the page only looks better.
export const openFile = (files, id) => {
  const field = document.querySelector("#" + id)?.parentElement.querySelector(":scope > input[type=file]");
  if (!field) return;
  if (!files) return field.click();
  field.files = files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
};

// The field of a parameter beside which a script stands; each method has fields of its own.
export const fieldBeside = (element, name) =>
  element.closest(".rg-more")?.querySelector(`.rg-param-${CSS.escape(name)} :is(textarea, input)`) ?? null;
