// @ts-check
// What Gradio's own events call in the browser; see `ui/page/build.py`.
import { hub } from "./hub.js";

// The fields say again what they said before a reload.
export const noteRestored = () => {
  hub.restored = true;
  hub.tell("look");
};

// Until then the fields hold what a new page has, which is not to be kept.
export const askToLook = () => {
  if (hub.restored) hub.tell("look");
};
