// Load the frames of the clip that is open, four at a time: all of a short one; of a long one those around the
// frame that is shown, and small ones for the film. Another clip that is opened meanwhile ends it.
import { fileUrl } from "../shared/hub.js";
import { framesAround, framesToDrop, isShort } from "./nearby.js";

const AT_ONCE = 4;
const THUMB = 96; // pixels, the height of a small frame

const loadFrame = async (folder, frame, options) => {
  const image = new Image();
  image.src = fileUrl(folder + "/" + String(frame).padStart(5, "0") + ".jpg");
  return image
    .decode()
    .then(() => createImageBitmap(image, options))
    .catch(() => null);
};

// What is to be loaded next, [frame, small]; null for nothing.
const nextOf = ({ clip, frame, bitmaps, thumbs, film }, busy) => {
  const whole = framesAround(clip, frame).find((one) => bitmaps[one] === undefined && !busy.has("" + one));
  if (whole !== undefined) return [whole, false];
  if (isShort(clip)) return null;
  const small = film.find((one) => thumbs[one] === undefined && !busy.has("s" + one));
  return small === undefined ? null : [small, true];
};

// A function to be called whenever other frames are needed; `loaded` is called with each frame that has come.
export const makeLoader = (editor, loaded) => {
  const { id } = editor,
    busy = new Set();
  const load = async ([frame, small]) => {
    const key = (small ? "s" : "") + frame;
    busy.add(key);
    const bitmap = await loadFrame(editor.clip.folder, frame, small ? { resizeHeight: THUMB } : {});
    busy.delete(key);
    if (editor.id !== id) return bitmap?.close();
    const { bitmaps, thumbs, clip } = editor;
    (small ? thumbs : bitmaps)[frame] = bitmap;
    if (!small) editor.loaded += 1;
    for (const far of framesToDrop(clip, editor.frame, Object.keys(bitmaps).map(Number))) {
      bitmaps[far]?.close();
      delete bitmaps[far];
    }
    loaded(frame);
    pump();
  };
  const pump = () => {
    while (editor.id === id && busy.size < AT_ONCE) {
      const next = nextOf(editor, busy);
      if (!next) return;
      load(next);
    }
  };
  return pump;
};
