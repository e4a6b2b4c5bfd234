// @ts-check
// A card per example: before beside after, moving while it is pointed at or focused.
import { make, mayMove } from "../shared/dom.js";
import { fileUrl } from "../shared/hub.js";

/** @param {HTMLVideoElement} video */
const isReady = (video) => new Promise((done) => video.addEventListener("canplay", done, { once: true }));

/** @param {HTMLElement} box @param {string[]} paths */
const startVideos = async (box, paths) => {
  if (box.querySelector("video")) return;
  const plays = { muted: true, loop: true, playsInline: true, tabIndex: -1, ariaHidden: true };
  const videos = paths.map((path) => make("video", { ...plays, src: fileUrl(path) }));
  videos.forEach((video, i) => box.children[i].append(video));
  await Promise.all(videos.map(isReady));
  const ignore = () => {}; // the card was left meanwhile
  for (const video of videos) if (video.isConnected) video.play().catch(ignore);
};

/** @param {HTMLElement} box */
const stopVideos = (box) => {
  for (const video of box.querySelectorAll("video")) {
    video.removeAttribute("src");
    video.remove();
  }
};

/** @param {HTMLElement} card @param {HTMLElement} box @param {string[]} paths */
const playOnInterest = (card, box, paths) => {
  if (paths.length < 2) return;
  const start = () => {
    if (mayMove()) startVideos(box, paths);
  };
  const stop = () => {
    if (!card.matches(":hover, :focus")) stopVideos(box);
  };
  card.addEventListener("pointerenter", ({ pointerType }) => {
    if (pointerType === "mouse") start();
  });
  card.addEventListener("focus", start);
  card.addEventListener("pointerleave", stop);
  card.addEventListener("blur", stop);
};

/**
 * @param {import("../types").ExampleView} item
 * @param {string | null} chosen
 * @param {() => void} onclick
 */
export const makeExample = (item, chosen, onclick) => {
  const { name, title, hint, change } = item;
  const pictures = [item.picture, item.after].filter(Boolean);
  // Not before the menu is open
  const show = (/** @type {string} */ path) => make("img", { loading: "lazy", src: fileUrl(path), alt: "" });
  const halves = pictures.map((path) => make("span", "rg-half", show(path)));
  const box = make("span", "rg-halves", ...halves);
  const words = [make("strong", {}, title), make("span", "rg-change", change)];
  const ariaPressed = name === chosen;
  const about = { className: "rg-example", type: "button", onclick, ariaPressed, title: hint };
  const card = make("button", { ...about, data: { name } }, box, ...words);
  playOnInterest(card, box, item.videos);
  return card;
};
