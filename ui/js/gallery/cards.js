// @ts-check
// A card per example: before beside after, moving while it is pointed at or focused.
import { make, mayMove } from "../shared/dom.js";
import { fileUrl } from "../shared/hub.js";

const startVideos = (box, paths) => {
  if (box.querySelector("video")) return;
  const plays = { muted: true, loop: true, playsInline: true, tabIndex: -1, ariaHidden: true };
  const videos = paths.map((path) => make("video", { ...plays, src: fileUrl(path) }));
  videos.forEach((video, i) => box.children[i].append(video));
  const isReady = (video) => new Promise((done) => video.addEventListener("canplay", done, { once: true }));
  Promise.all(videos.map(isReady)).then(() => {
    for (const video of videos) if (video.isConnected) video.play().catch(() => {}); // left meanwhile
  });
};

const stopVideos = (box) => {
  for (const video of box.querySelectorAll("video")) {
    video.removeAttribute("src");
    video.remove();
  }
};

const playOnInterest = (card, box, paths) => {
  if (paths.length < 2) return;
  const start = () => mayMove() && startVideos(box, paths);
  const stop = () => {
    if (!card.matches(":hover, :focus")) stopVideos(box);
  };
  card.addEventListener("pointerenter", ({ pointerType }) => pointerType === "mouse" && start());
  card.addEventListener("focus", start);
  card.addEventListener("pointerleave", stop);
  card.addEventListener("blur", stop);
};

export const makeExample = (item, chosen, onclick) => {
  const { name, title, hint, change } = item,
    halves = [item.picture, item.after]
      .filter(Boolean)
      .map((src) => make("span", "rg-half", make("img", { src, alt: "" }))),
    box = make("span", "rg-halves", ...halves),
    words = [make("strong", {}, title), make("span", "rg-change", change)],
    about = { className: "rg-example", type: "button", onclick, ariaPressed: name === chosen, title: hint };
  const card = make("button", { ...about, data: { name } }, box, ...words);
  playOnInterest(card, box, item.videos);
  return card;
};
