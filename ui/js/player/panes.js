// The videos side by side, and which of them are in view.
import { make } from "../shared/dom.js";
import { hub } from "../shared/hub.js";
import { mayMove } from "../shared/motion.js";
import { nearest } from "../shared/numbers.js";
import { fileUrl } from "../shared/server.js";

// Two at a time to compare, or all of them.
export const inView = ({ mode, chosen, source, rebuilt, edits }) => {
  const first = rebuilt?.on ? rebuilt : source;
  if (mode !== "side") return [first, edits[chosen]];
  return [source, ...(rebuilt?.on ? [rebuilt] : []), ...edits];
};

export const makePane = (name, title, path) => {
  const box = make("figure", "rg-pane"),
    node = make("video", name);
  const plays = { muted: true, loop: true, playsInline: true, autoplay: mayMove(), preload: "auto" };
  Object.assign(node, plays, { src: fileUrl(path) });
  node.setAttribute("muted", "");
  node.setAttribute("aria-label", title);
  box.append(node, make("figcaption", "", title));
  box.title = title;
  return { box, node, title };
};

// The place of the first edit, empty until there is one.
export const makeEmptyPane = () => {
  const box = make("figure", "rg-pane rg-empty"),
    picture = make("img", "rg-coming");
  picture.hidden = true;
  picture.alt = "Live preview";
  box.append(make("p", "", "The edit appears here"), picture, make("figcaption"));
  return box;
};

// While a run goes on, the empty place shows the preview of the frame that is nearest to the source's.
export const showPreview = (box, frame) => {
  const live = hub.live,
    picture = box.querySelector("img");
  picture.hidden = !live;
  box.lastChild.textContent = live ? "Preview" : "";
  if (!live) return;
  const source = live.frames[nearest(live.indices, frame)];
  if (picture.src !== source) picture.src = source;
};
