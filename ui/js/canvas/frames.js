// Load the frames of the clip that is open, four at a time; another clip that is opened meanwhile ends it.
import { fileUrl } from "../shared/server.js";

const AT_ONCE = 4;

const loadFrame = async (folder, frame) => {
  const image = new Image();
  image.src = fileUrl(folder + "/" + String(frame).padStart(5, "0") + ".jpg");
  return image
    .decode()
    .then(() => createImageBitmap(image))
    .catch(() => null);
};

// `loaded` is called with the number of each frame that has come.
export const loadFrames = async (editor, loaded) => {
  const { id, clip } = editor,
    order = [...Array(clip.count).keys()];
  const next = async () => {
    for (let frame = order.shift(); frame !== undefined; frame = order.shift()) {
      const bitmap = await loadFrame(clip.folder, frame);
      if (editor.id !== id) {
        bitmap?.close();
        return;
      }
      editor.bitmaps[frame] = bitmap;
      editor.loaded += 1;
      loaded(frame);
    }
  };
  await Promise.all([...Array(AT_ONCE)].map(next));
};
