// @ts-check
import { icon, make, writeInto } from "./shared/dom.js";
import { draftBeforeReload } from "./shared/draft.js";
import { apiUrl, follow, hub } from "./shared/hub.js";

const KEPT = "regrain-dark",
  PAGE = "regrain-page", // see head/connection.js
  OWN = "regrain-own", // the page of this browser that last had a clip of one's own
  SERVER = "regrain-server";
const PAUSE = 400; // milliseconds
const HERE = 45_000; // milliseconds between signs of life; a page without any is forgotten after two minutes
const RESTARTED = 5_000; // milliseconds between questions whether the server is another one

const isDark = () => document.body.classList.contains("dark");

let listening = false;

// Ctrl+Enter runs, wherever the cursor is.
const listenOnce = () => {
  if (listening) return;
  listening = true;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (document.querySelector("dialog[open]")) return; // a question is open
    document.querySelector("#run")?.click();
  });
  keepNumbers();
};

// The number of a slider that was emptied comes back: Gradio would take the least that is allowed.
const keepNumbers = () => {
  let before = "";
  const isSlider = ({ target }) =>
    target.type === "number" && target.closest(".block")?.querySelector("input[type=range]");
  document.addEventListener("focusin", (event) => {
    if (isSlider(event)) before = event.target.value;
  });
  const leave = (event) => event.target.value === "" && isSlider(event) && writeInto(event.target, before);
  document.addEventListener("blur", leave, true);
};

// Tell the server what the fields of the settings say, so that a reload finds them again.
const keepFields = (trigger) => {
  let timer = 0;
  const keep = (event) => {
    if (!hub.restored || !event.target.closest?.("#settings, #at-hand")) return;
    clearTimeout(timer);
    timer = setTimeout(() => trigger("keep", {}), PAUSE);
  };
  for (const name of ["input", "change"]) document.addEventListener(name, keep);
};

// Ask for what this page had before a reload, with the words typed there last, or be told that it is gone.
const askBack = (value, trigger) => {
  if (!value || hub.restored) return;
  const server = String(window.gradio_config.app_id), // another one after a restart
    gone = ![null, server].includes(sessionStorage.getItem(SERVER));
  sessionStorage.setItem(SERVER, server);
  const own = localStorage.getItem(OWN);
  if (own && own !== sessionStorage.getItem(PAGE)) trigger("offer", { page: own });
  if (value.known || gone) trigger("back", { gone, typed: JSON.parse(draftBeforeReload) });
  else hub.restored = true;
};

// Gradio does so as well, but not always when nothing was under way.
const reloadAfterRestart = async () => {
  const answer = await fetch(apiUrl("/app_id")).catch(() => null);
  hub.lost = !answer?.ok || (await answer.json()).app_id !== window.gradio_config.app_id;
  if (answer?.ok && hub.lost) location.reload();
};

// Ask before work of one's own is left, unless the server has lost it; and know it again in another tab.
const keepOwn = () => {
  window.addEventListener("beforeunload", (event) => {
    if (!hub.lost && (hub.clip?.own || hub.editor?.undo)) event.preventDefault();
  });
  hub.on("clip", ({ own }) => {
    const page = sessionStorage.getItem(PAGE);
    if (own) localStorage.setItem(OWN, page);
    else if (localStorage.getItem(OWN) === page) localStorage.removeItem(OWN);
  });
};

// Take the other page's name, and with it all that it had.
const goOn = () => {
  sessionStorage.setItem(PAGE, localStorage.getItem(OWN));
  hub.lost = true; // nothing here is missed
  location.reload();
};

// The switch between light and dark.
/** @type {import("./types").Mount<"header">} */
export function mount(element, props, trigger, watch) {
  const button = element.querySelector("button");
  const turn = (dark) => {
    document.body.classList.toggle("dark", dark);
    button.replaceChildren(icon("sun"), make("span", {}, isDark() ? "Light" : "Dark"));
    button.ariaLabel = isDark() ? "Switch to light" : "Switch to dark";
  };
  button.addEventListener("click", () => {
    turn();
    sessionStorage.setItem(KEPT, isDark());
  });
  const kept = sessionStorage.getItem(KEPT);
  turn(kept ? kept === "true" : isDark());
  listenOnce();
  keepFields(trigger);
  setInterval(() => trigger("here", {}), HERE);
  setInterval(reloadAfterRestart, RESTARTED);
  keepOwn();
  follow(props, watch, (value) => {
    if (value?.offer) hub.tell("offer", { title: value.offer, goOn });
    else askBack(value, trigger);
  });
}
