// @ts-check
// The picture alone on the screen, with its looks, tools and timeline.
import { hub } from "./hub.js";

const FIELDS = "input:not([type=range]), textarea, select, [contenteditable], dialog[open]";

const isFull = () => document.body.classList.contains("rg-full");

/** @param {boolean} on */
const mark = (on) => {
  document.body.classList.toggle("rg-full", on);
  hub.tell("full", on);
};

export const turnFull = () => {
  mark(!isFull());
  // Where the browser keeps its bars, as on some phones, the page is as large as it may be.
  if (isFull()) document.documentElement.requestFullscreen?.().catch(() => {});
  else if (document.fullscreenElement) document.exitFullscreen();
};

// Escape leaves it, too.
document.addEventListener("fullscreenchange", () =>
  mark(document.fullscreenElement === document.documentElement),
);
document.addEventListener("keydown", (event) => {
  const { key, target, ctrlKey, metaKey, altKey } = event;
  if (ctrlKey || metaKey || altKey || (target instanceof Element && target.closest(FIELDS))) return;
  const leaves = key === "Escape" && isFull() && !document.fullscreenElement;
  if (key.toLowerCase() === "l" || leaves) turnFull();
});
