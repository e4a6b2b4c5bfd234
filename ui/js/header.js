// @ts-check
// What is done for the page as a whole: keys, and work that outlives a reload.
import { isOpen, keepName, keptName } from "./head/page_name.js";
import { iconButton, make } from "./shared/dom.js";
import { draftBeforeReload } from "./shared/draft.js";
import { apiUrl, follow, hub } from "./shared/hub.js";
import { TITLE } from "./shared/notify.js";

// Under which the browser keeps things.
const OWN = "regrain-own"; // the page of this browser that last had a clip of one's own
const SERVER = "regrain-server";
const RUNNING = "regrain-running";
const HERE = 45_000; // milliseconds between signs of life; a page without any is forgotten after two minutes
// What can do nothing without it.
const OF_SERVER =
  ".rg-run, .rg-opener, .rg-history, .rg-downloads, #queue, .rg-toolbar > *, .rg-cards-head > button";
const RESTARTED = 5_000; // milliseconds between questions whether the server is another one

let listening = false;

// Ctrl+Enter runs, wherever the cursor is.
const listenOnce = () => {
  if (listening) return;
  listening = true;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (document.querySelector("dialog[open]")) return; // a question is open
    /** @type {HTMLButtonElement | null} */
    const run = document.querySelector("#run");
    if (hub.useless) hub.tell("blocked");
    else run?.click();
  });
};

/** @typedef {import("./types").Trigger<"header">} Trigger */

/**
 * Offer the clip of one's own of another page of this browser, unless that is open in another tab.
 * @param {string} page
 * @param {Trigger} trigger
 */
const offerOwn = async (page, trigger) => {
  if (!(await isOpen(page))) trigger("offer", { page });
};

/**
 * Ask for what this page had before a reload, with the words typed there last, or be told that it is gone.
 * @param {{ known: boolean } | null} value
 * @param {Trigger} trigger
 */
const askBack = (value, trigger) => {
  if (!value || hub.restored) return;
  const server = String(window.gradio_config.app_id); // another one after a restart
  const before = sessionStorage.getItem(SERVER);
  const gone = before !== null && before !== server;
  sessionStorage.setItem(SERVER, server);
  const own = localStorage.getItem(OWN);
  if (own && own !== keptName()) offerOwn(own, trigger);
  if (gone && sessionStorage.getItem(RUNNING)) {
    hub.interrupted = true;
    hub.tell("interrupted");
  }
  sessionStorage.removeItem(RUNNING);
  const typed = JSON.parse(draftBeforeReload ?? "null");
  if (value.known || gone) trigger("back", { gone, typed });
  else hub.restored = true;
};

// Gradio does so as well, but not always when nothing was under way.
const reloadAfterRestart = async () => {
  const answer = await fetch(apiUrl("/app_id")).catch(() => null);
  hub.lost = !answer?.ok || (await answer.json()).app_id !== window.gradio_config.app_id;
  document.body.classList.toggle("rg-lost", hub.lost);
  for (const part of document.querySelectorAll(OF_SERVER)) part.toggleAttribute("inert", hub.lost);
  if (hub.lost) document.title = TITLE;
  if (answer?.ok && hub.lost) location.reload();
};

// Ask before work of one's own is left, unless the server has lost it; and know it again in another tab.
const keepOwn = () => {
  window.addEventListener("beforeunload", (event) => {
    const hasWork = !hub.kept && (hub.clip?.own || hub.editor?.undo);
    if (hasWork && !hub.lost) event.preventDefault();
  });
  hub.on("clip", ({ own }) => {
    const page = keptName();
    if (own && page) localStorage.setItem(OWN, page);
    else if (localStorage.getItem(OWN) === page) localStorage.removeItem(OWN);
  });
};

// Take the other page's name, and with it all that it had.
const goOn = () => {
  const page = localStorage.getItem(OWN);
  if (page) keepName(page);
  hub.lost = true; // nothing here is missed
  location.reload();
};

/** @param {HTMLElement} element @param {string} text */
const showNotice = (element, text) => {
  document.querySelector(".rg-told")?.remove();
  const close = iconButton("rg-tool", "close", "Close", () => told.remove());
  const told = make("div", { className: "rg-told", role: "alert" }, make("p", "rg-alarm", text), close);
  element.closest(".rg-top")?.after(told);
};

/** @type {import("./types").Mount<"header">} */
export function mount(element, props, trigger, watch) {
  listenOnce();
  setInterval(() => trigger("here", {}), HERE);
  setInterval(reloadAfterRestart, RESTARTED);
  keepOwn();
  hub.on("running", (on) => {
    if (on) sessionStorage.setItem(RUNNING, "true");
    else if (!hub.lost) sessionStorage.removeItem(RUNNING);
  });
  follow(props, watch, (value) => {
    if (value?.notice) showNotice(element, value.notice);
    if (value?.offer) hub.tell("offer", { title: value.offer, goOn });
    else askBack(value, trigger);
  });
}
