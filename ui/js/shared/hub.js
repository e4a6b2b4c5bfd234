// What components tell each other within the page, without asking the server.
export const hub = (window.regrain ??= {
  active: 0, // label of the selected region
  hidden: new Set(), // labels not shown
  method: null, // as selected: what it uses
  written: { keyframes: "all", cuts: "auto" }, // what the fields say that marks of the timeline write
  live: null, // preview of the run
  regions: [], // as the cards say, the uppermost first
  editor: null, // state of the canvas
  clip: null, // what is open
  restored: false, // whether the fields say what they said before a reload
  heard: {},
  on(name, act) {
    (this.heard[name] ??= []).push(act);
  },
  tell(name, data) {
    for (const act of this.heard[name] ?? []) act(data);
  },
});

// Show the masks or the edit; both stay as they are.
export const showStage = (name) => {
  document.body.dataset.stage = name;
  hub.tell("stage", name);
};

// Gradio's own button keeps the file; the one on the page only looks better.
export const openFile = (files, id) => {
  const field = document.querySelector("#" + id)?.parentElement.querySelector("input[type=file]");
  if (!field) return;
  if (!files) {
    field.click();
    return;
  }
  field.files = files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
};
