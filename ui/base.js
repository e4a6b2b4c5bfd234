// What all components of the page share. Text that a person wrote reaches the document through textContent and value only.

const make = (tag, name = "", text = "") => {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  return node;
};

const fileUrl = (path) => {
  const config = window.gradio_config || {};
  return (config.root || "") + (config.api_prefix || "/gradio_api") + "/file=" + path.split("/").map(encodeURIComponent).join("/");
};

const isColor = (value) => /^#[0-9a-f]{6}$/i.test(value);

// A number on the region's colour: told apart without seeing colours.
const badge = (label, color) => {
  const node = make("span", "rg-badge", String(label));
  if (isColor(color)) {
    node.style.setProperty("--region", color);
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
    node.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 140 ? "#111" : "#fff";
  }
  return node;
};

// Draw now and whenever Python sends another value.
const follow = (props, watch, draw) => {
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


// What components tell each other within the page, without asking the server.
const hub = (window.regrain ??= {
  active: 0, // label of the chosen region
  hidden: new Set(), // labels not shown
  method: null, // as chosen: what it uses
  live: null, // what the model sees coming
  regions: [], // as the cards say, the uppermost first
  editor: null, // state of the canvas
  clip: null, // what is open
  heard: {},
  on(name, act) { (this.heard[name] ??= []).push(act); },
  tell(name, data) { for (const act of this.heard[name] ?? []) act(data); },
});

const button = (name, text, act, hint = "") => {
  const node = make("button", name, text);
  node.type = "button";
  if (hint) { node.title = hint; if (!text) node.setAttribute("aria-label", hint); }
  node.addEventListener("click", act);
  return node;
};

// Drawn here: letters and emoji look different, or are missing, elsewhere.
const ICONS = {
  add: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 8v8M8 12h8",
  remove: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M8 12h8",
  brush: "M20 4 10.5 13.5M9 14c-3 0-3.500 2-3.500 3.500S4 20 3 20c4.500 2 9 .5 9-3a3 3 0 0 0-3-3",
  erase: "M20 20H9l-5-5a1.500 1.500 0 0 1 0-2l8.500-8.500a1.500 1.500 0 0 1 2 0l5 5a1.500 1.500 0 0 1 0 2L12 19M8 9.500l6.500 6.500",
  undo: "M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "m16 5 4 4-4 4M20 9H10a6 6 0 0 0 0 12h3",
  find: "M10.500 4a6.500 6.500 0 1 0 0 13a6.500 6.500 0 1 0 0-13M15.500 15.500L20 20M10.500 8v5M8 10.500h5",
  track: "M3 12h3M9 12h3M15 12h5M16 7l5 5-5 5",
  play: "M7 4.500v15l12-7.500z",
  pause: "M8 5v14M16 5v14",
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  up: "M6 14l6-6 6 6",
  down: "M6 10l6 6 6-6",
  eye: "M2 12s3.500-6.500 10-6.500S22 12 22 12s-3.500 6.500-10 6.500S2 12 2 12M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  blind: "M3 10c2 3 5 5 9 5s7-2 9-5M7 14l-2 3M12 15v4M17 14l2 3",
  bin: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  plus: "M12 5v14M5 12h14",
  open: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  save: "M12 4v12M7 11l5 5 5-5M4 16v4h16v-4",
  trim: "M8 3v18M16 3v18M3 8h5M16 8h5M3 16h5M16 16h5",
  keys: "M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M17 14h.01M7 14h.01M10 14h4",
  yes: "M5 13l4 4L19 7",
  no: "M6 12h12",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.500 1.500M17.500 17.500 19 19M5 19l1.500-1.500M17.500 6.500 19 5",
};
const icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "rg-icon");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
};
const iconButton = (name, picture, hint, act, text = "") => {
  const node = button(name, "", act, hint);
  node.append(icon(picture));
  if (text) { node.append(make("span", "", text)); node.removeAttribute("aria-label"); }
  return node;
};

// Dark through a region's colour to white, as heat maps are drawn.
const heatLegend = (color) => {
  const node = make("span", "rg-heat"), bar = make("i");
  bar.setAttribute("aria-hidden", "true");
  if (isColor(color)) bar.style.setProperty("--region", color);
  node.append(make("span", "", "none"), bar, make("span", "", "most attention"));
  return node;
};

// Show the masks or the edit; both stay as they are.
const showStage = (name) => {
  document.body.dataset.stage = name;
  hub.tell("stage", name);
};

// Gradio's own button keeps the file; ours only looks better.
const openFile = (files) => {
  const field = document.querySelector("#upload")?.parentElement.querySelector("input[type=file]");
  if (!field) return;
  if (!files) { field.click(); return; }
  field.files = files;
  field.dispatchEvent(new Event("change", { bubbles: true }));
};
