// A card per example: before beside after, moving while it is pointed at or focused.
import { button, make, press } from "../shared/dom.js";
import { mayMove } from "../shared/motion.js";
import { fileUrl } from "../shared/server.js";

const said = ({ changes, prompts }) => {
  const edits = changes.filter(({ prompt }) => prompt).map(({ source, prompt }) => source + " → " + prompt);
  return edits.length ? edits.join(", ") : prompts.join(" / ");
};

const addPictures = (box, item) => {
  for (const picture of [item.picture, item.after].filter(Boolean)) {
    const half = make("span", "rg-half"),
      image = make("img");
    Object.assign(image, { src: picture, alt: "" });
    half.append(image);
    box.append(half);
  }
};

const startVideos = (box, paths) => {
  if (box.querySelector("video")) return;
  const videos = paths.map((path, i) => {
    const video = Object.assign(make("video"), {
      muted: true,
      loop: true,
      playsInline: true,
      src: fileUrl(path),
    });
    video.setAttribute("aria-hidden", "true");
    video.tabIndex = -1;
    box.children[i].append(video);
    return video;
  });
  const ready = videos.map(
    (video) => new Promise((done) => video.addEventListener("canplay", done, { once: true })),
  );
  Promise.all(ready).then(() => {
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

export const makeExample = (item, chosen, act) => {
  const card = button("rg-example", "", act),
    box = make("span", "rg-halves"),
    change = said(item);
  card.dataset.name = item.name;
  press(card, item.name === chosen);
  addPictures(box, item);
  card.append(box, make("strong", "", item.title), make("span", "rg-change", change));
  card.title = change;
  playOnInterest(card, box, item.videos);
  return card;
};
